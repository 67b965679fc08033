"""A negative acts exactly where it was asked to."""

import pytest

from lib_negguide.schedule import strength
from tests.webui.client import distance, same

NEGATIVE = "mustache"
STEPS = 8


def windowed(text=NEGATIVE, **window):
    return {"negatives": [{"text": text, **window}]}


@pytest.mark.parametrize("step", range(2, STEPS))
@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "LMS"])
def test_start_at_a_step_is_prompt_editing(host, sampler, step):
    """The host's ``[:text:k]`` has the text from call k + 1 on (calls counted from 0)."""
    ours = host.txt2img(windowed(start=step, unit="step"), steps=STEPS, sampler_name=sampler)
    assert ours.acting() == list(range(step, STEPS))
    assert same(ours, host.reference(negative_prompt=f"[:{NEGATIVE}:{step - 1}]", steps=STEPS, sampler_name=sampler))


@pytest.mark.parametrize("step", range(2, STEPS))
def test_stop_at_a_step_is_prompt_editing(host, step):
    ours = host.txt2img(windowed(stop=step, unit="step"), steps=STEPS)
    assert ours.acting() == list(range(step))
    assert same(ours, host.reference(negative_prompt=f"[{NEGATIVE}::{step - 1}]", steps=STEPS))


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_fraction_of_the_run(host, fraction):
    assert host.txt2img(windowed(start=fraction, unit="fraction"), steps=STEPS).acting() == list(range(round(fraction * STEPS), STEPS))


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "Heun", "DPM fast", "DPM adaptive", "DDIM", "PLMS", "UniPC", "LCM", "Restart"])
@pytest.mark.parametrize("curve", ["constant", "linear up", "cosine"])
def test_sigma_window_at_every_call(host, sampler, curve):
    """Strengths at the noise levels of the calls are those of the schedule, whatever the sampler's levels are."""
    window = {"start": 5.8, "stop": 0.7, "weight": 1.5}
    calls = host.txt2img(windowed(curve=curve, **window), steps=STEPS, sampler_name=sampler).calls()
    wanted = [strength(call["sigma"], 5.8, 0.7, 1.5, curve) for call in calls]
    assert [call["strengths"][0] for call in calls] == pytest.approx(wanted)
    assert any(wanted) and not all(wanted)


@pytest.mark.parametrize("sampler, doubled", [("Euler", False), ("Heun", True), ("DPM2", True), ("DPM++ 2S a", True)])
def test_number_of_calls(host, sampler, doubled):
    calls = host.txt2img(windowed(), steps=STEPS, sampler_name=sampler).calls()
    assert len(calls) == (2 * STEPS - 1 if doubled else STEPS)
    assert calls[0]["sigma"] > 10 > 0.5 > calls[-1]["sigma"]


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "UniPC"])
def test_a_window_behind_the_last_step_does_nothing(host, sampler):
    shot = host.txt2img(windowed(start=1e-4), steps=STEPS, sampler_name=sampler)
    assert same(shot, host.reference(steps=STEPS, sampler_name=sampler))
    assert NEGATIVE in shot.notes and "did not act" in shot.notes


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DDIM"])
def test_a_window_makes_a_picture_of_its_own(host, sampler):
    empty, whole = (host.reference(steps=STEPS, sampler_name=sampler, negative_prompt=text) for text in ("", NEGATIVE))
    part = host.txt2img(windowed(start=5.8, stop=1.6), steps=STEPS, sampler_name=sampler)
    assert distance(part, empty) > 0 and distance(part, whole) > 0


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "PLMS"])
def test_two_windows_that_meet_are_one(host, sampler):
    parts = {"negatives": [{"text": NEGATIVE, "stop": 3.0}, {"text": NEGATIVE, "start": 3.0}]}
    assert same(host.txt2img(parts, steps=STEPS, sampler_name=sampler), host.reference(negative_prompt=NEGATIVE, steps=STEPS, sampler_name=sampler))


def test_the_box_has_a_window_too(host):
    box = host.txt2img({"box": {"start": 3, "unit": "step"}}, negative_prompt=NEGATIVE, steps=STEPS)
    assert same(box, host.txt2img(windowed(start=3, unit="step"), steps=STEPS))


def test_a_window_of_its_own_for_each(host):
    """hat in the first half, mustache in the second: as the host's own prompt editing."""
    half = STEPS // 2
    settings = {"negatives": [{"text": "hat", "unit": "step", "stop": half}, {"text": "mustache", "unit": "step", "start": half}]}
    shot = host.txt2img(settings, steps=STEPS)
    assert shot.acting(0) == list(range(half)) and shot.acting(1) == list(range(half, STEPS))
    assert same(shot, host.reference(negative_prompt=f"[hat:mustache:{half - 1}]", steps=STEPS))


def test_weights_differ(host):
    shots = [host.txt2img(windowed(weight=weight)) for weight in (0, 0.5, 1, 1.5, 2)]
    assert all(not same(a, b) for a, b in zip(shots, shots[1:]))


def test_prompt_editing_in_the_box_still_works(host):
    """The text switches at the host's step, inside a window of NegGuide's."""
    edited = host.txt2img({}, negative_prompt="[hat:mustache:3]", steps=STEPS)
    assert same(edited, host.reference(negative_prompt="[hat:mustache:3]", steps=STEPS))
    shot = host.txt2img({"box": {"start": 2, "unit": "step"}}, negative_prompt="[hat:mustache:5]", steps=STEPS)
    assert same(shot, host.reference(negative_prompt="[[:hat:1]:mustache:5]", steps=STEPS))


def test_the_same_window_is_the_same_noise_under_every_number_of_steps(host):
    for steps in (5, 10, 20):
        calls = host.txt2img(windowed(start=5.8, stop=1.6), steps=steps).calls()
        assert {call["sigma"] for call in calls if call["strengths"][0]} == {call["sigma"] for call in calls if 1.6 < call["sigma"] <= 5.8}
