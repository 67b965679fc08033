"""DNS: the picture that lies away from the prompt, by the paper's eq. 19, on the host's own guidance."""

import json

import pytest

from tests.webui.client import distance, same
from tests.webui.test_img2img import start_image

RED = "a red circle"


def away(host, prompt, scale, **fields):
    """The same by the host alone: the empty prompt, the prompt as negative, and the scale c = s + 1."""
    return host.txt2img(prompt="", negative_prompt=prompt, cfg_scale=scale + 1, **fields)


@pytest.mark.parametrize("sampler", ["Euler a", "Euler", "DPM++ 2M", "DPM++ SDE", "Heun", "DDIM", "PLMS", "UniPC"])
def test_is_the_empty_prompt_away_from_the_prompt(host, sampler):
    ours = host.txt2img({"dns": {}}, prompt=RED, sampler_name=sampler, cfg_scale=4)
    assert distance(ours, away(host, RED, 4, sampler_name=sampler)) <= 1
    assert distance(ours, host.txt2img(prompt=RED, sampler_name=sampler, cfg_scale=4)) > 30


@pytest.mark.parametrize("dns, s", [({}, 5), ({"scale": 3}, 3), ({"scale": 3, "meaning": "host"}, 2), ({"meaning": "host"}, 4), ({"scale": 0}, 0)],
                         ids=json.dumps)
def test_scale(host, dns, s):
    shot = host.txt2img({"dns": dns}, prompt=RED, cfg_scale=5)
    assert distance(shot, away(host, RED, s)) <= 1
    assert shot.info["cfg_scale"] == 5


def test_scale_0_is_the_unconditional_picture(host):
    assert distance(host.txt2img({"dns": {"scale": 0}}, prompt=RED), host.txt2img(prompt=RED, cfg_scale=0)) == 0


@pytest.mark.parametrize("cfg_scale", [1, 2.5, 30])
def test_the_runs_own_scale_does_not_matter(host, cfg_scale):
    assert distance(host.txt2img({"dns": {"scale": 5}}, prompt=RED, cfg_scale=cfg_scale), away(host, RED, 5)) <= 1


@pytest.mark.parametrize("fields", [
    {"n_iter": 2, "batch_size": 2}, {"prompt": "a [red:blue:0.5] circle"}, {"override_settings": {"CLIP_stop_at_last_layers": 2}},
    {"subseed": 3, "subseed_strength": 0.4, "batch_size": 2}, {"prompt": RED + ", " * 80 + "hat"}], ids=str)
def test_in_other_requests(host, fields):
    fields = {"prompt": RED, **fields}
    ours = host.txt2img({"dns": {}}, **fields)
    assert distance(ours, away(host, fields.pop("prompt"), 5, **fields)) <= 1


def test_away_from_every_part_of_an_and_prompt(host):
    """A negative prompt knows no AND: one part alone, and a part with weight 0, tell that both are seen."""
    both = host.txt2img({"dns": {}}, prompt="a red circle AND a blue square")
    one = host.txt2img({"dns": {}}, prompt="a red circle AND a blue square :0")
    assert distance(one, away(host, RED, 5)) <= 1
    assert distance(both, one) > 5


def test_styles(host):
    styles = [style["name"] for style in host.get("/sdapi/v1/prompt-styles").json()]
    if "framed" not in styles:
        pytest.skip('this host has no style "framed" ({prompt} with a hat / blue)')
    shot = host.txt2img({"dns": {}}, prompt="a portrait of a person", styles=["framed"])
    assert distance(shot, away(host, "a portrait of a person with a hat", 5)) <= 1


def test_img2img(host):
    fields = {"denoising_strength": 0.8, "steps": 8}
    ours = host.img2img(start_image(), {"dns": {}}, prompt=RED, **fields)
    own = host.img2img(start_image(), prompt="", negative_prompt=RED, cfg_scale=6, **fields)
    assert distance(ours, own) <= 1
    assert distance(ours, host.img2img(start_image(), prompt=RED, **fields)) > 10


def test_hires(host):
    fields = {"enable_hr": True, "hr_scale": 2, "hr_second_pass_steps": 3, "denoising_strength": 0.7}
    assert distance(host.txt2img({"dns": {}}, prompt=RED, **fields), away(host, RED, 5, **fields)) <= 1


def test_box_and_negatives_do_not_act(host):
    alone = host.txt2img({"dns": {}}, prompt=RED)
    assert same(host.txt2img({"dns": {}, "negatives": [{"text": "hat"}]}, prompt=RED, negative_prompt="blue"), alone)
    branches = {"dns": {}, "negatives": [{"text": "hat"}], "combine": "branches"}
    assert same(host.txt2img(branches, prompt=RED, negative_prompt="blue"), alone)


@pytest.mark.parametrize("options", [{"skip_early_cond": 0.6}, {"s_min_uncond": 4.0}, {"s_min_uncond": 4.0, "s_min_uncond_all": True}], ids=str)
def test_the_hosts_options_to_skip_the_negative_do_not_spoil_it(host, options):
    """They give the prompt's own prediction at the calls that are skipped: the opposite of what was asked."""
    ours = host.txt2img({"dns": {}}, prompt=RED, override_settings=options)
    assert distance(ours, host.txt2img({"dns": {}}, prompt=RED)) == 0
    assert distance(host.txt2img(prompt=RED, override_settings=options), host.txt2img(prompt=RED)) > 0, "this test could not fail"


def test_they_do_not_in_the_hires_pass(host):
    """The second of two batches has them still switched off, and the request's own value is put back."""
    fields = {"prompt": RED, "n_iter": 2, "enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}
    assert same(host.txt2img({"dns": {}}, override_settings={"s_min_uncond": 4.0, "s_min_uncond_all": True}, **fields), host.txt2img({"dns": {}}, **fields))


def test_scale_0_of_the_host_is_refused(host):
    answer = host.refused({"dns": {}}, cfg_scale=0)
    assert answer.status_code == 422
    assert "cfg_scale = 0.0 is not allowed; for a diffusion-negative picture another CFG scale than 0" in answer.json()["detail"]


def test_infotext(host):
    shot = host.txt2img({"dns": {"scale": 3}}, prompt=RED, negative_prompt="blue")
    assert json.loads(shot.params["NegGuide schedule"]) == {"dns": {"scale": 3}}
    again = host.post("/sdapi/v1/txt2img", infotext=shot.infotexts[0])
    assert json.loads(again.json()["info"])["infotexts"] == shot.infotexts
    assert shot.infotexts[0].split("\n")[1] == "Negative prompt: blue"


def test_nothing_stays_behind(host):
    own = host.txt2img(prompt=RED)
    host.txt2img({"dns": {}}, prompt=RED)
    assert same(host.txt2img(prompt=RED), own)
    assert same(host.txt2img({}, prompt=RED), own)
