"""A photo in img2img from which something is removed: inverted with the host's model, the rest kept."""

import numpy as np
import pytest
import torch

from tests.webui.client import same
from tests.webui.test_img2img import mask, start_image
from tests.webui.test_removal import painted, removal, told
from tests.world.draw import draw
from tests.world.judge import Judge

FIELDS = {"prompt": "a portrait of a person with glasses", "sampler_name": "Euler", "steps": 15, "denoising_strength": 0.9, "cfg_scale": 4}


@pytest.fixture(scope="module")
def drawings():
    found = ((picture, shown) for picture, shown in map(draw, (f"photo test {number}" for number in range(400))))
    return [picture for picture, shown in found if "glasses" in shown.worn][:2]


def verdicts(pictures):
    return Judge.load()(torch.stack([torch.tensor(np.asarray(picture)).permute(2, 0, 1) / 255 for picture in pictures]))


def test_the_thing_goes_and_the_rest_stays(host, drawings):
    for drawing in drawings:
        shot = host.img2img(drawing, removal(photo=True), **FIELDS)
        before, after = verdicts([drawing, shot.pixels[-1]])
        assert before.glasses and not after.glasses
        assert (before.kind, before.hat, before.mustache) == (after.kind, after.hat, after.mustache)
        done, = told(shot)["passes"]
        assert done["reconstruction"]["l1"] < 20 and done["on"] and done["extra_evaluations"] > 2 * done["calls"]
        assert "glasses" not in shot.infotexts[0].split("\n")[0]


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "DPM++ 2M", "Heun", "LMS", "DPM2", "PLMS", "UniPC"])
def test_where_nothing_may_change_nothing_does(host, drawings, sampler):
    """Whatever the steps of a sampler are, what leads to the photo leads to the photo."""
    nowhere = removal(photo=True, region="mask", mask=painted(), start=None, stop=None)
    shot = host.img2img(drawings[0], nowhere, **{**FIELDS, "sampler_name": sampler, "eta": 0, "steps": 6})
    encoded = host.img2img(drawings[0], **{**FIELDS, "denoising_strength": 0})
    assert np.abs(shot.pixels[-1].astype(int) - encoded.pixels[-1]).mean() < 2.5


@pytest.mark.parametrize("sampler, strength", [("DDIM", 1), ("DPM++ 2M", 0.9)])
def test_other_samplers(host, drawings, sampler, strength):
    fields = {**FIELDS, "sampler_name": sampler, "eta": 0, "denoising_strength": strength}
    shot = host.img2img(drawings[0], removal(photo=True), **fields)
    before, after = verdicts([drawings[0], shot.pixels[-1]])
    assert before.glasses and not after.glasses and not shot.notes
    assert (before.kind, before.hat, before.mustache) == (after.kind, after.hat, after.mustache)
    assert told(shot)["passes"][0]["on"]


def test_nothing_stays_behind(host, drawings):
    before = host.img2img(drawings[0], **FIELDS)
    host.img2img(drawings[0], removal(photo=True), n_iter=2, **{**FIELDS, "steps": 5})
    assert same(host.img2img(drawings[0], **FIELDS), before)


@pytest.mark.parametrize("fields, said", [
    ({"sampler_name": "Euler a"}, "sampler_name = 'Euler a' is not allowed; one of Euler, DDIM, "),
    ({"sampler_name": "DPM++ SDE"}, "samplers that make noise of their own do not bring the photo's noise back to it"),
    ({"denoising_strength": 0.05, "sampler_name": "DDIM", "eta": 0}, "denoising_strength = 0.05 is not allowed; enough for two steps of DDIM"),
    ({"mask": "…"}, "remove.photo = True is not allowed; false but in img2img without a mask")], ids=["sampler", "noise", "strength", "mask"])
def test_refused(host, fields, said):
    import base64
    import io

    file = io.BytesIO()
    mask().save(file, "PNG")
    if "mask" in fields:
        fields = {"mask": base64.b64encode(file.getvalue()).decode()}
    answer = host.refused(removal(photo=True), "/sdapi/v1/img2img", init_images=[start_image(as_text=True)], **{**FIELDS, **fields})
    assert answer.status_code == 422 and said in answer.json()["detail"]


def test_in_txt2img_there_is_no_photo(host):
    assert "remove.photo" in host.refused(removal(photo=True)).json()["detail"]
