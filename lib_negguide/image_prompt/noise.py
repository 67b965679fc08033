"""Noise on a picture before an image encoder sees it, or noise in place of one.

A negative picture of noise asks for what noise has not: clear, quiet, orderly pictures. The four kinds are those that
ComfyUI's IP-Adapter nodes offer by these names; the formulas are given here. Same picture, amount and seed: same result.
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from lib_negguide.errors import SettingsError
from lib_negguide.settings import NOISES

TILES = 8
"""Tiles along each side for "shuffle"."""
GREY = 0.5
"""What noise without a picture is put on."""


def noisy(pixels: Optional[np.ndarray], kind: str, amount: float, size: int, seed: int = 0) -> np.ndarray:
    """``pixels`` (S, S, 3) in 0..1 with noise, a in 0..1 being the ``amount``; ``None``: noise on grey of that ``size``.

    fade: (1 - a) p + a u with u uniform in 0..1; dissolve: a share a of the pixels become u; gaussian: p + a n with n
    normal, cut to 0..1; shuffle: a share a of 8 x 8 tiles change places. Amount 0 and "none" are the picture itself.
    """
    if kind not in NOISES:
        raise SettingsError("noise", kind, "one of " + ", ".join(NOISES))
    if not 0.0 <= amount <= 1.0:
        raise SettingsError("amount", amount, "a number from 0 to 1")
    if pixels is None:
        if kind in ("none", "shuffle") or not amount:
            raise SettingsError("noise", kind, "fade, dissolve or gaussian, with an amount above 0, where there is no picture")
        pixels = np.full((size, size, 3), GREY, np.float32)
    if kind == "none" or not amount:
        return pixels
    random = np.random.default_rng(seed)
    if kind == "shuffle":
        return _shuffled(pixels, amount, random)
    if kind == "gaussian":
        return np.clip(pixels + amount * random.standard_normal(pixels.shape, np.float32), 0.0, 1.0)
    uniform = random.random(pixels.shape, np.float32)
    if kind == "fade":
        return np.float32(1.0 - amount) * pixels + np.float32(amount) * uniform
    chosen = random.random((*pixels.shape[:2], 1), np.float32) < amount
    return np.where(chosen, uniform, pixels)


def _shuffled(pixels: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """A share of the tiles, each at the place of another one of them."""
    height, width = pixels.shape[0] // TILES, pixels.shape[1] // TILES
    places = random.permutation(TILES * TILES)[: round(amount * TILES * TILES)]
    out = pixels.copy()
    for to, source in zip(places, np.roll(places, 1)):
        (a, b), (c, d) = divmod(int(to), TILES), divmod(int(source), TILES)
        out[a * height:(a + 1) * height, b * width:(b + 1) * width] = pixels[c * height:(c + 1) * height, d * width:(d + 1) * width]
    return out
