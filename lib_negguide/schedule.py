"""Windows and curves over the noise level, and the units in which people enter them.

Everything is applied over ``sigma`` (the noise level of the variance-exploding
form, x = x0 + sigma * noise), so that a schedule means the same thing under every
sampler, scheduler, step count, img2img strength and hires pass. Steps and
fractions are an entry aid: they are converted once, with the sigmas of the run.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Optional, Sequence, Tuple

import numpy as np

UNITS = ("sigma", "fraction", "step")
CURVES = ("constant", "linear up", "linear down", "cosine", "points")

TRAIN_STEPS, BETA_START, BETA_END = 1000, 0.00085, 0.012


@cache
def _reference_log_sigmas() -> np.ndarray:
    """ln sigma at the 1000 training timesteps of SD1/SD2/SDXL, rising; shape (1000,)."""
    betas = np.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS) ** 2
    alphas_cumprod = np.cumprod(1.0 - betas)
    return 0.5 * np.log((1.0 - alphas_cumprod) / alphas_cumprod)


def progress(sigma: float) -> float:
    """How far denoising has come at ``sigma``: 0 at pure noise, 1 at the clean picture.

    It is 1 - t/999 on the training timesteps of Stable Diffusion (scaled-linear
    betas 0.00085 to 0.012, as SD1 and SDXL), which the plain scheduler walks evenly.
    Only curves and pictures of schedules use it; windows compare sigmas.
    """
    if sigma <= 0.0:
        return 0.0 if math.isnan(sigma) else 1.0
    if math.isinf(sigma):
        return 0.0
    logs = _reference_log_sigmas()
    return float(1.0 - np.interp(math.log(sigma), logs, np.arange(TRAIN_STEPS)) / (TRAIN_STEPS - 1))


def reference_sigmas(steps: int) -> Tuple[float, ...]:
    """``steps`` falling sigmas of the plain scheduler (even in training time); units of sigma."""
    if steps < 1:
        raise ValueError(f"steps = {steps} is not allowed; a whole number from 1")
    timesteps = np.linspace(TRAIN_STEPS - 1, 0, steps)
    return tuple(float(s) for s in np.exp(np.interp(timesteps, np.arange(TRAIN_STEPS), _reference_log_sigmas())))


def to_sigma(value: Optional[float], unit: str, sigmas: Sequence[float]) -> Optional[float]:
    """Convert one end of a window to sigma.

    ``sigmas`` are the falling noise levels of a whole run (a trailing 0 is ignored).
    A fraction f means step f*N of its N steps, and step k means "before step k": the
    boundary lies between two levels (their geometric mean), so that neither rounding
    nor a sampler's small deviations decide whether step k is in. Step 0 lies half a step
    above the first level. ``None`` stays open.
    """
    if value is None or unit == "sigma":
        return value
    levels = [float(s) for s in sigmas if s > 0.0]
    if not levels:
        raise ValueError("a fraction or a step needs the sigmas of the run")
    count = len(levels)
    step = value * count if unit == "fraction" else value
    if step >= count:
        return 0.0
    logs = np.log(levels)
    inner = (logs[1:] + logs[:-1]) / 2.0
    half = (logs[0] - logs[1]) / 2.0 if count > 1 else 0.5
    edges = np.concatenate(([logs[0] + half], inner))
    if step <= count - 1:
        return _rounded(math.exp(np.interp(step, np.arange(count), edges)))
    return _rounded(math.exp(edges[-1]) * (count - step))


def _rounded(sigma: float) -> float:
    """Five significant digits: readable in infotext, far finer than any schedule."""
    return float(f"{sigma:.5g}")


def curve_value(curve: str, position: float, points: Sequence[Tuple[float, float]] = ()) -> float:
    """Factor of a strength curve at ``position`` in its window (0 where it opens, 1 where it closes).

    ``linear up`` and ``linear down`` go between 0 and 1, ``cosine`` falls from 1 to 0
    with flat ends, ``points`` interpolates (position, factor) pairs and holds the
    outer ones.
    """
    position = min(max(position, 0.0), 1.0)
    if curve == "constant":
        return 1.0
    if curve == "linear up":
        return position
    if curve == "linear down":
        return 1.0 - position
    if curve == "cosine":
        return 0.5 + 0.5 * math.cos(math.pi * position)
    if curve == "points":
        xs, ys = zip(*points)
        return float(np.interp(position, xs, ys))
    raise ValueError(f"curve = {curve!r} is not allowed; one of {', '.join(CURVES)}")


def inside(sigma: float, start: Optional[float], stop: Optional[float]) -> bool:
    """Is ``sigma`` in the window: stop < sigma <= start (as in limited-interval guidance)?"""
    return (start is None or sigma <= start) and (stop is None or sigma > stop)


def strength(
    sigma: float,
    start: Optional[float],
    stop: Optional[float],
    weight: float = 1.0,
    curve: str = "constant",
    points: Sequence[Tuple[float, float]] = (),
) -> float:
    """Strength of a negative at ``sigma``: 0 outside its window, weight * curve inside.

    ``start`` and ``stop`` are sigmas (start the higher one; ``None`` = open). A curve
    runs evenly in :func:`progress` from the opening to the closing end.
    """
    if not inside(sigma, start, stop):
        return 0.0
    if curve == "constant":
        return weight
    opens = 0.0 if start is None else progress(start)
    closes = 1.0 if stop is None else progress(stop)
    position = 0.0 if closes <= opens else (progress(sigma) - opens) / (closes - opens)
    return weight * curve_value(curve, position, points)
