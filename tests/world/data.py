"""The drawn pictures of a training run, as tensors, kept on disk once drawn."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.world.draw import SIZE, Attributes, draw

PICTURES = 30_000


def draw_many(name: str, count: int) -> tuple[Tensor, list[Attributes]]:
    """Pictures (count,3,64,64) uint8 of the seeds "name 0", "name 1", … and what they show."""
    pixels = torch.empty(count, 3, SIZE, SIZE, dtype=torch.uint8)
    shown = []
    for index in range(count):
        picture, attributes = draw(f"{name} {index}")
        pixels[index] = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
        shown.append(attributes)
    return pixels, shown


def training_pictures(work: Path) -> tuple[Tensor, list[Attributes]]:
    """The 30,000 pictures that autoencoder and UNet are trained on, drawn at the first call."""
    path = work / "pictures.pt"
    if not path.exists():
        pixels, shown = draw_many("train", PICTURES)
        work.mkdir(parents=True, exist_ok=True)
        torch.save({"pixels": pixels, "shown": [(a.kind, a.worn, a.shapes) for a in shown]}, path)
    saved = torch.load(path, weights_only=True)
    return saved["pixels"], [Attributes(*fields) for fields in saved["shown"]]


def to_float(pixels: Tensor) -> Tensor:
    """Pixels of 0..255 as floats of -1..1, as the autoencoder takes them."""
    return pixels.float() / 127.5 - 1
