"""Every sampler and every scheduler of the host."""

import pytest

from tests.webui.client import same

SAMPLERS = ["DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler", "LMS",
            "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart", "DDIM", "DDIM CFG++", "PLMS", "UniPC", "LCM"]
SCHEDULERS = ["Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Align Your Steps",
              "Simple", "Normal", "DDIM", "Beta"]
WINDOW = {"negatives": [{"text": "mustache", "start": 8.0, "stop": 0.5}]}
LATE = {"negatives": [{"text": "mustache", "start": 0.5, "unit": "fraction"}]}


@pytest.fixture(scope="module")
def names(host):
    return host.sampler_names()


def check(host, **fields):
    shot = host.txt2img(WINDOW, steps=6, **fields)
    assert shot.acting() == [n for n, call in enumerate(shot.calls()) if 0.5 < call["sigma"] <= 8.0] != []
    assert not same(shot, host.reference(steps=6, **fields))
    assert "did not act" not in shot.notes


def test_all_are_listed_here(names):
    assert set(names) <= set(SAMPLERS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler(host, names, sampler):
    if sampler not in names:
        pytest.skip("this host does not have it")
    check(host, sampler_name=sampler)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_second_half_of_a_run(host, names, sampler):
    """A fraction of the run is converted with the levels that this sampler really visits."""
    if sampler not in names:
        pytest.skip("this host does not have it")
    shot = host.txt2img(LATE, steps=12, sampler_name=sampler)
    calls, acting = len(shot.calls()), shot.acting()
    own_levels = sampler in ("DPM adaptive", "DPM fast")  # not known before, and not falling from call to call
    sigmas = [call["sigma"] for call in shot.calls()]
    assert acting == [n for n, sigma in enumerate(sigmas) if sigma <= max(sigmas[m] for m in acting)]
    assert own_levels or acting == list(range(calls - len(acting), calls))
    tolerance = 0.2 if own_levels else 0.08
    assert len(acting) / calls == pytest.approx(0.5, abs=tolerance)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "Heun"])
def test_scheduler(host, sampler, scheduler):
    check(host, sampler_name=sampler, scheduler=scheduler)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_step_under_every_scheduler(host, scheduler):
    settings = {"negatives": [{"text": "mustache", "start": 2, "stop": 5, "unit": "step"}]}
    assert host.txt2img(settings, steps=7, sampler_name="Euler", scheduler=scheduler).acting() == [2, 3, 4]
