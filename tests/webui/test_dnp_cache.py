"""Auto-DNP's diffusion-negative pictures are made once."""

import pytest

from tests.webui.client import same
from tests.webui.dnp import DNP, RED, STEPS, captions, colours, fresh, seen, told, with_calls  # noqa: F401 (a fixture for all)
from tests.webui.test_host_scripts import axis_types
from tests.webui.test_img2img import start_image


@pytest.mark.parametrize("fields", [{}, {"batch_size": 2}], ids=str)
def test_a_second_run_samples_no_negative_picture(host, fields):
    fields = {"prompt": RED, "seed": fresh(40 + len(fields)), **fields}
    first, calls = with_calls(host, host.txt2img, DNP, **fields)
    again, calls_again = with_calls(host, host.txt2img, DNP, **fields)
    assert (calls, calls_again) == (2 * STEPS, STEPS)
    assert same(first, again) and first.infotexts == again.infotexts
    assert [picture["cached"] for picture in told(first) + told(again)] == [False] * len(told(first)) + [True] * len(told(first))


@pytest.mark.parametrize("change, calls", [
    ({"negative_prompt": "blue"}, STEPS), ({"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 2, "denoising_strength": 0.6}, STEPS + 2),
    ({"width": 72}, 2 * STEPS), ({"steps": STEPS + 1}, 2 * STEPS + 2), ({"cfg_scale": 4}, 2 * STEPS), ({"sampler_name": "Euler"}, 2 * STEPS),
    ({"seed": fresh(49)}, 2 * STEPS), ({"prompt": "a blue circle"}, 2 * STEPS), ({"scheduler": "Karras"}, 2 * STEPS),
    ({"override_settings": {"CLIP_stop_at_last_layers": 2}}, 2 * STEPS), ({"override_settings": {"eta_noise_seed_delta": 3}}, 2 * STEPS),
    ({"eta": 0.5}, 2 * STEPS), ({"subseed": 5, "subseed_strength": 0.3}, 2 * STEPS)],
    ids=str)
def test_what_is_sampled_anew(host, change, calls):
    number = 50 + sum(map(ord, str(change))) % 900
    fields = {"prompt": RED, "seed": fresh(number)}
    host.txt2img(DNP, **fields)
    _, taken = with_calls(host, host.txt2img, DNP, **{**fields, **change})
    assert taken == calls


def test_another_init_image_is_another_negative_picture(host):
    from PIL import ImageOps

    inverted = ImageOps.invert(start_image())
    fields = {"prompt": RED, "seed": fresh(60), "denoising_strength": 0.8}
    first = host.img2img(start_image(), DNP, **fields)
    other = host.img2img(inverted, DNP, **fields)
    assert not told(other)[0]["cached"]
    assert not told(host.img2img(start_image(), DNP, **{**fields, "denoising_strength": 0.7}))[0]["cached"]
    assert told(host.img2img(start_image(), DNP, **fields))[0]["cached"] and captions(first) != captions(other)


def test_another_upscaler_before_img2img_is_another_negative_picture(host):
    """The host makes a smaller init image larger by it."""
    fields = {"prompt": RED, "seed": fresh(66), "width": 96, "height": 96}
    host.img2img(start_image(), DNP, **fields)
    assert told(host.img2img(start_image(), DNP, **fields))[0]["cached"]
    assert not told(host.img2img(start_image(), DNP, **fields, override_settings={"upscaler_for_img2img": "Lanczos"}))[0]["cached"]


def test_another_weight_of_a_network_in_one_batch(host):
    """The host gives a batch the networks of its first prompt: each negative picture is as it would be alone."""
    both = host.txt2img(DNP, prompt=f"{RED}|<lora:contrast:1>|<lora:contrast:9>", seed=fresh(67), batch_size=4, script_name="prompt matrix",
                        script_args=[False, False, "positive", "comma", 0])
    for weight, caption in zip((1, 9), captions(both)[1:]):
        alone = host.txt2img({"dns": {}}, prompt=f"{RED}, <lora:contrast:{weight}>", seed=fresh(67))
        assert f"red {int(alone.pixels[0][..., 0].mean())} " in caption


def test_a_comment_in_the_prompt_costs_no_picture(host):
    if not host.get("/sdapi/v1/options").json().get("enable_prompt_comments"):
        pytest.skip("this host has no comments in prompts")
    fields = {"seed": fresh(68)}
    plain, calls = with_calls(host, host.txt2img, DNP, prompt=RED, **fields)
    noted, calls_noted = with_calls(host, host.txt2img, DNP, prompt=RED + "# not blue", **{**fields, "seed": fresh(69)})
    assert calls == calls_noted and captions(noted)


def test_a_caption_by_another_captioner_costs_no_picture(host):
    fields = {"prompt": RED, "seed": fresh(61)}
    host.txt2img(DNP, **fields)
    before = seen(host)["captions"]
    _, calls = with_calls(host, host.txt2img, {"dnp": {"captioner": "colours", "steps": 1, "beams": 1}}, **fields)
    assert calls == STEPS and seen(host)["captions"] == before + 1


def test_cells_of_a_plot_share_the_negative_picture(host):
    values = ["0", "0.5", "1"]
    number = axis_types(host).index("[NegGuide] DNP weight")
    args = [number, ", ".join(values), [], 0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, False]
    fields = {"prompt": RED, "seed": fresh(62)}
    shot, calls = with_calls(host, host.txt2img, DNP, script_name="x/y/z plot", script_args=args, **fields)
    assert calls == STEPS + len(values) * STEPS
    for value, cell, infotext in zip(values, shot.pixels[-3:], shot.infotexts[-3:]):
        one = host.txt2img({"dnp": {"captioner": "colours", "steps": 1, "window": {"weight": float(value)}}}, **fields)
        assert (cell == one.pixels[0]).all() and infotext == one.infotexts[0]
