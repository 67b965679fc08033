"""A cache of diffusion-negative pictures and their captions: in memory, and on disk if asked.

An entry is found by a digest of everything that the picture depends on, and carries the
text of which it is the digest: what does not agree with it to the letter, or is damaged,
counts as absent and is replaced.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

log = logging.getLogger("negguide")

FORM = 1
"""Of the entries; part of every key, so that entries of another form are never found."""

_FILE = re.compile(r"[0-9a-f]{64}\.(json|png)(\.[^.]+\.part)?")
_STALE = 3600.0  # seconds after which a half-written file is nobody's any more


def key_of(identity: Mapping[str, Any]) -> str:
    """All that a picture depends on, as canonical JSON: equal for equal identities, and only for those.

    7 and 7.0 are the same number. Raises :class:`TypeError` or :class:`ValueError` for what JSON cannot tell apart
    (names that are no text, numbers that are not finite, objects).
    """
    whole = {"form": FORM, "of": _canonical(identity)}
    return json.dumps(whole, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"names of an identity are texts, not {list(value)!r}")
        return {name: _canonical(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def digest(key: str) -> str:
    """The name of an entry: SHA-256 of its key, in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8")).hexdigest()


@dataclass
class _Entry:
    """One picture (Pillow) and what captioners have said of it: who and how, to the caption as it was said."""

    image: Any
    captions: Dict[str, str] = field(default_factory=dict)


class Pictures:
    """At most ``limit`` pictures in memory and, with a ``folder``, about ``megabytes`` of them on disk.

    The least recently used go first. Safe for threads; processes may share a folder.
    Keys are texts from :func:`key_of`. Raises :class:`OSError` where the folder cannot be made;
    later trouble with the disk is logged, and costs no more than what would have been saved.
    """

    def __init__(self, folder: Optional[Path] = None, limit: int = 64, megabytes: float = 500.0):
        self.folder = None if folder is None else Path(folder)
        self.limit, self.megabytes = limit, megabytes
        self._memory: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.RLock()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str):
        """The picture, a copy of its own; ``None`` where there is none."""
        with self._lock:
            entry = self._find(key)
            return None if entry is None else entry.image.copy()

    def put(self, key: str, image) -> None:
        """Keep a picture; captions of another one under this key are forgotten."""
        with self._lock:
            entry = _Entry(image.convert("RGB").copy())
            self._remember(key, entry)
            if self.folder is not None:
                self._write(key, entry)
                self._trim()

    def caption(self, key: str, by: str) -> Optional[str]:
        """What the captioner ``by`` (its name and settings) has said of the picture; ``None`` when never asked."""
        with self._lock:
            entry = self._find(key)
            return None if entry is None else entry.captions.get(by)

    def add_caption(self, key: str, by: str, caption: str) -> None:
        """Keep a caption with its picture; nothing where the picture is not there any more."""
        with self._lock:
            entry = self._find(key)
            if entry is not None:
                entry.captions[by] = caption
                if self.folder is not None:
                    self._write(key, entry)

    def clear(self) -> None:
        """Forget everything, in memory and on disk; files that are not the cache's stay."""
        with self._lock:
            self._memory.clear()
            for path in self._files():
                _remove(path)

    def __len__(self) -> int:
        """Pictures in memory."""
        return len(self._memory)

    def _find(self, key: str) -> Optional[_Entry]:
        entry = self._memory.get(key)
        if entry is None and self.folder is not None:
            entry = self._read(key)
            if entry is not None:
                self._remember(key, entry)
        if entry is None:
            return None
        if key in self._memory:
            self._memory.move_to_end(key)
        if self.folder is not None:
            try:
                os.utime(self._path(key, "json"))
            except OSError:
                pass  # removed by another process, or never written
        return entry

    def _remember(self, key: str, entry: _Entry) -> None:
        self._memory[key] = entry
        self._memory.move_to_end(key)
        while len(self._memory) > max(0, self.limit):
            self._memory.popitem(last=False)

    # An entry on disk is DIGEST.png and DIGEST.json; the second, written last, has the key and the first one's digest.

    def _path(self, key: str, kind: str) -> Path:
        return self.folder / f"{digest(key)}.{kind}"

    def _read(self, key: str) -> Optional[_Entry]:
        from PIL import Image

        try:
            said = json.loads(self._path(key, "json").read_text("utf-8"))
            if said["key"] != key:
                return None
            png = self._path(key, "png").read_bytes()
            if hashlib.sha256(png).hexdigest() != said["png"]:
                return None
            captions = {str(by): str(caption) for by, caption in said["captions"].items()}
            return _Entry(Image.open(io.BytesIO(png)).convert("RGB"), captions)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("cache: %s is damaged and counts as absent (%s)", self._path(key, "json").name, error)
            return None

    def _write(self, key: str, entry: _Entry) -> None:
        buffer = io.BytesIO()
        entry.image.save(buffer, "PNG")
        png = buffer.getvalue()
        said = {"key": key, "png": hashlib.sha256(png).hexdigest(), "captions": entry.captions}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _replace(self._path(key, "png"), png)
            _replace(self._path(key, "json"), json.dumps(said, ensure_ascii=False, indent=1).encode("utf-8"))
        except OSError as error:
            log.warning("cache: %s cannot be written: %s", self.folder, error.strerror or error)

    def _files(self) -> List[Path]:
        try:
            return [path for path in self.folder.iterdir() if _FILE.fullmatch(path.name)] if self.folder else []
        except OSError:
            return []

    def _trim(self) -> None:
        """Remove the least recently used entries beyond the size, and half-written files that were left behind."""
        sizes: Dict[str, int] = {}
        used: Dict[str, float] = {}
        for path in self._files():
            try:
                stat = path.stat()
            except OSError:
                continue
            if path.name.endswith(".part"):
                if time.time() - stat.st_mtime > _STALE:
                    _remove(path)
                continue
            sizes[path.stem] = sizes.get(path.stem, 0) + stat.st_size
            used[path.stem] = max(used.get(path.stem, 0.0), stat.st_mtime)
        total = sum(sizes.values())
        for name in sorted(used, key=used.get):
            if total <= self.megabytes * 1e6:
                break
            for kind in ("json", "png"):
                _remove(self.folder / f"{name}.{kind}")
            total -= sizes[name]


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except BaseException:
        _remove(Path(part))
        raise


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        pass
