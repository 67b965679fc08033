"""The hires pass: the same schedule over sigma, or one of its own."""

import pytest

from tests.webui.client import same

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 4, "denoising_strength": 0.7}


@pytest.mark.parametrize("sampler", ["Euler a", "Heun", "DDIM"])
def test_to_the_bit(host, sampler):
    fields = {**HIRES, "sampler_name": sampler}
    own = host.reference(negative_prompt="mustache", **fields)
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, **fields), own)
    assert same(host.txt2img({}, negative_prompt="mustache", **fields), own)
    assert same(host.txt2img({}, **fields), host.reference(**fields))


def test_a_schedule_of_its_own(host):
    """As the host's own two negative prompt boxes."""
    settings = {"negatives": [{"text": "mustache"}], "hires": {"negatives": [{"text": "hat"}]}}
    shot = host.txt2img(settings, **HIRES)
    assert same(shot, host.reference(negative_prompt="mustache", hr_negative_prompt="hat", **HIRES))
    assert not same(shot, host.txt2img({"negatives": [{"text": "mustache"}]}, **HIRES))


def test_other_prompts(host):
    fields = {**HIRES, "hr_prompt": "a red circle", "hr_negative_prompt": "glasses", "negative_prompt": "hat"}
    assert same(host.txt2img({}, **fields), host.reference(**fields))
    joined = host.txt2img({"negatives": [{"text": "mustache"}]}, **fields)
    assert same(joined, host.reference(**{**fields, "negative_prompt": "hat, mustache", "hr_negative_prompt": "glasses, mustache"}))


def test_one_window_over_sigma_in_both_passes(host):
    shot = host.txt2img({"negatives": [{"text": "mustache", "start": 3.0, "stop": 0.5}]}, **{**HIRES, "steps": 8})
    for which in ("first", "hires"):
        calls = shot.calls(which)
        assert shot.acting(0, which) == [n for n, call in enumerate(calls) if 0.5 < call["sigma"] <= 3.0] != []
    assert shot.calls("hires")[0]["sigma"] < shot.calls("first")[0]["sigma"]


def test_only_the_hires_pass(host):
    off = {"box": {"weight": 0}}
    settings = {**off, "hires": {"negatives": [{"text": "mustache"}]}}
    assert same(host.txt2img(settings, **HIRES), host.reference(hr_negative_prompt="mustache", **HIRES))


def test_steps_of_the_hires_pass(host):
    """Steps in ``hires`` are those of a whole hires run, of which the strength leaves the end."""
    half = {"negatives": [{"text": "mustache", "start": 0.5, "unit": "fraction"}]}
    shot = host.txt2img({"hires": half}, **{**HIRES, "hr_second_pass_steps": 8, "denoising_strength": 0.99})
    assert len(shot.calls("hires")) == 8
    assert shot.acting(0, "hires") == [4, 5, 6, 7]


def test_batch(host):
    fields = {**HIRES, "batch_size": 2}
    own = host.reference(negative_prompt="mustache", **fields)
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, **fields), own)


def test_other_sampler_in_the_hires_pass(host):
    fields = {**HIRES, "hr_sampler_name": "DDIM", "sampler_name": "Heun"}
    settings = {"negatives": [{"text": "mustache", "start": 5.8, "stop": 0.5}]}
    shot = host.txt2img(settings, **fields)
    assert [len(shot.calls("first")), len(shot.calls("hires")) > 1] == [7, True]
    own = host.reference(negative_prompt="mustache", **fields)
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, **fields), own)
