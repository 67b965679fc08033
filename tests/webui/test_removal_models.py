"""Removal with other models than the small world's, where the host has them: SDXL, v-prediction, inpainting, refiner."""

import pytest

from tests.webui.client import distance, same
from tests.webui.test_img2img import mask, start_image
from tests.webui.test_models import KINDS
from tests.webui.test_removal import painted, removal, told

WHOLE = {"search": "window", "region": "mask", "mask": painted(64), "weight": 1, "every": 1, "start": None, "stop": None}


@pytest.fixture
def model(host, request):
    names = [name for name in host.models() if KINDS[request.param] in name.lower()]
    if not names:
        pytest.skip(f"this host has no model with {KINDS[request.param]!r} in its name")
    return {"sd_model_checkpoint": names[0]}


@pytest.mark.parametrize("model", ["inpaint", "v"], indirect=True)  # SDXL's empty negative prompt is not its empty prompt
@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
def test_the_whole_picture_as_a_region_is_a_negative_prompt(host, model, sampler):
    """Beside an empty prompt what the words change is what the negative prompt changes."""
    fields = {"override_settings": model, "sampler_name": sampler, "batch_size": 2, "prompt": ""}
    own = host.reference(negative_prompt="mustache", **fields)
    assert distance(host.txt2img(removal("mustache", **WHOLE), **fields), own) <= 3
    assert distance(own, host.reference(**fields)) > 3


@pytest.mark.parametrize("model", ["sdxl", "v"], indirect=True)
@pytest.mark.parametrize("sampler", ["Euler a", "UniPC"])
def test_loop_and_anchor(host, model, sampler):
    fields = {"override_settings": model, "sampler_name": sampler, "steps": 6}
    shot = host.txt2img(removal("mustache", start=None, stop=None), **fields)
    assert told(shot)["passes"][0]["on"] and not same(shot, host.reference(**fields)) and not shot.notes
    nowhere = {"region": "mask", "mask": painted(), "anchor": True, "start": None, "stop": None}
    assert distance(host.txt2img(removal("mustache", **nowhere), **fields), host.reference(**fields)) <= 1


@pytest.mark.parametrize("model", ["inpaint"], indirect=True)
def test_inpainting_model(host, model):
    fields = {"override_settings": model, "mask_image": mask(), "mask_blur": 0, "inpaint_full_res": False, "steps": 6}
    own = host.img2img(start_image(), **fields)
    for settings in (removal("hat", start=None, stop=None), removal("hat", region="mask", start=None, stop=None, anchor=True)):
        shot = host.img2img(start_image(), settings, **fields)
        changed = (shot.pixels[0] != own.pixels[0]).any(2)
        assert changed.any() and not changed[34:].any() and not shot.notes


@pytest.mark.parametrize("model", ["refiner"], indirect=True)
@pytest.mark.parametrize("fields", [{}, {"anchor": True}, {"region": "mask", "mask": painted(), "anchor": True}], ids=["loop", "anchor", "nowhere"])
def test_refiner(host, model, fields):
    """Everything is encoded anew for it; a run that is made twice begins with the request's own model each time."""
    import base64
    import io

    import numpy as np
    from PIL import Image

    def shot(negguide):
        answer = host.post("/sdapi/v1/txt2img", prompt="a portrait of a person", seed=7, steps=8, width=64, height=64, cfg_scale=5,
                           sampler_name="Euler a", refiner_checkpoint=model["sd_model_checkpoint"], refiner_switch_at=0.5,
                           alwayson_scripts=host.scripts(negguide))
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).convert("RGB")).astype(int)

    before = host.txt2img(removal())
    far = np.abs(shot(removal("mustache", start=None, stop=None, **fields)) - shot(None)).max()
    assert far <= 1 if "region" in fields else far > 3
    assert same(host.txt2img(removal()), before)
