"""Auto-DNP: a first sampling away from the prompt, its caption, and the picture with that caption as its negative.

Most tests have captions by "colours", a captioner of tests/webui/saboteur: they depend on the picture and differ in length.
"""

import json

import pytest

from lib_negguide.settings import Settings
from tests.webui.client import same
from tests.webui.test_failures import in_background
from tests.webui.test_host_scripts import axis_types
from tests.webui.test_img2img import start_image
from tests.world import captioner

RED = "a red circle"
DNP = {"dnp": {"captioner": "colours", "steps": 1}}
TYPED = {"dnp": {"captioner": "text", "text": "hat"}}
STEPS = 4


@pytest.fixture(autouse=True)
def colours(host):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")


def seen(host):
    return host.get("/saboteur/seen").json()


def with_calls(host, make, *args, **kwargs):
    """(what a request answers, model calls that it took)."""
    before = seen(host)["calls"]
    shot = make(*args, **kwargs)
    return shot, seen(host)["calls"] - before


def told(shot):
    """What ``info`` says about the caption of each picture."""
    return shot.params["NegGuide DNP"]["pictures"]


def captions(shot):
    return [picture["caption"] for picture in told(shot)]


def fresh(number):
    """A seed that no other test has used: the cache has nothing."""
    return 1000 * number + 7


# What it is.


def test_a_typed_caption_is_a_negative_prompt(host):
    shot, calls = with_calls(host, host.txt2img, TYPED, prompt=RED)
    assert same(shot, host.txt2img(prompt=RED, negative_prompt="hat")) and calls == STEPS
    assert same(host.txt2img(TYPED, prompt=RED, negative_prompt="blue"), host.txt2img(prompt=RED, negative_prompt="blue, hat"))


def test_the_caption_is_of_the_dns_picture_and_acts_as_a_negative(host):
    seed = fresh(1)
    shot, calls = with_calls(host, host.txt2img, DNP, prompt=RED, seed=seed)
    assert calls == 2 * STEPS
    (caption,) = captions(shot)
    red = host.txt2img({"dns": {}}, prompt=RED, seed=seed).pixels[0][..., 0].mean()
    assert f"red {int(red)}" in caption and "(" not in caption and "BREAK" not in caption
    assert told(shot)[0]["raw"].startswith(f"a hat (red {int(red)}) [")
    assert same(shot, host.txt2img(prompt=RED, seed=seed, negative_prompt=caption))
    assert not same(shot, host.txt2img(prompt=RED, seed=seed))


@pytest.mark.parametrize("scale, meaning", [(3, "paper"), (3, "host")])
def test_scale_of_the_dns_picture(host, scale, meaning):
    dns = {"scale": scale, "meaning": meaning}
    shot = host.txt2img({"dnp": {"captioner": "colours", "steps": 1, **dns}}, prompt=RED)
    red = host.txt2img({"dns": dns}, prompt=RED).pixels[0][..., 0].mean()
    assert f"red {int(red)} " in captions(shot)[0]


def test_replace_and_join(host):
    (caption,) = captions(host.txt2img(DNP, prompt=RED))
    joined = host.txt2img(DNP, prompt=RED, negative_prompt="blue")
    assert same(joined, host.txt2img(prompt=RED, negative_prompt=f"blue, {caption}"))
    replaced = host.txt2img({"dnp": {"captioner": "colours", "steps": 1, "use": "replace"}}, prompt=RED, negative_prompt="blue")
    assert same(replaced, host.txt2img(prompt=RED, negative_prompt=caption))
    assert replaced.infotexts[0].split("\n")[1] == joined.infotexts[0].split("\n")[1] == "Negative prompt: blue"


@pytest.mark.parametrize("window", [{"start": 5.8, "stop": 0.7}, {"start": 0.5, "unit": "fraction"}, {"start": 2, "unit": "step"}, {"weight": 0.5}],
                         ids=json.dumps)
def test_window_of_the_caption(host, window):
    shot = host.txt2img({"dnp": {"captioner": "colours", "steps": 1, "window": window}}, prompt=RED, negative_prompt="blue")
    same_by_hand = {"negatives": [{"text": captions(shot)[0], **window}]}
    assert same(shot, host.txt2img(same_by_hand, prompt=RED, negative_prompt="blue"))


