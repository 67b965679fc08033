"""Pictures to an image encoder's features: finding the encoder, preparing pictures as CLIP wants them, remembering."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Sequence

import numpy as np
import torch

from lib_negguide.captioners import kept
from lib_negguide.errors import ModelError
from lib_negguide.image_prompt import published, vision
from lib_negguide.image_prompt.checkpoints import EMBEDS, Adapter
from lib_negguide.image_prompt.noise import noisy

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, in RGB."""
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
REMEMBERED = 64
"""Pictures whose features are kept (1.3 MB each at most with ViT-H/14)."""

_HIDDEN = {(EMBEDS, 1024): 1280, (EMBEDS, 1280): 1664}
"""Hidden width of the encoder that published adapters mean; others have embeddings of the same width."""


@dataclass(frozen=True)
class Picture:
    """A picture for an image encoder, with noise; without ``image`` it is the noise alone. See :func:`~.noise.noisy`."""

    image: Optional[Image] = None
    noise: str = "none"
    amount: float = 0.0
    seed: int = 0

    @property
    def key(self) -> str:
        """Hash of what the encoder will see: the content, not the file."""
        noise = f"{self.noise}|{self.amount}|{self.seed}" if self.noise != "none" and self.amount else ""
        digest = hashlib.sha256(noise.encode())
        if self.image is not None:
            image = self.image.convert("RGB")
            digest.update(f"|{image.size}|".encode() + image.tobytes())
        return digest.hexdigest()

    def pixels(self, size: int) -> np.ndarray:
        """(S, S, 3), float32 in 0..1, noise included."""
        return noisy(None if self.image is None else square(self.image, size), self.noise, self.amount, size, self.seed)


def square(image: Image, size: int) -> np.ndarray:
    """(S, S, 3), float32 in 0..1: the shorter side resized bicubically, the middle cut out, as CLIPImageProcessor does."""
    from PIL import Image as pillow

    image = image.convert("RGB")
    short, long = sorted(image.size)
    longer = int(size * long / short)
    image = image.resize((size, longer) if image.width <= image.height else (longer, size), pillow.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).astype(np.float32) / np.float32(255.0)


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """(S, S, 3) in 0..1 to CLIP's input (3, S, S)."""
    scaled = (pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32))


def find(spec: str, adapter: Adapter, folders: Sequence[Path] = ()) -> vision.Found:
    """The image encoder for an adapter: the file or folder that ``spec`` names, or ("" or "auto") the first that fits in ``folders``.

    Raises :class:`ModelError` naming what is needed, where to get it and where to put it.
    """
    if spec.strip() not in ("", "auto"):
        found = _named(spec.strip(), folders)
        if not fits(found.shape, adapter):
            raise ModelError(f"NegGuide: {adapter.name} needs {needed(adapter)}; {found.path} is {found.shape.words}")
        return found
    for folder in map(Path, folders):
        for place in _candidates(folder):
            found = vision.look(place)
            if found is not None and fits(found.shape, adapter):
                return found
    places = " or ".join(str(folder) for folder in folders)
    known = _known(adapter)
    get = f", for example {known.words}" if known else ""
    raise published.Missing(f"NegGuide: {adapter.name} needs {needed(adapter)}, which was not found{get}; "
                            + (f"put it into {places}" if places else "name its file or folder"), known)


def needed(adapter: Adapter) -> str:
    """The image encoder that an adapter needs, in words."""
    known = _known(adapter)
    if known:
        return f"the image encoder {known.encoder}"
    what = "embeddings" if adapter.feature == EMBEDS else "hidden states"
    return f"an image encoder with {what} of width {adapter.feature_width}"


def _known(adapter: Adapter) -> Optional[published.Published]:
    """The published encoder that an adapter needs, if it is one of these."""
    named = (published.encoder_called(name) for sizes, (name, *_) in vision.KNOWN.items() if fits(vision.Shape(*sizes), adapter))
    return next((one for one in named if one), None)


def fits(shape: vision.Shape, adapter: Adapter) -> bool:
    """Can the adapter use an encoder of this shape?"""
    if adapter.feature != EMBEDS:
        return shape.hidden == adapter.feature_width
    return shape.embed == adapter.feature_width and shape.hidden == _HIDDEN.get((EMBEDS, shape.embed), shape.hidden)


def _named(spec: str, folders: Sequence[Path]) -> vision.Found:
    tried = [Path(spec).expanduser(), *(Path(folder) / spec for folder in folders)]
    path = next((place for place in tried if place.exists()), None)
    if path is None:
        known = published.called(spec)
        known = known if known and known.kind == published.ENCODER else None
        places = " or ".join(str(folder) for folder in folders)
        get = f"; get {known.words}" + (f" and put it into {places}" if places else "") if known else ""
        raise published.Missing(f"NegGuide: there is no image encoder {spec}{get}", known)
    found = vision.look(path)
    if found is None:
        raise ModelError(f"NegGuide: {path} is no CLIP image encoder: a folder with config.json and model.safetensors in transformers' "
                         "form, or a file of weights in transformers' or open_clip's")
    return found


def _candidates(folder: Path) -> List[Path]:
    """Places to look at in a folder and the folders in it: folders with a config, else files."""
    if not folder.is_dir():
        return []
    if (folder / "config.json").is_file():
        return [folder]
    below = sorted(folder.iterdir())
    found = [place for place in below if place.is_dir() and (place / "config.json").is_file()]
    files = [place for place in below if place.suffix in SUFFIXES and place.is_file()]
    others = [place for place in below if place.is_dir() and place not in found]
    deeper = [file for place in others for file in sorted(place.iterdir()) if file.suffix in SUFFIXES]
    return found + files + deeper


_memory: OrderedDict = OrderedDict()
"""Features (1, E) or (1, P, E) by (encoder, picture, feature)."""


def forget() -> None:
    """Drop the remembered features."""
    _memory.clear()


def features(pictures: Sequence[Optional[Picture]], found: vision.Found, feature: str, *, device: str = "cpu",
             dtype: Optional[torch.dtype] = None, keep: str = "unload", tick=None) -> List[torch.Tensor]:
    """Features of each picture, (1, E) or (1, P, E), float32 on the CPU; of ``None``, those of nothing.

    Nothing is the picture of zeros behind the normalisation, as IP-Adapter has it for hidden states; its
    embeddings are plain zeros. A picture seen before is not encoded again: the encoder is opened only where one
    is new, and put away as ``keep`` says (as captioners, of which it takes the place).
    """
    keys = [(found.key, "" if picture is None else picture.key, feature) for picture in pictures]
    out = {}
    for key, picture in zip(keys, pictures):
        if picture is None and feature == EMBEDS:
            out[key] = torch.zeros(1, found.shape.embed)
        elif key in _memory:
            _memory.move_to_end(key)
            out[key] = _memory[key]
    new = {key: picture for key, picture in zip(keys, pictures) if key not in out}
    if new:
        with kept.held(vision.Vision(found, device, dtype), keep, tick) as encoder:
            for key, picture in new.items():
                if picture is None:
                    pixels = torch.zeros(3, encoder.size, encoder.size)
                else:
                    pixels = normalised(picture.pixels(encoder.size))
                out[key] = _memory[key] = encoder.features(pixels[None], feature)
        while len(_memory) > REMEMBERED:
            _memory.popitem(last=False)
    return [out[key] for key in keys]
