"""Pictures by reference: what a request or an infotext names instead of carrying the picture itself.

A reference is ``sha256:`` and the hash of the picture's size and RGB pixels, so the same picture has the same reference from
whatever file it comes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import math
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterable, List, Optional, Sequence, Union

from lib_negguide.errors import SettingsError
from lib_negguide.settings import ImagePrompt

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = "sha256:"
_REFERENCE = re.compile(MARK + r"[0-9a-f]{64}")
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
LONGEST_SIDE = 2048
"""Pixels; larger pictures are made smaller. An image encoder looks at 224 of them."""


def is_reference(text: str) -> bool:
    return bool(_REFERENCE.fullmatch(text.strip()))


def opened(data: Union[bytes, str, Path]) -> Image:
    """A picture (RGB, upright) from a file's bytes or a path; raises :class:`ValueError` for what is none."""
    from PIL import Image as pillow
    from PIL import ImageOps

    try:
        with pillow.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            return _limited(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # pillow has one for each way in which a file can be broken
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _limited(image: Image) -> Image:
    if max(image.size) <= LONGEST_SIDE:
        return image
    image = image.copy()
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image


class Store:
    """Pictures by reference, the last ones in memory and, where there is a ``folder``, as PNG files.

    ``megabytes``: how much the files may take, asked whenever one is added; where they take more, the least recently used go
    first. Those whose references are in the texts that ``spared`` gives stay, and so do those in memory.
    """

    def __init__(self, folder: Optional[Path] = None, limit: int = 16, megabytes: Callable[[], float] = lambda: math.inf,
                 spared: Callable[[], Iterable[str]] = tuple):
        self.folder, self._limit = folder, limit
        self._megabytes, self._spared = megabytes, spared
        self._memory: OrderedDict = OrderedDict()
        self._lock = threading.Lock()

    def put(self, picture: Union[Image, bytes]) -> str:
        """The reference of a picture, or of a file's bytes; raises :class:`ValueError` where these are no picture."""
        image = opened(picture) if isinstance(picture, bytes) else _limited(picture.convert("RGB"))
        digest = hashlib.sha256(f"{image.width}x{image.height}|".encode() + image.tobytes()).hexdigest()
        with self._lock:
            self._remember(digest, image)
        if self.folder is not None and not self._file(digest).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            written = self.folder / f".{digest}.{threading.get_ident()}"
            image.save(written, "PNG")
            written.replace(self._file(digest))
            self._trim()
        return MARK + digest

    def get(self, reference: str) -> Optional[Image]:
        """The picture (RGB), or ``None`` where it is not here."""
        if not is_reference(reference):
            return None
        digest = reference.strip()[len(MARK):]
        with self._lock:
            if digest in self._memory:
                self._memory.move_to_end(digest)
                return self._memory[digest]
        if self.folder is None or not self._file(digest).is_file():
            return None
        try:
            image = opened(self._file(digest))
            os.utime(self._file(digest))  # it was used
        except (OSError, ValueError):
            return None
        with self._lock:
            self._remember(digest, image)
        return image

    def _trim(self) -> None:
        """Remove the least recently used files beyond the size; one that another process has removed meanwhile is no matter."""
        most = self._megabytes() * 1e6
        found = [(path, path.stat()) for path in self.folder.glob("*.png")]
        total = sum(stat.st_size for _, stat in found)
        if total <= most:
            return
        with self._lock:
            needed = set(self._memory)
        needed |= {mark[len(MARK):] for text in self._spared() for mark in _REFERENCE.findall(text)}
        for path, stat in sorted(found, key=lambda one: one[1].st_mtime):
            if total <= most:
                break
            if path.stem not in needed:
                path.unlink(missing_ok=True)
                total -= stat.st_size

    def _file(self, digest: str) -> Path:
        return self.folder / f"{digest}.png"

    def _remember(self, digest: str, image: Image) -> None:
        self._memory[digest] = image
        self._memory.move_to_end(digest)
        while len(self._memory) > self._limit:
            self._memory.popitem(last=False)


def picture_of(prompt: ImagePrompt, store: Store, path: str = "image") -> Optional[Image]:
    """The picture (RGB) that an image prompt names; ``None`` for noise alone. Raises as :func:`picture_in`."""
    return picture_in(prompt.image, store, path, prompt.name)


def picture_in(text: str, store: Store, path: str = "image", name: str = "") -> Optional[Image]:
    """The picture (RGB) in a text: base64, a data URL or a reference; ``None`` where it is empty. ``name``: for people.

    Raises :class:`SettingsError` naming the field (``path``) for what is no picture, or is not in the store.
    """
    text = text.strip()
    if not text:
        return None
    if text.startswith(MARK):
        image = store.get(text)
        if image is None:
            called = f'"{name}" ' if name else ""
            raise SettingsError(path, text, f"a picture that is stored here: {called}is not, or no longer; choose its file again")
        return image
    try:
        return opened(base64.b64decode(_DATA_URL.sub("", text, count=1), validate=True))
    except (binascii.Error, ValueError):
        raise SettingsError(path, text, ImagePrompt.__fields__["image"].field_info.extra["allowed"]) from None


def referenced(prompts: Sequence[ImagePrompt], store: Store) -> List[ImagePrompt]:
    """The same image prompts, with references in place of pictures; raises :class:`SettingsError` as :func:`picture_of`."""
    out = []
    for index, prompt in enumerate(prompts):
        image = picture_of(prompt, store, f"images[{index}].image")
        out.append(prompt if image is None else prompt.copy(update={"image": store.put(image)}))
    return out
