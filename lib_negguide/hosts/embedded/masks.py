"""The mask of inpainting, as the WebUI makes it of a painted one."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F

from lib_negguide.errors import SettingsError

FILLS = ("original", "noise", "nothing")
"""What is under the mask at first: the picture, noise ("latent noise" in the WebUI), or zeros ("latent nothing")."""
FACTOR = 8


class InpaintMask:
    """A Pillow image, white where the picture is to change, for pictures of ``size`` (width, height); ``blur`` in pixels.

    ``pixels`` (1, 1, H, W): how much of the new picture is shown; ``cells`` (1, 1, h, w), 0 or 1: where latents change.
    """

    def __init__(self, mask: Any, size: Tuple[int, int], blur: float = 4.0):
        import numpy as np
        from PIL import Image

        binary = mask.convert("L").point(lambda value: 255 if value > 128 else 0)
        if not binary.getbbox():
            raise SettingsError("mask", "black", "a picture with something white in it: that is what changes")
        if binary.size != tuple(size):
            binary = binary.resize(size, Image.LANCZOS)
        soft = blurred(torch.from_numpy(np.asarray(binary, dtype=np.float32))[None, None], blur).round()
        self.pixels = (2.0 * soft).clamp(0.0, 255.0) / 255.0
        small = Image.fromarray(soft[0, 0].numpy().astype("uint8")).resize((size[0] // FACTOR, size[1] // FACTOR), Image.BICUBIC)
        self.cells = torch.from_numpy(np.around(np.asarray(small, dtype=np.float32) / 255.0))[None, None]

    def filled(self, latents: torch.Tensor, fill: str, seeds: Sequence[int]) -> torch.Tensor:
        """Latents (B, 4, h, w) with what is there at first."""
        if fill not in FILLS:
            raise SettingsError("fill", fill, "one of " + ", ".join(FILLS))
        if fill == "original":
            return latents
        cells = self.cells.to(latents)
        inside = torch.zeros_like(latents)
        if fill == "noise":
            inside = torch.stack([torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])
        return latents * (1.0 - cells) + inside.to(latents) * cells

    def blend(self, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
        """New latents inside, old ones outside."""
        cells = self.cells.to(new)
        return new * cells + old * (1.0 - cells)

    def overlaid(self, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
        """New pictures (B, 3, H, W) with the old ones over them outside the mask, softly over its blurred edge."""
        return new * self.pixels + old * (1.0 - self.pixels)


def blurred(mask: torch.Tensor, deviation: float) -> torch.Tensor:
    """(1, 1, H, W) under a Gaussian, cut off at 2.5 deviations as the WebUI does, reflected at the edges."""
    if deviation <= 0:
        return mask
    for dim in (2, 3):
        reach = min(int(2.5 * deviation + 0.5), mask.shape[dim] - 1)
        at = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernel = (-at.square() / (2.0 * deviation**2)).exp()
        edges = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        shape = (1, 1, -1, 1) if dim == 2 else (1, 1, 1, -1)
        mask = F.conv2d(F.pad(mask, edges, mode="reflect"), (kernel / kernel.sum()).view(shape))
    return mask
