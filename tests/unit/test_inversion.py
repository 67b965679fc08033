"""Inversion on a world whose denoiser is known: normal pictures of mean MU and deviation S."""

import math

import pytest
import torch

from lib_negguide import inversion
from lib_negguide.hosts.embedded.samplers import SAMPLERS

SIGMAS = torch.cat([torch.linspace(math.log(14.6), math.log(0.1), 12).exp(), torch.zeros(1)])
MU, S = 0.5, 0.8


def denoise(x, sigma):
    """The posterior mean of x0, with a bend, so that no step is exact by luck."""
    mean = (S**2 * x + sigma**2 * MU) / (S**2 + sigma**2)
    return mean + 0.05 * torch.sin(3 * mean)


@pytest.fixture
def latents():
    return MU + S * torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))


def euler(predict, x, sigmas=SIGMAS):
    return SAMPLERS["euler"].step(predict, x, sigmas, None)


def test_the_noise_gives_the_picture(latents):
    errors = []
    for iterations in (1, 3, 30):
        inverted = inversion.invert(denoise, latents, SIGMAS, iterations)
        assert torch.equal(inverted.states[-1], latents) and len(inverted.states) == len(SIGMAS)
        assert inverted.evaluations == 12 * iterations and inverted.residual.shape == (2,)
        errors.append((euler(denoise, inverted.noise) - latents).abs().max().item())
    assert errors[0] < 0.2 and errors[1] < errors[0] / 2 and errors[2] < 1e-4


def test_a_run_passes_through_the_states(latents):
    inverted = inversion.invert(denoise, latents, SIGMAS, 30)
    assert inverted.residual.max() < 1e-3
    for call in range(12):
        assert torch.allclose(euler(denoise, inverted.states[call], SIGMAS[call:call + 2]), inverted.states[call + 1], atol=1e-4)


def test_the_noise_is_noise(latents):
    noise = inversion.invert(denoise, latents, SIGMAS, 5).noise
    assert (noise / SIGMAS[0]).std().item() == pytest.approx(1.0, abs=0.2)


def test_from_the_middle_of_a_run(latents):
    whole, part = inversion.invert(denoise, latents, SIGMAS), inversion.invert(denoise, latents, SIGMAS[5:])
    assert torch.equal(part.noise, whole.states[5]) and part.evaluations == 7


@pytest.mark.parametrize("name", ["euler", "euler a", "heun", "dpm++ 2m"])
def test_targets_in_place_of_predictions_are_the_picture(latents, name):
    sampler = SAMPLERS[name]
    inverted = inversion.invert(denoise, latents, SIGMAS)
    targets = iter([target for target in inverted.targets() for _ in range(sampler.orders)])
    made = sampler.step(lambda x, sigma: next(targets), inverted.noise, SIGMAS, lambda: torch.randn(latents.shape))
    assert torch.allclose(made, latents, atol=1e-5)


def test_targets_where_the_last_level_is_not_zero(latents):
    inverted = inversion.invert(denoise, latents, SIGMAS[:-1])
    targets = iter(inverted.targets())
    assert torch.allclose(euler(lambda x, sigma: next(targets), inverted.noise, SIGMAS[:-1]), latents, atol=1e-5)


def test_resampling_and_steps_told(latents):
    told = []
    inverted = inversion.invert(denoise, latents, SIGMAS, 2, on_step=lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(number, 12) for number in range(12)]
    assert told[0][2] == pytest.approx(0.1) and told[-1][2] == pytest.approx(14.6, rel=1e-4)
    assert torch.equal(inversion.resample(denoise, inverted), euler(denoise, inverted.noise))


def test_no_iterations_are_refused(latents):
    with pytest.raises(ValueError, match="iterations"):
        inversion.invert(denoise, latents, SIGMAS, 0)


@pytest.mark.parametrize(("low", "high", "looks"), [(3.0, 9.0, 2), (0.0, 20.0, 3), (200.0, 300.0, 1)])
def test_where_it_is(latents, low, high, looks):
    inverted = inversion.invert(denoise, latents, SIGMAS)
    bump = torch.zeros(2, 1, 3, 3)
    bump[0, 0, 1, 1], bump[0, 0, 1, 2], bump[1, 0, 2, 0], bump[1, 0, 0, 0] = 1.0, 0.25, 0.5, 0.02
    asked = []

    def without(x, sigma):
        asked.append(float(sigma))
        return denoise(x, sigma) - bump * sigma

    mask = inversion.where(denoise, without, inverted, low, high)
    expected = torch.zeros(2, 1, 3, 3)
    expected[0, 0, 1, 1], expected[0, 0, 1, 2], expected[1, 0, 2, 0] = 1.0, 0.5, 1.0
    assert torch.allclose(mask, expected, atol=1e-4)
    assert len(asked) == looks and (low > 100 or all(low <= sigma <= high for sigma in asked))


def test_where_nothing_differs_is_nowhere(latents):
    assert inversion.where(denoise, denoise, inversion.invert(denoise, latents, SIGMAS)).max() == 0


def test_compared():
    pictures = torch.full((2, 3, 4, 4), 0.5)
    same, other = inversion.compared(pictures, pictures + torch.tensor([0.0, 0.1])[:, None, None, None])
    assert math.isinf(same.psnr) and same.l1 == 0 and not same.poor and "good" in str(same)
    assert other.psnr == pytest.approx(20.0, abs=0.01) and other.l1 == pytest.approx(25.5, abs=0.01)
    assert other.poor and "20.0 dB" in str(other) and "poor" in str(other)
