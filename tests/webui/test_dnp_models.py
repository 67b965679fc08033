"""Auto-DNP with other models, where the host has them."""

import json

import pytest

from tests.webui.client import same
from tests.webui.dnp import DNP, RED, STEPS, captions, colours, fresh, seen, with_calls  # noqa: F401 (a fixture for all)


@pytest.fixture
def model(host, request):
    names = [name for name in host.models() if request.param in name.lower()]
    if not names:
        pytest.skip(f"this host has no model with {request.param!r} in its name")
    return names[0]


@pytest.mark.parametrize("model", ["sdxl", "rand-v", "inpaint"], indirect=True)
def test_another_checkpoint(host, model):
    """Chosen by the request alone: the negative picture is that model's, and the next request has its own again."""
    own = host.txt2img(prompt=RED, seed=37)
    fields = {"prompt": RED, "seed": fresh(37), "override_settings": {"sd_model_checkpoint": model}}
    shot, calls = with_calls(host, host.txt2img, DNP, **fields)
    assert calls == 2 * STEPS
    assert f"red {int(host.txt2img({'dns': {}}, **fields).pixels[0][..., 0].mean())} " in captions(shot)[0]
    assert same(shot, host.txt2img(negative_prompt=captions(shot)[0], **fields))
    assert with_calls(host, host.txt2img, DNP, **fields)[1] == STEPS
    assert same(host.txt2img(prompt=RED, seed=37), own)


@pytest.mark.parametrize("model", ["refiner"], indirect=True)
def test_refiner(host, model):
    """It takes part in both passes, and gives way to the request's own model in between."""
    own = host.txt2img(prompt=RED, seed=38)
    body = {"prompt": RED, "seed": fresh(38), "steps": 8, "width": 64, "height": 64, "cfg_scale": 5, "sampler_name": "Euler a",
            "refiner_checkpoint": model, "refiner_switch_at": 0.5}

    def made(negguide, **more):
        answer = host.post("/sdapi/v1/txt2img", **{**body, **more, "alwayson_scripts": host.scripts(negguide)})
        assert answer.status_code == 200, answer.text
        return answer.json()["images"][0], json.loads(answer.json()["info"])["extra_generation_params"]

    import base64
    import io

    import numpy as np
    from PIL import Image

    picture, params = made(DNP)
    caption = params["NegGuide DNP"]["pictures"][0]["caption"]
    negative = np.asarray(Image.open(io.BytesIO(base64.b64decode(made({"dns": {}})[0]))).convert("RGB"))
    assert f"red {int(negative[..., 0].mean())} " in caption and "Refiner" in params
    assert set(seen(host)["changed"]) <= {"p.negguide_run", "p.subseed"}

    def pixels(text):
        return Image.open(io.BytesIO(base64.b64decode(text))).tobytes()

    assert pixels(picture) == pixels(made(None, negative_prompt=caption)[0])
    assert same(host.txt2img(prompt=RED, seed=38), own)
