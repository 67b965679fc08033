"""Negatives as branches of their own: the three-branch formula, Perp-Neg, and what they cost."""

import pytest

from tests.webui.client import distance, same
from tests.webui.test_img2img import mask, start_image

PROMPT = "a portrait of a person"
CLOSE = 3  # of 255: the same sum in another order


def branches(*negatives, combine="branches"):
    return {"negatives": [negative if isinstance(negative, dict) else {"text": negative} for negative in negatives], "combine": combine}


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "Heun", "DDIM", "PLMS", "UniPC"])
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_a_branch_is_a_negative_part_of_the_prompt(host, sampler, weight):
    """u + s (p - u) - s w (n - u), which the host itself says as ``p AND n :-w`` with an empty box."""
    ours = host.txt2img(branches({"text": "mustache", "weight": weight}), sampler_name=sampler)
    own = host.reference(prompt=f"{PROMPT} AND mustache :-{weight}", sampler_name=sampler)
    assert distance(ours, own) <= CLOSE < distance(ours, host.reference(sampler_name=sampler))


def test_two_branches(host):
    ours = host.txt2img(branches("mustache", {"text": "hat", "weight": 0.5}))
    own = host.reference(prompt=f"{PROMPT} AND mustache :-1 AND hat :-0.5")
    assert distance(ours, own) <= CLOSE


def test_the_box_is_a_branch_too(host):
    ours = host.txt2img(branches(), negative_prompt="mustache")
    assert distance(ours, host.txt2img(branches("mustache"))) <= CLOSE


@pytest.mark.parametrize("fields", [{"batch_size": 2}, {"n_iter": 2}, {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3}], ids=str)
def test_branches_in_other_requests(host, fields):
    own = host.reference(prompt=f"{PROMPT} AND mustache :-1", **fields)
    assert distance(host.txt2img(branches("mustache"), **fields), own) <= CLOSE


def test_branches_beside_and(host):
    ours = host.txt2img(branches("mustache"), prompt="a red circle AND a blue square :0.5")
    own = host.reference(prompt="a red circle AND a blue square :0.5 AND mustache :-1")
    assert distance(ours, own) <= CLOSE


def test_branches_in_inpainting(host):
    for fields in ({}, {"mask_image": mask(), "mask_blur": 0}):
        ours = host.img2img(start_image(), branches("hat"), **fields)
        own = host.img2img(start_image(), prompt=f"{PROMPT} AND hat :-1", **fields)
        assert distance(ours, own) <= CLOSE


@pytest.mark.parametrize("combine", ["branches", "perp-neg"])
def test_evaluations_are_spent_only_in_the_window(host, combine):
    shot = host.txt2img(branches({"text": "mustache", "start": 2, "stop": 5, "unit": "step"}, combine=combine), steps=8)
    assert [call["extra_evaluations"] for call in shot.calls()] == [0, 0, 1, 1, 1, 0, 0, 0]


def test_join_costs_nothing(host):
    shot = host.txt2img({"negatives": [{"text": "mustache"}, {"text": "hat", "weight": 0.5}]})
    assert [call["extra_evaluations"] for call in shot.calls()] == [0] * 4


@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
def test_perp_neg_of_the_prompt_itself_does_nothing(host, sampler):
    """Only what is perpendicular to the prompt's own direction is taken away."""
    plain = host.reference(sampler_name=sampler)
    assert distance(host.txt2img(branches(PROMPT, combine="perp-neg"), sampler_name=sampler), plain) <= CLOSE
    assert distance(host.txt2img(branches(PROMPT), sampler_name=sampler), plain) > CLOSE


def test_perp_neg_is_a_method_of_its_own(host):
    shots = [host.txt2img(branches("mustache", combine=combine)) for combine in ("join", "branches", "perp-neg")]
    assert not any(same(a, b) for a, b in zip(shots, shots[1:]))


@pytest.mark.parametrize("combine", ["branches", "perp-neg"])
def test_branches_outside_the_window_are_an_empty_box(host, combine):
    shot = host.txt2img(branches({"text": "mustache", "start": 1e-4}, combine=combine))
    assert same(shot, host.reference())


@pytest.mark.parametrize("combine", ["branches", "perp-neg"])
def test_long_branches(host, combine):
    text = ", ".join(["a hat with a very wide brim"] * 14)
    shot = host.txt2img(branches(text, combine=combine), batch_size=2)
    assert not same(shot, host.reference(batch_size=2))


def test_branches_with_cfg_plus_plus(host):
    if "DDIM CFG++" not in host.sampler_names():
        pytest.skip("this host does not have DDIM CFG++")
    ours = host.txt2img(branches("mustache"), sampler_name="DDIM CFG++")
    own = host.reference(prompt=f"{PROMPT} AND mustache :-1", sampler_name="DDIM CFG++")
    assert distance(ours, own) <= CLOSE
