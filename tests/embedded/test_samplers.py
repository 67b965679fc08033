"""The samplers against the exact solution for normally distributed pictures."""

import pytest
import torch

from lib_negguide.hosts.embedded.samplers import SCHEDULERS, Levels, noise_levels, sampler
from lib_negguide.schedule import reference_sigmas
from tests.world.model import alphas_cumprod

SPREAD = 0.7  # standard deviation of the pictures
LEVELS = Levels(alphas_cumprod().float())


def denoise(x, sigma):
    """The best guess of a picture drawn from N(0, SPREAD^2)."""
    return x * SPREAD**2 / (SPREAD**2 + sigma**2)


def error(name, steps):
    """Of the deterministic solution from 10 to 0.1: x is scaled by the ratio of the standard deviations."""
    sigmas = torch.linspace(10.0, 0.1, steps + 1, dtype=torch.float64) if name == "Euler" else \
        torch.logspace(1.0, -1.0, steps + 1, dtype=torch.float64)
    out = sampler(name).step(denoise, torch.ones(1, dtype=torch.float64), sigmas, None)
    exact = ((SPREAD**2 + 0.1**2) / (SPREAD**2 + 10.0**2)) ** 0.5
    return abs(out.item() - exact)


@pytest.mark.parametrize(("name", "order"), [("Euler", 1), ("Heun", 2), ("DPM++ 2M", 2)])
def test_order_of_convergence(name, order):
    assert error(name, 80) < 0.03
    assert error(name, 160) / error(name, 320) == pytest.approx(2**order, rel=0.2)


def test_the_ancestral_sampler_keeps_the_spread():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(20000, generator=generator) * (SPREAD**2 + 10.0**2) ** 0.5
    sigmas = torch.cat([torch.logspace(1.0, -2.0, 200), torch.zeros(1)])
    out = sampler("Euler a").step(denoise, start, sigmas, lambda: torch.randn(20000, generator=generator))
    assert out.std().item() == pytest.approx(SPREAD, rel=0.03)


@pytest.mark.parametrize(("name", "steps", "calls"), [("Euler", 8, 8), ("Heun", 8, 15), ("DDIM", 8, 7), ("DDIM", 30, 30), ("DPM++ 2M", 1, 1)])
def test_counts_of_calls(name, steps, calls):
    made = []
    sigmas, _ = noise_levels(sampler(name), "automatic", steps, LEVELS)
    sampler(name).step(lambda x, sigma: made.append(float(sigma)) or denoise(x, sigma), torch.ones(1), sigmas, lambda: 0.0)
    assert len(made) == sampler(name).calls(sigmas) == calls


def test_levels_there_and_back():
    timesteps = torch.linspace(0, 999, 334)
    back = torch.stack([LEVELS.timestep(LEVELS.sigma(t)) for t in timesteps])
    assert (back - timesteps).abs().max() < 0.02
    assert LEVELS.timestep(torch.tensor(1e-5)) == 0
    assert LEVELS.timestep(torch.tensor(100.0)) == 999


def test_the_plain_scheduler_is_that_of_the_core():
    sigmas, name = noise_levels(sampler("Euler"), "automatic", 30, LEVELS)
    assert name == "uniform"
    assert sigmas[:-1].tolist() == pytest.approx(reference_sigmas(30), rel=1e-4)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_levels_fall_from_the_first_to_zero(name):
    sigmas, _ = noise_levels(sampler("Euler"), name, 12, LEVELS)
    assert len(sigmas) == 13 and sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()
    assert sigmas[0] == pytest.approx(14.6146, rel=1e-4)
