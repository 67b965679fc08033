"""Noise levels and samplers of the embedded host, in the variance-exploding form x = x0 + sigma * noise.

A sampler is a function of ``denoise(x, sigma) -> x0``, so all that it knows of guidance
is its result. Same levels, formulas and order of random numbers as behind the A1111
names: the same seed gives the same picture there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Tuple

import torch

from lib_negguide.errors import SettingsError

Denoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Noise = Callable[[], torch.Tensor]


class Levels:
    """The noise levels of a model's training timesteps; ``sigmas`` (1000,) rise."""

    def __init__(self, alphas_cumprod: torch.Tensor):
        self.sigmas = ((1.0 - alphas_cumprod) / alphas_cumprod) ** 0.5
        self._logs = self.sigmas.log()

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The (fractional) timestep of a level, by linear interpolation in ln sigma."""
        log = sigma.log()
        low = int((log >= self._logs).sum().clamp(1, len(self._logs) - 1)) - 1
        weight = ((log - self._logs[low]) / (self._logs[low + 1] - self._logs[low])).clamp(0.0, 1.0)
        return low + weight

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """The level of (fractional) timesteps, shape kept."""
        low, high, weight = timestep.floor().long(), timestep.ceil().long(), timestep.frac()
        return ((1.0 - weight) * self._logs[low] + weight * self._logs[high]).exp()


def _uniform(steps: int, levels: Levels) -> torch.Tensor:
    return levels.sigma(torch.linspace(len(levels.sigmas) - 1, 0, steps))


def _karras(steps: int, levels: Levels, rho: float = 7.0) -> torch.Tensor:
    """Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models (2206.00364), eq. 5."""
    low, high = levels.sigmas[0].item() ** (1 / rho), levels.sigmas[-1].item() ** (1 / rho)
    return (high + torch.linspace(0, 1, steps) * (low - high)) ** rho


def _exponential(steps: int, levels: Levels) -> torch.Tensor:
    return torch.linspace(levels.sigmas[-1].log().item(), levels.sigmas[0].log().item(), steps).exp()


def _sgm_uniform(steps: int, levels: Levels) -> torch.Tensor:
    return levels.sigma(torch.linspace(len(levels.sigmas) - 1, 0, steps + 1)[:-1])


def _ddim(steps: int, levels: Levels) -> torch.Tensor:
    """Every (1000 // steps)-th timestep, from 1 on; the last is where a run ends."""
    timesteps = (torch.arange(0, 1000, 1000 // steps) + 1).clamp(0, 999)
    return levels.sigmas[timesteps.flip(0)]


SCHEDULERS: Dict[str, Callable[[int, Levels], torch.Tensor]] = {
    "uniform": _uniform, "karras": _karras, "exponential": _exponential, "sgm uniform": _sgm_uniform,
}


def euler(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """First-order steps of the probability-flow ODE dx/dsigma = (x - x0) / sigma (2206.00364, eq. 1 and 3)."""
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        x = x + (x - denoise(x, sigma)) / sigma * (after - sigma)
    return x


def euler_ancestral(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Euler to a lower level than the next, then fresh noise up to it: the DDPM variance of Ho et al. (2006.11239)."""
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        up = torch.minimum(after, (after**2 * (sigma**2 - after**2) / sigma**2) ** 0.5)
        down = (after**2 - up**2) ** 0.5
        x = x + (x - denoise(x, sigma)) / sigma * (down - sigma)
        if after > 0:
            x = x + noise() * up
    return x


def heun(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Second order by the slope at both ends of a step (2206.00364, algorithm 1): 2 N - 1 calls."""
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        slope = (x - denoise(x, sigma)) / sigma
        ahead = x + slope * (after - sigma)
        if after > 0:
            slope = (slope + (ahead - denoise(ahead, after)) / after) / 2
            ahead = x + slope * (after - sigma)
        x = ahead
    return x


def dpmpp_2m(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """DPM-Solver++(2M) of Lu et al. (2211.01095), algorithm 2, in t = -ln sigma; the last step is of first order."""
    before = old = None
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        denoised = denoise(x, sigma)
        if after == 0:
            return denoised
        h = sigma.log() - after.log()
        target = denoised
        if old is not None:
            r = (before.log() - sigma.log()) / h
            target = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old
        x = after / sigma * x - (-h).expm1() * target
        before, old = sigma, denoised
    return x


@dataclass(frozen=True)
class Sampler:
    """``scheduler``: the one that "automatic" means. ``orders``: model calls a step, the last being single.

    ``remembers``: a step needs what an earlier one knew, so a run cannot be cut between steps.
    """

    name: str
    step: Callable[[Denoise, torch.Tensor, torch.Tensor, Noise], torch.Tensor]
    scheduler: str = "uniform"
    orders: int = 1
    remembers: bool = False

    def calls(self, sigmas: torch.Tensor) -> int:
        """Model calls over these levels (the last being where the run ends)."""
        steps = len(sigmas) - 1
        return self.orders * (steps - 1) + 1 if self.orders > 1 else steps


_LIST = (
    Sampler("Euler", euler),
    Sampler("Euler a", euler_ancestral),
    Sampler("Heun", heun, orders=2),
    Sampler("DPM++ 2M", dpmpp_2m, scheduler="karras", remembers=True),
    # With eta 0, DDIM (2010.02502, eq. 12) is Euler in these coordinates, over levels of its own.
    Sampler("DDIM", euler, scheduler="ddim"),
)
SAMPLERS: Dict[str, Sampler] = {sampler.name.lower(): sampler for sampler in _LIST}


def sampler(name: str) -> Sampler:
    """By name, in any case; raises :class:`SettingsError` listing the names."""
    if str(name).lower() not in SAMPLERS:
        raise SettingsError("sampler", name, "one of " + ", ".join(s.name for s in _LIST))
    return SAMPLERS[name.lower()]


def noise_levels(chosen: Sampler, scheduler: str, steps: int, levels: Levels) -> Tuple[torch.Tensor, str]:
    """Falling levels (N + 1,) of a run, the last being where it ends, and the name of the scheduler that made them."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 500:
        raise SettingsError("steps", steps, "a whole number from 1 to 500")
    name = str(scheduler).lower()
    if name not in ("automatic", *SCHEDULERS):
        raise SettingsError("scheduler", scheduler, "one of automatic, " + ", ".join(SCHEDULERS))
    if chosen.scheduler == "ddim":  # goes by timesteps of its own, whatever the scheduler, as in the WebUI
        if steps < 2:
            raise SettingsError("steps", steps, "at least 2 with DDIM")
        return _ddim(steps, levels), "ddim"
    name = chosen.scheduler if name == "automatic" else name
    return torch.cat([SCHEDULERS[name](steps, levels), torch.zeros(1)]), name