@pytest.mark.parametrize("combine", ["branches", "perp-neg"])
def test_other_ways_to_combine(host, combine):
    shot = host.txt2img({**DNP, "combine": combine}, prompt=RED, negative_prompt="blue")
    own = {"negatives": [{"text": captions(shot)[0]}], "combine": combine}
    assert same(shot, host.txt2img(own, prompt=RED, negative_prompt="blue"))


def test_several_pictures_a_prompt(host):
    shot, calls = with_calls(host, host.txt2img, {"dnp": {"captioner": "colours", "steps": 1, "samples": 3}}, prompt=RED, seed=fresh(2))
    assert calls == 4 * STEPS
    shown = told(shot)[0]["shown"]
    assert len({one["seed"] for one in shown}) == 3 and shown[0]["seed"] == fresh(2)
    assert captions(shot)[0].startswith(shown[0]["caption"])


def test_cheap_pictures(host):
    cheap = {"dnp": {"captioner": "colours", "steps": 0.5, "size": 0.5}}
    shot, calls = with_calls(host, host.txt2img, cheap, prompt=RED, seed=fresh(3))
    assert calls == STEPS + STEPS // 2
    own = host.txt2img({"dns": {}}, prompt=RED, seed=fresh(3), steps=STEPS // 2, width=32, height=32).pixels[0][..., 0].mean()
    assert f"red {int(own)} " in captions(shot)[0]


# In every kind of request.


def test_every_picture_has_its_own(host):
    """2 x 2 pictures with captions of one and two chunks; each is as if made alone."""
    shot = host.txt2img(DNP, prompt=RED, seed=20, n_iter=2, batch_size=2, negative_prompt="blue")
    lengths = {len(caption) > 200 for caption in captions(shot)[:2]}, {len(caption) > 200 for caption in captions(shot)[2:]}
    assert {True, False} in lengths, "no batch with unequal captions: choose another seed"
    for number in range(4):
        one = host.txt2img(DNP, prompt=RED, seed=20 + number, negative_prompt="blue")
        assert captions(one) == [captions(shot)[number]]
        # a longer neighbour lengthens a shorter caption by repetition, which attention does not notice beyond rounding
        assert abs(shot.pixels[-4:][number].astype(int) - one.pixels[0]).max() <= 2
        assert f"NegGuide caption: {captions(shot)[number]}" in shot.infotexts[-4:][number].replace('"', "")
        assert one.infotexts[0] == shot.infotexts[-4:][number]


@pytest.mark.parametrize("fields", [
    {"prompt": "a red circle AND a blue square :0.7"}, {"prompt": "a [red:blue:0.5] circle"},
    {"subseed": 3, "subseed_strength": 0.4, "n_iter": 2}, {"sampler_name": "DDIM"}, {"sampler_name": "UniPC"},
    {"override_settings": {"CLIP_stop_at_last_layers": 2}}, {"prompt": RED, "styles": ["framed"]},
    {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3, "denoising_strength": 0.6}], ids=str)
def test_in_other_requests(host, fields):
    fields = {"prompt": RED, "seed": 31, **fields}
    shot = host.txt2img(DNP, **fields)
    dns_fields = {key: value for key, value in fields.items() if key not in ("enable_hr", "denoising_strength")}
    pictures = host.txt2img({"dns": {}}, **dns_fields).pixels
    for number, caption in enumerate(captions(shot)):
        assert f"red {int(pictures[number][..., 0].mean())} " in caption
    if len(captions(shot)) == 1:
        assert same(shot, host.txt2img({"negatives": [{"text": captions(shot)[0]}]}, **fields))
    else:
        assert captions(shot)[0] != captions(shot)[1]


def test_hires_prompts(host):
    fields = {"prompt": RED, "seed": 32, "enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3, "denoising_strength": 0.6,
              "hr_negative_prompt": "blue"}
    shot = host.txt2img(DNP, **fields)
    assert [call["strengths"] for call in shot.calls("hires")] == [[1, 1]] * len(shot.calls("hires"))
    (caption,) = captions(shot)
    assert same(shot, host.txt2img(**{**fields, "negative_prompt": caption, "hr_negative_prompt": f"blue, {caption}"}))


def test_lists_of_prompts(host):
    """The script prompt matrix samples one request with several prompts."""
    shot = host.txt2img(DNP, prompt="a red circle|hat", seed=33, script_name="prompt matrix",
                        script_args=[False, False, "positive", "comma", 0])
    assert len(captions(shot)) == 2
    for pixels, prompt in zip(shot.pixels[-2:], ("a red circle", "a red circle, hat")):
        assert (pixels == host.txt2img(DNP, prompt=prompt, seed=33).pixels[0]).all()


@pytest.mark.parametrize("fields", [{}, {"batch_size": 2, "n_iter": 2}, {"mask": True}], ids=str)
def test_img2img(host, fields):
    from PIL import Image, ImageDraw

    image = start_image()
    if fields.pop("mask", False):
        mask = Image.new("L", image.size, 0)
        ImageDraw.Draw(mask).rectangle((16, 16, 48, 48), fill=255)
        fields.update(mask_image=mask, inpaint_full_res=False, mask_blur=2)
    fields.update(prompt=RED, seed=34, denoising_strength=0.8)
    shot = host.img2img(image, DNP, **fields)
    assert len(captions(shot)) == fields.get("n_iter", 1) * fields.get("batch_size", 1)
    if len(captions(shot)) == 1:
        assert same(shot, host.img2img(image, negative_prompt=captions(shot)[0], **fields))
    again = host.img2img(image, DNP, **fields)
    assert captions(again) == captions(shot) and all(picture["cached"] for picture in told(again)) and same(again, shot)


def test_loopback(host):
    """Each turn starts from another picture, so each has a negative picture of its own."""
    fields = {"prompt": RED, "seed": fresh(36), "script_name": "loopback", "script_args": [2, 0.6, "Linear", "None"]}
    _, calls = with_calls(host, host.img2img, start_image(), DNP, **fields)
    turn = 3  # of 4 steps at 0.6
    assert calls == 1 + 2 * (turn + turn)  # the first is the client's own
    assert with_calls(host, host.img2img, start_image(), DNP, **fields)[1] == 1 + 2 * turn


@pytest.mark.parametrize("n_iter, count", [(2, 0), (1, 2)], ids=["others", "more"])
def test_prompts_that_another_extension_has_changed(host, n_iter, count):
    """The captions are for the prompts that are sampled."""
    scripts = {**host.scripts(DNP), "Saboteur": {"args": ["prompts", count]}}
    shot = host.txt2img(more_scripts=scripts, prompt=RED, seed=35, n_iter=n_iter)
    assert len(captions(shot)) == 2 and [picture["seed"] for picture in told(shot)] == [35, 36]
    for number, colour in enumerate(("blue", "green")):
        one = host.txt2img(DNP, prompt=f"a {colour} circle", seed=35 + number)
        assert captions(one) == [captions(shot)[number]]
        assert (one.pixels[0] == shot.pixels[-2:][number]).all()


# The cache.


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


def caption(**window):
    return {"captioner": "colours", "steps": 1, "window": window}


AXES = {"DNP": (["off", "auto"], lambda value: {"dnp": {"captioner": "colours", "steps": 1} if value == "auto" else None}),
        "DNP captioner": (["text", "colours"], lambda value: {"dnp": {"captioner": value, "text": "hat", "steps": 1}}),
        "DNP steps": (["0.5", "1"], lambda value: {"dnp": {"captioner": "colours", "steps": float(value)}}),
        "DNP size": (["0.5", "1"], lambda value: {"dnp": {"captioner": "colours", "steps": 1, "size": float(value)}}),
        "DNP scale": (["2", "9"], lambda value: {"dnp": {"captioner": "colours", "steps": 1, "scale": float(value)}}),
        "DNP pictures": (["1", "2"], lambda value: {"dnp": {"captioner": "colours", "steps": 1, "samples": int(value)}}),
        "DNP use": (["join", "replace"], lambda value: {"dnp": {"captioner": "colours", "steps": 1, "use": value}}),
        "DNP start": (["2.8", "none"], lambda value: {"dnp": caption(start=None if value == "none" else float(value))}),
        "DNP stop": (["1.6", "none"], lambda value: {"dnp": caption(stop=None if value == "none" else float(value))})}


@pytest.mark.parametrize("axis", AXES)
def test_axis(host, axis):
    values, settings = AXES[axis]
    choices = axis in ("DNP", "DNP use")
    args = [axis_types(host).index("[NegGuide] " + axis), "" if choices else ", ".join(values), values if choices else [], 0, "", [], 0, "", [],
            False, True, False, False, False, False, False, 0, False]
    base = {"dnp": {"captioner": "colours", "steps": 1, "text": "hat"}} if axis == "DNP captioner" else DNP
    fields = {"prompt": RED, "negative_prompt": "blue", "seed": 63}
    shot = host.txt2img(base, script_name="x/y/z plot", script_args=args, **fields)
    assert shot.infotexts[-2] != shot.infotexts[-1]
    for value, cell, infotext in zip(values, shot.pixels[-2:], shot.infotexts[-2:]):
        one = host.txt2img(settings(value), **fields)
        assert (cell == one.pixels[0]).all() and infotext == one.infotexts[0]


# Other models, where the host has them.


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


# Scores.


@pytest.mark.parametrize("fields", [{}, {"n_iter": 2, "batch_size": 2}, {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}], ids=str)
@pytest.mark.parametrize("sign", [0, 1], ids=["red is better", "red is worse"])
def test_keep_the_better(host, fields, sign):
    fields = {"prompt": RED, "seed": 75, "negative_prompt": "blue", **fields}
    count = fields.get("n_iter", 1) * fields.get("batch_size", 1)
    scripts = {**host.scripts({"dnp": {"captioner": "colours", "steps": 1, "keep_better": True}}), "Saboteur": {"args": ["clip", sign]}}
    shot = host.txt2img(more_scripts=scripts, **fields)
    without, with_caption = host.txt2img(**fields), host.txt2img(DNP, **fields)
    for number in range(count):
        pictures = {"without": without.pixels[-count:][number], "with": with_caption.pixels[-count:][number]}
        red = {which: pixels[..., 0].mean() for which, pixels in pictures.items()}
        best = (min if sign else max)(red, key=red.get)
        assert (shot.pixels[-count:][number] == pictures[best]).all()
        scores = told(shot)[number]["scores"]
        assert scores["kept"] == best
        assert abs(scores["with"]["full"]) == pytest.approx(red["with"] / 255, abs=1e-4)
        assert abs(scores["without"]["full"]) == pytest.approx(red["without"] / 255, abs=1e-4)
        assert f"{scores['with']['full']:.4f} with, {scores['without']['full']:.4f} without" in shot.infotexts[-count:][number]
        assert ("kept without" in shot.infotexts[-count:][number]) == (best == "without")


def test_scores_alone_change_no_picture(host):
    scripts = {**host.scripts({"dnp": {"captioner": "colours", "steps": 1, "scores": True}}), "Saboteur": {"args": ["clip", 1]}}
    for sign in (0, 1):
        scripts["Saboteur"] = {"args": ["clip", sign]}
        shot = host.txt2img(more_scripts=scripts, prompt=RED, seed=76)
        assert same(shot, host.txt2img(DNP, prompt=RED, seed=76)) and told(shot)[0]["scores"]["kept"] == "with"


def test_the_best_of_several_captions(host):
    """That of the picture least like the prompt."""
    dnp = {"captioner": "colours", "samples": 3, "several": "best"}
    scripts = {**host.scripts({"dnp": dnp}), "Saboteur": {"args": ["clip", 0]}}
    shot = host.txt2img(more_scripts=scripts, prompt=RED, seed=77)
    shown = told(shot)[0]["shown"]
    assert captions(shot) == [min(shown, key=lambda one: one["score"])["caption"]]
    assert same(shot, host.txt2img(prompt=RED, seed=77, negative_prompt=captions(shot)[0]))


# Infotext.


def test_infotext_there_and_back(host):
    settings = {"dnp": {"captioner": "colours", "use": "replace", "steps": 0.5, "window": {"start": 5.8}}}
    shot = host.txt2img(settings, prompt=RED, negative_prompt="blue", seed=70)
    assert Settings.parse(shot.params["NegGuide schedule"]) == Settings.parse(settings)
    assert shot.infotexts[0].split("\n")[:2] == [RED, "Negative prompt: blue"]
    answer = host.post("/sdapi/v1/txt2img", infotext=shot.infotexts[0])
    assert json.loads(answer.json()["info"])["infotexts"] == shot.infotexts
    assert same(host.txt2img(json.loads(shot.params["NegGuide schedule"]), prompt=RED, negative_prompt="blue", seed=70), shot)


def test_a_random_seed_is_the_same_for_both(host):
    shot = host.txt2img(DNP, prompt=RED, seed=-1)
    assert told(shot)[0]["seed"] == shot.info["seed"] >= 0
    assert same(host.txt2img(DNP, prompt=RED, seed=shot.info["seed"]), shot)


# A captioner of the kind that people use: the project's own small BLIP.


def test_what_the_small_world_says(host):
    """Away from a red circle is no red circle, and the caption says what is there instead."""
    shot = host.txt2img({"dnp": {"captioner": str(captioner.FOLDER)}}, prompt=RED, seed=78, steps=12)
    (caption,) = captions(shot)
    there = captioner.read(caption)
    assert there is not None and ("red", "circle") not in there.shapes
    assert told(shot)[0]["captioner"]
    assert same(shot, host.txt2img(prompt=RED, seed=78, steps=12, negative_prompt=caption))


# Progress, interrupt, skip.


def progress(host):
    return host.get("/sdapi/v1/progress?skip_current_image=true").json()


def wait_for(host, condition, timeout=120):
    import time

    end = time.monotonic() + timeout
    while time.monotonic() < end:
        now = progress(host)
        if condition(now["state"], now["textinfo"] or ""):
            return now
        time.sleep(0.01)
    raise TimeoutError("the job never came to that")


def in_negative_picture(state, textinfo):
    return "diffusion-negative" in textinfo and state["sampling_step"] >= 5


def in_own_picture(state, textinfo):
    return state["job_count"] and "diffusion-negative" not in textinfo and state["job_no"] > 0 and state["sampling_step"] >= 5


@pytest.mark.parametrize("fields, jobs", [({}, 2), ({"n_iter": 2}, 4), ({"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}, 3)], ids=str)
def test_progress_counts_both(host, fields, jobs):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(80 + jobs), steps=80, **fields)
    first = wait_for(host, in_negative_picture)
    assert first["state"]["job_count"] == jobs and first["state"]["job_no"] == 0 and first["progress"] < 1 / jobs + 0.02
    second = wait_for(host, in_own_picture)
    assert second["state"]["job_count"] == jobs and not second["textinfo"]
    host.api.interrupt()
    waiting()
    assert progress(host)["state"]["job_count"] == 0 and not progress(host)["textinfo"]


def test_the_preview_shows_the_picture_that_forms(host):
    """First the negative one, then the own one."""
    import base64
    import io

    import numpy as np
    from PIL import Image

    def preview(condition):
        wait_for(host, condition)
        image = host.get("/sdapi/v1/progress").json()["current_image"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB"))[..., 0].mean()

    fields = {"prompt": RED, "seed": fresh(86), "steps": 80, "cfg_scale": 5}
    host.post("/sdapi/v1/options", live_previews_enable=True, show_progress_every_n_steps=1, show_progress_type="Full",
              live_preview_content="Combined")
    try:
        waiting = in_background(host.txt2img, DNP, **fields)
        first = preview(lambda state, text: "diffusion-negative" in text and state["sampling_step"] >= 50)
        second = preview(lambda state, text: in_own_picture(state, text) and state["sampling_step"] >= 50)
        shot = waiting()
    finally:
        host.post("/sdapi/v1/options", live_previews_enable=False, show_progress_every_n_steps=-1)
    negative, own = host.txt2img({"dns": {}}, **fields).pixels[0][..., 0].mean(), shot.pixels[0][..., 0].mean()
    assert abs(negative - own) > 10, "the two are too like to tell them apart"
    assert abs(first - negative) < abs(first - own)
    assert abs(second - own) < abs(second - negative)


def test_progress_of_a_cached_run(host):
    host.txt2img(DNP, prompt=RED, seed=fresh(85), steps=80)
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(85), steps=80)
    now = wait_for(host, lambda state, _: state["job_count"] and state["sampling_step"] >= 3)  # the last job's step stays in a host at rest
    assert now["state"]["job_count"] == 1
    waiting()


def pictures(host):
    """Pictures of every kind."""
    shots = [host.txt2img(settings, prompt=RED, negative_prompt="blue", seed=90) for settings in (None, {}, DNP, {"dns": {}})]
    return [shot.pixels[0].tobytes() for shot in shots], [shot.infotexts for shot in shots]


@pytest.fixture(scope="module")
def as_ever(host):
    return pictures(host)


@pytest.fixture
def nothing_stays_behind(host, as_ever):
    yield
    assert pictures(host) == as_ever
    assert progress(host)["state"]["job_count"] == 0


def test_interrupt_in_the_negative_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(91), steps=80, n_iter=2)
    wait_for(host, in_negative_picture)
    host.api.interrupt()
    answer = waiting()
    assert not answer.images
    _, calls = with_calls(host, host.txt2img, DNP, prompt=RED, seed=fresh(91), steps=80)
    assert calls == 160, "a half-made picture was kept"


def test_interrupt_in_the_own_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(92), steps=80, n_iter=2)
    wait_for(host, in_own_picture)
    host.api.interrupt()
    shot = waiting()
    assert len(shot.pixels) <= 2 and len(shot.calls()) < 80 and len(captions(shot)) == 2


def test_skip_in_the_negative_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(93), steps=80)
    wait_for(host, in_negative_picture)
    host.api.skip()
    shot = waiting()
    assert same(shot, host.txt2img(prompt=RED, seed=fresh(93), steps=80))
    assert "without the caption" in shot.notes and "NegGuide caption" not in shot.infotexts[0]


def test_skip_in_the_own_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(94), steps=80, n_iter=2)
    wait_for(host, in_own_picture)
    host.api.skip()
    shot = waiting()
    assert (shot.pixels[-1] == host.txt2img(DNP, prompt=RED, seed=fresh(94) + 1, steps=80).pixels[0]).all()


