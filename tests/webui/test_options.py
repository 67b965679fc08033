"""The host's own options around guidance: off or on, the pictures are what they say."""

import pytest

from tests.webui.client import distance, same

LONG = ", ".join(["a hat with a very wide brim"] * 14)
WHOLE, PART = ({"negatives": [{"text": "mustache", **window}]} for window in ({}, {"start": 5.8, "stop": 0.7}))
OPTIONS = [{}, {"pad_cond_uncond": True}, {"pad_cond_uncond_v0": True}, {"s_min_uncond_all": True}, {"skip_early_cond": 0.3},
           {"batch_cond_uncond": False}, {"emphasis": "None"}, {"CLIP_stop_at_last_layers": 2}, {"use_old_scheduling": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("prompt", ["a portrait of a person", LONG], ids=["short", "long"])
def test_to_the_bit(host, options, prompt):
    fields = {"prompt": prompt, "override_settings": options, "s_min_uncond": None}
    own = host.reference(negative_prompt="mustache", **keep(fields))
    assert same(host.txt2img(WHOLE, **keep(fields)), own)
    assert same(host.txt2img({}, **keep(fields)), host.reference(**keep(fields)))
    assert not same(host.txt2img(PART, **keep(fields)), own)


def keep(fields):
    return {key: value for key, value in fields.items() if value is not None}


@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
def test_cfg_1_uses_no_negative(host, sampler):
    shot = host.txt2img(PART, cfg_scale=1, sampler_name=sampler)
    assert distance(shot, host.reference(cfg_scale=1, sampler_name=sampler)) <= 1
    assert "CFG scale 1 uses no negative prompt" in shot.notes


def test_negative_guidance_minimum_sigma(host):
    """Where the host skips the negative, none acts, and the trace and a note say so."""
    fields = {"override_settings": {"s_min_uncond": 2.0, "s_min_uncond_all": True}, "steps": 6}
    own = host.reference(negative_prompt="mustache", **fields)
    shot = host.txt2img(WHOLE, **fields)
    assert same(shot, own) and not same(shot, host.txt2img(WHOLE, steps=6))
    assert shot.acting() == [n for n, call in enumerate(shot.calls()) if call["sigma"] >= 2.0] != []
    assert "host skipped the negative prompt" in shot.notes


def test_skip_early(host):
    fields = {"override_settings": {"skip_early_cond": 0.4}, "steps": 5}
    shot = host.txt2img(WHOLE, **fields)
    assert same(shot, host.reference(negative_prompt="mustache", **fields))
    assert shot.acting() == [3, 4]
    assert "host skipped the negative prompt" in shot.notes


@pytest.mark.parametrize("options", [{}, {"pad_cond_uncond": True}, {"pad_cond_uncond_v0": True}], ids=str)
def test_a_long_negative_under_the_pad_options(host, options):
    """The whole window is the host's own; a window of a long negative is a picture, and a cut-off is said."""
    own = host.reference(negative_prompt=LONG, override_settings=options)
    assert same(host.txt2img({"negatives": [{"text": LONG}]}, override_settings=options), own)
    shot = host.txt2img({"negatives": [{"text": LONG, "start": 2, "unit": "step"}]}, override_settings=options)
    assert shot.acting() == [2, 3]
    assert ("cuts negatives off after 77 tokens" in shot.notes) == bool(options.get("pad_cond_uncond_v0"))


def test_options_do_not_stay(host):
    before = host.txt2img(WHOLE)
    host.txt2img(WHOLE, override_settings={"skip_early_cond": 0.5, "pad_cond_uncond_v0": True})
    assert same(host.txt2img(WHOLE), before)
