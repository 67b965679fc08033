"""Auto-DNP: a first sampling away from the prompt, its caption, and the picture with that caption as its negative."""

import json

import pytest

from lib_negguide.settings import Settings
from tests.webui.client import same
from tests.webui.dnp import DNP, RED, STEPS, TYPED, captions, colours, fresh, told, with_calls  # noqa: F401 (a fixture for all)
from tests.webui.test_host_scripts import axis_types
from tests.webui.test_img2img import start_image
from tests.world import captioner

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