# What is left alone, and what goes wrong.


@pytest.mark.parametrize("fields", [{}, {"n_iter": 2}, {"override_settings": {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 5}},
                                    {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}, {"prompt": "a red circle <lora:contrast:1>"}], ids=str)
def test_a_nested_generation_changes_nothing(host, fields):
    """Neither of the request's fields nor of anything global: seeds are fixed, as the host would, and our own run is noted."""
    host.txt2img(DNP, **{"prompt": RED, "seed": fresh(100 + len(str(fields))), **fields})
    assert set(seen(host)["changed"]) <= {"p.negguide_run", "p.subseed"}
    host.img2img(start_image(), DNP, prompt=RED, seed=fresh(200))
    assert set(seen(host)["changed"]) <= {"p.negguide_run", "p.subseed"}


def test_networks_act_in_both(host):
    """The stand-in's one network; the real host says that it has none of that name."""
    fields = {"prompt": "a red circle <lora:contrast:2>", "seed": fresh(101)}
    shot = host.txt2img(DNP, **fields)
    assert f"red {int(host.txt2img({'dns': {}}, **fields).pixels[0][..., 0].mean())} " in captions(shot)[0]
    assert same(shot, host.txt2img(negative_prompt=captions(shot)[0], **fields))
    assert same(host.txt2img(prompt=RED), host.txt2img({"enabled": False}, prompt=RED))


