"""Other models than the small world's, where the host has them: refiner, SDXL, inpainting, v-prediction, pix2pix."""

import base64
import io

import pytest
from PIL import Image

from tests.webui.client import same
from tests.webui.test_img2img import mask, start_image

WINDOW = {"negatives": [{"text": "mustache", "start": 5.8, "stop": 0.7}]}
WHOLE = {"negatives": [{"text": "mustache"}]}
KINDS = {"sdxl": "sdxl", "inpaint": "inpaint", "v": "rand-v", "refiner": "refiner", "pix2pix": "pix2pix"}


@pytest.fixture
def model(host, request):
    names = [name for name in host.models() if KINDS[request.param] in name.lower()]
    if not names:
        pytest.skip(f"this host has no model with {KINDS[request.param]!r} in its name")
    return {"sd_model_checkpoint": names[0]}


@pytest.mark.parametrize("model", ["sdxl", "inpaint", "v"], indirect=True)
@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
def test_to_the_bit(host, model, sampler):
    fields = {"override_settings": model, "sampler_name": sampler}
    own = host.reference(negative_prompt="mustache", **fields)
    assert same(host.txt2img(WHOLE, **fields), own)
    assert same(host.txt2img({}, **fields), host.reference(**fields))
    part = host.txt2img(WINDOW, **fields)
    assert part.acting() and not same(part, own)


@pytest.mark.parametrize("model", ["sdxl"], indirect=True)
@pytest.mark.parametrize("fields", [{"batch_size": 2}, {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3}, {"prompt": "a AND b :0.5"}], ids=str)
@pytest.mark.parametrize("combine", ["join", "branches", "perp-neg"])
def test_sdxl_in_other_requests(host, model, fields, combine):
    fields = {"override_settings": model, **fields}
    assert not same(host.txt2img({**WINDOW, "combine": combine}, **fields), host.reference(**fields))
    if combine == "join":
        assert same(host.txt2img(WHOLE, **fields), host.reference(negative_prompt="mustache", **fields))


@pytest.mark.parametrize("model", ["inpaint"], indirect=True)
@pytest.mark.parametrize("combine", ["join", "branches"])
def test_inpainting_model(host, model, combine):
    fields = {"override_settings": model, "mask_image": mask()}
    own = host.img2img(start_image(), negative_prompt="mustache", **fields)
    if combine == "join":
        assert same(host.img2img(start_image(), WHOLE, **fields), own)
    assert not same(host.img2img(start_image(), {**WINDOW, "combine": combine}, **fields), own)


@pytest.mark.parametrize("model", ["refiner"], indirect=True)
@pytest.mark.parametrize("combine", ["join", "branches"])
def test_refiner(host, model, combine):
    """Another text encoder half-way: everything is encoded anew for it."""
    before = host.txt2img(WINDOW)

    def shot(negguide, **fields):
        body = {**fields, "prompt": "a portrait of a person", "seed": 7, "steps": 8, "width": 64, "height": 64, "cfg_scale": 5,
                "sampler_name": "Euler a", "refiner_checkpoint": model["sd_model_checkpoint"], "refiner_switch_at": 0.5,
                "alwayson_scripts": host.scripts(negguide)}
        answer = host.post("/sdapi/v1/txt2img", **body)
        assert answer.status_code == 200, answer.text
        return [Image.open(io.BytesIO(base64.b64decode(image))).tobytes() for image in answer.json()["images"]]

    if combine == "join":
        assert shot(WHOLE) == shot(None, negative_prompt="mustache")
        assert shot({}) == shot(None)
    assert shot({**WINDOW, "combine": combine}) != shot(None)
    assert same(host.txt2img(WINDOW), before)


@pytest.mark.parametrize("model", ["pix2pix"], indirect=True)
def test_pix2pix_is_refused_by_name(host, model):
    from tests.webui.test_img2img import start_image as start

    answer = host.refused(WINDOW, "/sdapi/v1/img2img", init_images=[start(as_text=True)], override_settings=model, image_cfg_scale=1.5)
    assert answer.status_code == 422
    assert "InstructPix2Pix" in answer.json()["detail"]
    plain = host.img2img(start(), WHOLE, override_settings=model, image_cfg_scale=1.0)
    assert same(plain, host.img2img(start(), negative_prompt="mustache", override_settings=model, image_cfg_scale=1.0))
