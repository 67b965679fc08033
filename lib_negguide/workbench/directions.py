"""Where prompt and negative pull at one model call: lengths and cosine of the directions of guidance."""

from __future__ import annotations

from typing import Dict, Sequence

import torch

PREDICTIONS = 2
"""More predictions a call that an observer spends: under the empty prompt and under the negative, whatever else the run predicts."""


def directions(d_p: torch.Tensor, d_u: torch.Tensor, d_n: torch.Tensor, sigma: float, is_eps: bool = False) -> Dict[str, float]:
    """``p`` = ‖d_p − d_u‖, ``n`` = ‖d_n − d_u‖ (root mean square, in units of eps) and their ``cosine``.

    Predictions (1, C, h, w) under prompt, empty prompt and negative, as eps or as x0: in the form x = x0 + sigma eps a
    difference of x0 is sigma times that of eps.
    """
    scale = 1.0 if is_eps else 1.0 / max(sigma, 1e-6)
    p, n = ((d - d_u).float().flatten() * scale for d in (d_p, d_n))
    lengths = p.norm() * n.norm()
    cosine = float(p @ n / lengths) if float(lengths) > 0 else 0.0
    root = p.numel() ** 0.5
    return {"p": _short(float(p.norm()) / root), "n": _short(float(n.norm()) / root), "cosine": _short(cosine)}


def chosen(count: int, calls: int) -> Sequence[int]:
    """Numbers of ``count`` calls out of ``calls``, evenly, the last included."""
    count = min(count, calls)
    return [round((number + 1) * calls / count) - 1 for number in range(count)]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
