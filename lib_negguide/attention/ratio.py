"""How sharply the picture attends to one text, compared with another: r_t of Ban et al. (2406.02965, section 3.1)."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import torch

from lib_negguide.attention.probes import Layer, Size
from lib_negguide.attention.words import Tokens

Box = Tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the picture's width and height."""


def squares(layers: Sequence[Layer], box: Optional[Box] = None, tokens: Optional[Tokens] = None) -> torch.Tensor:
    """(rows,): the sum over layers and heads of mean(A^2), over the places (in a box) and the tokens (of some words; by default all)."""
    total = 0.0
    for layer in layers:
        weights = layer.weights
        if box is not None:
            weights = weights[:, :, inside(box, layer.size).to(weights.device)]
        if tokens is not None:
            weights = weights[..., tokens.columns(weights.shape[-1]).sum(1).to(weights.device) > 0]
        total = total + torch.linalg.vector_norm(weights, dim=(1, 2, 3)).square() / (weights.shape[2] * weights.shape[3])
    return total


def ratio(negative: Sequence[Layer], positive: Sequence[Layer], box: Optional[Box] = None) -> torch.Tensor:
    """r_t (rows,) of the same layers' attention to the negative and to the positive prompt, over all tokens, as in the authors' code."""
    return squares(negative, box) / squares(positive, box)


def inside(box: Box, size: Size) -> torch.Tensor:
    """(places,): is the middle of each place in the box? At least the place at the box's own middle is."""
    height, width = size
    left, top, right, bottom = box
    x, y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    chosen = (((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]).flatten()
    if not chosen.any():
        middle = min(height - 1, int((top + bottom) / 2 * height)) * width + min(width - 1, int((left + right) / 2 * width))
        chosen[middle] = True
    return chosen
