"""From a picture's latents back to the noise that gives them: the inversion of a sampler, and how well it did.

Host-free: a host gives ``denoise(x, sigma) -> x0`` under the picture's prompt, and the falling levels of its run. Everything is
in the variance-exploding form x = x0 + sigma * noise.

Song et al., Denoising Diffusion Implicit Models (2010.02502, section 4.3), run the sampler backwards; Mokady et al., Null-text
Inversion (2211.09794), show why that is done without guidance: errors that a scale of 1 forgives are multiplied by a larger one.
A step backwards needs the prediction at the state that it looks for, so it is an equation; Pan et al., AIDI (2309.04907), and
Garibi et al., ReNoise (2403.14602), solve it by fixed-point iteration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, List, Optional

import torch

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
OnStep = Callable[[int, int, float], None]

ITERATIONS = 1
"""Predictions a step. One costs what the plain inversion of DDIM does, and comes closer: it asks at the level that it looks for.

More make the noise more like noise, but can run away in single pictures where a level is near 0."""


@dataclass(frozen=True)
class Inversion:
    """``sigmas`` (K + 1,) fall; ``states[k]`` (B, C, h, w) belongs to ``sigmas[k]``: the first is the noise, the last the picture.

    ``residual``: how far the last iteration still moved the states of each picture (B,), as a share of a step, the largest of all
    steps; ``evaluations``: predictions of the network for one picture.
    """

    sigmas: torch.Tensor
    states: List[torch.Tensor]
    residual: torch.Tensor
    evaluations: int

    @property
    def noise(self) -> torch.Tensor:
        """What to sample from, at ``sigmas[0]``."""
        return self.states[0]

    def target(self, call: int) -> torch.Tensor:
        """The x0 (B, C, h, w) that a step of the ODE from ``states[call]`` must be given to arrive at ``states[call + 1]``.

        In place of a prediction it makes the picture itself, however strong the guidance: the anchor of what is to stay.
        """
        here, after = self.sigmas[call], self.sigmas[call + 1]
        return (here * self.states[call + 1] - after * self.states[call]) / (here - after)

    def targets(self) -> List[torch.Tensor]:
        """:meth:`target` of every call."""
        return [self.target(call) for call in range(len(self.sigmas) - 1)]

    def straight(self) -> torch.Tensor:
        """The one x0 (B, C, h, w) that leads from the noise to the picture at all calls, by any solver of the ODE.

        Its slope (x - x0) / sigma is the same everywhere, so that no order and no step makes an error.
        """
        here, after = self.sigmas[0], self.sigmas[-1]
        return (here * self.states[-1] - after * self.states[0]) / (here - after)


@torch.no_grad()
def invert(denoise: Denoise, latents: torch.Tensor, sigmas: torch.Tensor, iterations: int = ITERATIONS,
           on_step: Optional[OnStep] = None) -> Inversion:
    """Latents (B, C, h, w) at the last of the falling ``sigmas`` (K + 1,), usually 0, taken to the first.

    ``denoise``: the prediction under the picture's prompt, without guidance; it is asked at all levels but the last. Each step
    solves x_k = x_{k+1} + (sigma_k - sigma_{k+1}) eps(x_k, sigma_k), beginning with the direction of the step before it; so an
    Euler (DDIM) run from the noise passes through the same states. ``iterations`` predictions a step.
    """
    if iterations < 1:
        raise ValueError(f"iterations = {iterations} is not allowed; at least 1")
    states, eps, steps = [latents], torch.zeros_like(latents), len(sigmas) - 1
    residual = latents.new_zeros(len(latents))
    for number, call in enumerate(reversed(range(steps))):
        sigma, step = sigmas[call], sigmas[call] - sigmas[call + 1]
        for _ in range(iterations):
            x = states[0] + step * eps
            before, eps = eps, (x - denoise(x, sigma)) / sigma
        moved = _norm(eps - before) / _norm(eps).clamp_min(1e-12)
        residual = torch.maximum(residual, moved) if number else residual
        states.insert(0, states[0] + step * eps)
        if on_step is not None:
            on_step(number, steps, float(sigma))
    return Inversion(sigmas, states, residual, iterations * steps)


@torch.no_grad()
def where(denoise: Denoise, without: Denoise, inversion: Inversion, low: float = 3.0, high: float = 9.0) -> torch.Tensor:
    """Where a thing is in each picture, (B, 1, h, w) from 0 to 1: where predictions with and without its words differ.

    Couairon et al., DiffEdit (2210.11427, section 3.2), on the picture's own states in place of random noise, at up to
    ``LOOKS`` of the levels between ``low`` and ``high`` (what is there is settled below, nothing is to be seen above): at each
    the length of the difference over the channels, divided by its maximum. Then their mean, likewise, softly cut off.
    """
    calls = [call for call, sigma in enumerate(inversion.sigmas[:-1].tolist()) if low <= sigma <= high]
    calls = calls or [min(range(len(inversion.sigmas) - 1), key=lambda call: abs(float(inversion.sigmas[call]) - high))]
    chosen = [calls[at * (len(calls) - 1) // max(LOOKS - 1, 1)] for at in range(LOOKS)] if len(calls) > LOOKS else calls
    maps = []
    for call in chosen:
        x, sigma = inversion.states[call], inversion.sigmas[call]
        maps.append(_highest(torch.linalg.vector_norm(denoise(x, sigma) - without(x, sigma), dim=1, keepdim=True)))
    whole = _highest(sum(maps))
    return ((whole - THRESHOLD) / SOFTNESS + 0.5).clamp(0.0, 1.0)


def _highest(maps: torch.Tensor) -> torch.Tensor:
    return maps / maps.amax((2, 3), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


LOOKS, THRESHOLD, SOFTNESS = 3, 0.25, 0.1


@torch.no_grad()
def resample(denoise: Denoise, inversion: Inversion, on_step: Optional[OnStep] = None) -> torch.Tensor:
    """Latents (B, C, h, w) sampled again from the noise by ``denoise``, with nothing removed, by Euler: one prediction a step."""
    x, sigmas = inversion.noise, inversion.sigmas
    for call, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:])):
        x = x + (x - denoise(x, sigma)) / sigma * (after - sigma)
        if on_step is not None:
            on_step(call, len(sigmas) - 1, float(sigma))
    return x


def _norm(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1).norm(dim=1)


@dataclass(frozen=True)
class Reconstruction:
    """How far a picture sampled again from its noise is from the picture: mean change of a pixel (0 to 255), PSNR in dB."""

    l1: float
    psnr: float

    @property
    def poor(self) -> bool:
        return self.psnr < POOR

    def __str__(self) -> str:
        db = "∞" if math.isinf(self.psnr) else f"{self.psnr:.1f} dB"
        verdict = "poor: what is to stay will differ; a better prompt, more steps or more fidelity may help" if self.poor else "good"
        return f"reconstruction {db}, mean change {self.l1:.1f} of 255: {verdict}"


POOR = 24.0
"""PSNR in dB below which a reconstruction is called poor."""


def compared(pictures: torch.Tensor, others: torch.Tensor) -> List[Reconstruction]:
    """Of each picture (B, 3, H, W) in 0..1 and its other."""
    change = (pictures - others).flatten(1)
    return [Reconstruction(255 * l1, -10 * math.log10(mse) if mse > 1e-10 else math.inf)
            for l1, mse in zip(change.abs().mean(1).tolist(), change.square().mean(1).tolist())]
