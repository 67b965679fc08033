"""Where the picture attends to which words: maps, and the step at which they are formed."""

from __future__ import annotations

from typing import List, Optional, Sequence

import torch
import torch.nn.functional as F

from lib_negguide.attention.probes import Layer, Size
from lib_negguide.attention.words import Tokens

RISEN = 0.9
"""Share of a curve's rise at its critical step (Ban et al., 2406.02965)."""


def of_words(layers: Sequence[Layer], tokens: Tokens, size: Optional[Size] = None) -> torch.Tensor:
    """(rows, words, h, w): each place's share for each word, mean over heads and layers; ``size``: by default the largest layer's."""
    size = size or max((layer.size for layer in layers), key=lambda own: own[0] * own[1])
    total, count = 0.0, sum(layer.layers for layer in layers)
    for layer in layers:
        shares = layer.weights.mean(1)
        maps = (shares @ tokens.columns(shares.shape[-1]).to(shares.device)).transpose(1, 2).unflatten(-1, layer.size)
        maps = maps if layer.size == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)
        total = total + (maps if layer.layers == count else maps * (layer.layers / count))
    return total


def each_size(layers: Sequence[Layer], tokens: Tokens) -> dict:
    """Size to the maps of the layers of that size only, as :func:`of_words`; the largest first."""
    sizes = sorted({layer.size for layer in layers}, key=lambda own: -own[0] * own[1])
    return {size: of_words([layer for layer in layers if layer.size == size], tokens) for size in sizes}


def critical(values: Sequence[float]) -> Optional[int]:
    """The first call at which a curve has reached 90% of its rise from the first call to its highest; ``None`` where it never rises."""
    highest = max(values)
    if not highest > values[0]:
        return None
    return next(call for call, value in enumerate(values) if value >= values[0] + RISEN * (highest - values[0]))


def strengths(maps: Sequence[torch.Tensor]) -> List[List[float]]:
    """Of maps (words, h, w), one a call: for each word the mean over the places of A^2 at each call, as in r_t of Ban et al."""
    return torch.stack(tuple(maps)).square().mean((2, 3)).T.tolist()
