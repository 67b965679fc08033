"""img2img and inpainting."""

import base64
import io

import pytest
from PIL import Image, ImageDraw

from tests.webui.client import same

SAMPLERS = pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "DDIM", "UniPC"])
STEPS = 8


def start_image(as_text=False):
    image = Image.new("RGB", (64, 64), "#8fb6d9")
    draw = ImageDraw.Draw(image)
    draw.ellipse((18, 14, 46, 50), fill="#e3b38c")
    draw.rectangle((14, 8, 50, 18), fill="#7a1f1f")
    if not as_text:
        return image
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def mask():
    image = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(image).rectangle((0, 0, 64, 32), fill=255)
    return image


@SAMPLERS
def test_to_the_bit(host, sampler):
    fields = {"sampler_name": sampler, "steps": STEPS}
    own = host.img2img(start_image(), negative_prompt="mustache", **fields)
    assert same(host.img2img(start_image(), {"negatives": [{"text": "mustache"}]}, **fields), own)
    assert same(host.img2img(start_image(), {}, **fields), host.img2img(start_image(), **fields))


@SAMPLERS
def test_windows_mean_the_same_noise(host, sampler):
    """A run that starts half-way has its windows where a whole run has them."""
    settings = {"negatives": [{"text": "mustache", "start": 3.0, "stop": 0.5}]}
    shot = host.img2img(start_image(), settings, sampler_name=sampler, steps=20)
    calls = shot.calls()
    assert shot.acting() == [n for n, call in enumerate(calls) if 0.5 < call["sigma"] <= 3.0] != []
    assert calls[0]["sigma"] < 14


@pytest.mark.parametrize("strength", [0.3, 0.6, 0.95])
def test_steps_are_those_of_a_whole_run(host, strength):
    """Of 20 steps a strength of 0.3 runs the last 7: a window from step 14 on covers those from there."""
    settings = {"negatives": [{"text": "mustache", "start": 14, "unit": "step"}]}
    shot = host.img2img(start_image(), settings, steps=20, denoising_strength=strength, sampler_name="Euler")
    calls = len(shot.calls())
    assert calls == int(strength * 20) + 1
    assert shot.acting() == list(range(max(calls - 6, 0), calls))


def test_a_window_before_the_start_does_nothing(host):
    settings = {"negatives": [{"text": "mustache", "stop": 0.3, "unit": "fraction"}]}
    shot = host.img2img(start_image(), settings, steps=10, denoising_strength=0.5)
    assert same(shot, host.img2img(start_image(), steps=10, denoising_strength=0.5))
    assert "mustache" in shot.notes and "did not act" in shot.notes


@SAMPLERS
@pytest.mark.parametrize("fields", [{}, {"inpaint_full_res": False}, {"inpainting_mask_invert": 1}], ids=str)
def test_inpainting(host, sampler, fields):
    more = {"mask_image": mask(), "mask_blur": 2, "sampler_name": sampler, "steps": STEPS, **fields}
    own = host.img2img(start_image(), negative_prompt="hat", **more)
    assert same(host.img2img(start_image(), {"negatives": [{"text": "hat"}]}, **more), own)
    part = host.img2img(start_image(), {"negatives": [{"text": "hat", "start": 2.8, "stop": 0.5}]}, **more)
    assert not same(part, own)


def test_batch(host):
    own = host.img2img(start_image(), negative_prompt="hat", batch_size=2)
    assert same(host.img2img(start_image(), {"negatives": [{"text": "hat"}]}, batch_size=2), own)


def test_infotext(host):
    shot = host.img2img(start_image(), {"negatives": [{"text": "hat", "start": 2.8}]})
    assert '{\\"negatives\\": [{\\"start\\": 2.8, \\"text\\": \\"hat\\"}]}' in shot.infotexts[0]