@pytest.mark.parametrize("place", ["nested", "caption"])
def test_an_exception_inside(host, place, nothing_stays_behind):
    scripts = {**host.scripts(DNP), "Saboteur": {"args": [place, 0]}}
    answer = host.post("/sdapi/v1/txt2img", prompt=RED, seed=fresh(110) + len(place), steps=3, width=64, height=64, alwayson_scripts=scripts)
    assert answer.status_code == 500 and "images" not in answer.json()
    assert "NegGuide: internal error, no picture is made: ZeroDivisionError: sabotage" in answer.text
    assert not set(seen(host)["changed"]) - {"p.negguide_run", "p.subseed", "p.init"}


def test_a_captioner_that_is_not_there(host, nothing_stays_behind):
    before = seen(host)["calls"]
    answer = host.refused({"dnp": {"captioner": "/no/such/folder"}}, prompt=RED, seed=fresh(111))
    assert answer.status_code == 422 and "/no/such/folder" in answer.json()["detail"]
    assert seen(host)["calls"] == before, "it was noticed only after sampling"


@pytest.mark.parametrize("dnp", [{"scores": True}, {"keep_better": True}, {"samples": 2, "several": "best"}], ids=json.dumps)
def test_clip_that_is_not_there(host, dnp):
    before = seen(host)["calls"]
    answer = host.refused({"dnp": {"captioner": "colours", "steps": 1, **dnp}}, prompt=RED, seed=fresh(112))
    assert answer.status_code == 422 and "CLIP" in answer.json()["detail"]
    assert seen(host)["calls"] == before


def test_scale_0_of_the_host_is_refused(host):
    answer = host.refused(DNP, cfg_scale=0)
    assert answer.status_code == 422 and "cfg_scale" in answer.json()["detail"]


def test_disabled_does_no_work(host):
    shot, calls = with_calls(host, host.txt2img, {**DNP, "enabled": False}, prompt=RED, seed=fresh(113))
    assert calls == STEPS and same(shot, host.txt2img(prompt=RED, seed=fresh(113)))
    assert "NegGuide" not in shot.infotexts[0]
