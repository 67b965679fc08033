"""Removal in the host: what goes, what stays, when it acts, and that the pictures are those of the embedded host."""

import base64

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.webui.client import DEFAULTS, distance, png, same
from tests.webui.test_img2img import mask as inpaint_mask
from tests.webui.test_img2img import start_image
from tests.world.judge import Judge

LOOP = {"remove": {"text": "glasses"}}
ALWAYS = {"gone": -1.0}  # acts whatever the detector says
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 6, "denoising_strength": 0.9}
SAMPLERS = ["Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ SDE", "DPM2 a", "LMS", "DDIM", "PLMS", "UniPC"]


def removal(text="glasses", **fields):
    return {"remove": {"text": text, **fields}}


def painted(left=0, size=(64, 64)):
    """White in so many columns from the left, as base64."""
    image = Image.new("L", size, 0)
    if left:
        ImageDraw.Draw(image).rectangle((0, 0, left - 1, size[1]), fill=255)
    return base64.b64encode(png(image)).decode()


def told(shot, picture=0):
    """What ``info`` says of one picture."""
    return next(one for one in shot.params["NegGuide removal"]["pictures"] if one["picture"] == picture)


@pytest.fixture(scope="module")
def judge():
    return Judge.load()


def wear_glasses(judge, shot):
    pixels = torch.stack([torch.tensor(p).permute(2, 0, 1) / 255 for p in shot.pixels[-3:]])
    return [verdict.glasses for verdict in judge(pixels)]


# The embedded host's pictures.


@pytest.fixture(scope="module")
def embedded(request):
    return EmbeddedHost.load(request.config.getoption("--standin-model") or world.model())


@pytest.mark.parametrize("sampler, settings", [
    *((sampler, removal(**ALWAYS)) for sampler in ("Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM")),
    ("DDIM", {**removal("a portrait", every=1, weight=0.7, **ALWAYS), "negatives": [{"text": "hat", "stop": 3.0}]}),
    ("Euler a", removal(search="window", region="everywhere"))], ids=str)
def test_as_the_embedded_host(host, embedded, sampler, settings):
    fields = {**DEFAULTS, "steps": 12, "cfg_scale": 4, "sampler_name": sampler, "negative_prompt": "mustache"}
    if sampler == "DDIM":
        fields["eta"] = 0  # the client asks for 1
    shot = host.txt2img(settings, **fields)
    result = embedded.sample([fields["prompt"]], [fields["seed"]], Settings.parse(settings), negative_prompts="mustache", steps=12,
                             cfg_scale=4, size=(64, 64), sampler=sampler)
    assert np.abs(shot.pixels[0].astype(int) - np.asarray(result.pil()[0])).max() <= 1
    for call, own in zip(shot.calls(), result.trace.calls):
        assert call["extra_evaluations"] == own.extra_evaluations
        if own.removal is not None:
            assert call["removal"]["strengths"] == pytest.approx(own.removal.strengths, abs=2e-3)
            assert call["removal"]["presence"] == [pytest.approx(presence, abs=2e-3) for presence in own.removal.presence]
    assert len(shot.calls()) == len(result.trace.calls) and distance(shot, host.reference(**fields)) > 5


# Every sampler.


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_thing_goes_under_every_sampler(host, judge, sampler):
    """Seeds 42 to 44 show glasses where a sampler adds no noise; where it does, what they show is its own matter."""
    fields = {"sampler_name": sampler, "steps": 14, "batch_size": 3, "seed": 42}
    if sampler == "DDIM":
        fields["eta"] = 0  # the client asks for 1
    before, after = host.reference(**fields), host.txt2img(LOOP, **fields)
    had, have = wear_glasses(judge, before), wear_glasses(judge, after)
    adds_noise = sampler in ("Euler a", "DPM++ SDE", "DPM2 a")
    assert sum(had) >= 2 or adds_noise
    assert sum(before and now for before, now in zip(had, have)) <= 1
    assert sum(now and not before for before, now in zip(had, have)) <= adds_noise
    assert not after.notes
    sigmas = [call["sigma"] for call in after.calls()]
    for picture, infotext in enumerate(after.infotexts[-3:]):
        one = told(after, picture)
        done, = one["passes"]
        assert had[picture] <= bool(done["on"]) and all(sigmas[call] > 1.5 for call in done["on"])
        assert all(presence is None or -1 <= presence <= 1 for presence in done["presence"])
        assert all(done["shares"][call] > 0 for call in done["on"])
        assert 0 < one["extra_evaluations"] <= (len(sigmas) + 1) / 2
        calls = f"calls {done['on'][0] + 1}" if done["on"] else "never"
        assert f"NegGuide removed: glasses: {calls}" in infotext.replace('"', "")


def test_pictures_of_a_batch_are_each_by_themselves(host):
    """Each as if it were alone, with calls of its own."""
    fields = {"steps": 12, "sampler_name": "Euler"}
    batch = host.txt2img(LOOP, batch_size=4, seed=20, **fields)
    alone = [host.txt2img(LOOP, seed=20 + number, **fields) for number in range(4)]
    for number, one in enumerate(alone):
        assert np.abs(batch.pixels[-4:][number].astype(int) - one.pixels[0]).max() <= 4
        assert told(batch, number)["passes"][0]["on"] == told(one)["passes"][0]["on"]
        assert batch.infotexts[-4:][number] == one.infotexts[0]
    assert len({str(told(one)["passes"][0]["on"]) for one in alone}) > 1, "all alike: this test could not fail"


def test_batches_one_after_the_other(host):
    shot = host.txt2img(LOOP, n_iter=2, steps=6)
    assert [one["picture"] for one in shot.params["NegGuide removal"]["pictures"]] == [0, 1]
    assert shot.infotexts[-1] == host.txt2img(LOOP, seed=8, steps=6).infotexts[0]


# What it is.


def test_a_window_everywhere_is_an_ordinary_negative(host):
    ours = host.txt2img(removal(search="window", region="everywhere", weight=1.5), steps=8)
    own = host.txt2img({"negatives": [{"text": "glasses", "start": None, "stop": 1.5, "weight": 1.5}]}, steps=8)
    assert same(ours, own) and told(ours)["extra_evaluations"] == 0
    assert told(ours)["passes"][0]["on"] == own.acting()


WHOLE = {"search": "window", "region": "mask", "mask": painted(64), "weight": 1, "every": 1, "start": None, "stop": None}


@pytest.mark.parametrize("sampler", ["Euler a", "UniPC", "DDIM CFG++"])
def test_of_parts_joined_by_and_it_stands_beside_the_first(host, sampler):
    """Of two that say the same it is what it is of one, whatever their weights."""
    if sampler not in host.sampler_names():
        pytest.skip("this host does not have it")
    one, two = (host.txt2img(removal(**WHOLE), prompt=prompt, sampler_name=sampler, batch_size=2)
                for prompt in ("a portrait of a person", "a portrait of a person :0.6 AND a portrait of a person :0.4"))
    assert distance(one, two) <= 3 < distance(one, host.reference(prompt="a portrait of a person", sampler_name=sampler, batch_size=2))


def test_of_a_prompt_that_names_it(host):
    """With the thing's words and without them: the same difference, from either side."""
    fields = {"steps": 1, "sampler_name": "Euler", "cfg_scale": 3}
    named, bare = (host.txt2img(removal("glasses", **WHOLE), prompt=prompt, **fields) for prompt in ("a person, glasses", "a person"))
    spoken = [call["removal"]["presence"] for call in named.calls() + bare.calls()]
    assert spoken == [[None], [None]] and distance(named, host.reference(prompt="a person, glasses", **fields)) > 3
    assert not same(named, bare)


def test_with_captions(host, embedded):
    """It stands beside the prompt; box and caption are what they are without it."""
    settings = {"dnp": {"captioner": "text", "text": "hat"}, **removal(**ALWAYS)}
    fields = {**DEFAULTS, "negative_prompt": "blue", "sampler_name": "Euler", "steps": 8}
    ours = host.txt2img(settings, **fields)
    own = embedded.sample([fields["prompt"]], [fields["seed"]], Settings.parse(settings), negative_prompts="blue", steps=8,
                          cfg_scale=fields["cfg_scale"], size=(64, 64), sampler="Euler")
    assert np.abs(ours.pixels[0].astype(int) - np.asarray(own.pil()[0])).max() <= 1
    assert distance(ours, host.reference(**{**fields, "negative_prompt": "blue, hat"})) > 3


@pytest.mark.parametrize("length", ["hat", ", ".join(["a hat with a very wide brim"] * 14)], ids=["short", "long"])
def test_lengths_of_prompts(host, length):
    shot = host.txt2img(removal(f"glasses, {length}", **ALWAYS), negative_prompt=length[:40], batch_size=2, steps=8)
    assert not same(shot, host.reference(negative_prompt=length[:40], batch_size=2, steps=8))


def test_nothing_to_do_is_nothing_done(host):
    for fields in ({}, {"sampler_name": "DDIM"}):
        assert same(host.txt2img({"remove": None}, **fields), host.reference(**fields))
        for idle in (removal(region="mask", mask=painted()), removal(weight=0), removal(start=1e-4, stop=None)):
            assert same(host.txt2img(idle, **fields), host.reference(**fields))


def test_says_what_keeps_it_from_acting(host):
    for scale, settings in ((1, LOOP), (0, LOOP), (1, removal(search="window", region="everywhere")), (1, removal(anchor=True))):
        shot = host.txt2img(settings, cfg_scale=scale)
        assert f"CFG scale {scale} does not guide, so nothing is removed" in shot.notes and "glasses" in shot.infotexts[0]
        assert same(shot, host.reference(cfg_scale=scale))
    assert "no model call of this run falls between start and stop" in host.txt2img(removal(start=1e-4, stop=None)).notes
    assert "reverse activation" in host.txt2img(removal(start=None, stop=8), steps=20).notes
    skipped = host.txt2img(LOOP, override_settings={"s_min_uncond": 20.0, "s_min_uncond_all": True})
    assert "the host skipped the negative prompt" in skipped.notes
    assert same(skipped, host.txt2img(override_settings={"s_min_uncond": 20.0, "s_min_uncond_all": True}))


def test_looks_every_so_many_calls(host):
    shots = [host.txt2img(removal(every=every, gone=0, start=None, stop=None), steps=9, sampler_name="Euler") for every in (1, 3)]
    assert [told(shot)["extra_evaluations"] for shot in shots] == [9, 3]
    assert [presence is not None for presence in told(shots[1])["passes"][0]["presence"]] == [True, False, False] * 3


# Passes, masks.


def test_hires(host):
    """In both passes by the same noise levels, each with a state of its own."""
    shot = host.txt2img(removal(start=9.0, **ALWAYS), steps=10, **HIRES)
    first, hires = told(shot)["passes"]
    assert (first["pass"], hires["pass"], hires["calls"]) == ("first", "hires", len(shot.calls("hires")))
    for which, done in (("first", first), ("hires", hires)):
        assert done["on"] and all(1.5 < shot.calls(which)[call]["sigma"] <= 9.0 for call in done["on"])
    assert "; hires calls " in shot.infotexts[0]
    assert not same(shot, host.reference(steps=10, **HIRES))


@pytest.mark.parametrize("fields", [{}, {"inpaint_full_res": False}, {"inpainting_mask_invert": 1}], ids=str)
def test_inpainting(host, fields):
    """It acts in the host's own mask only; what lies outside is what the host makes of it."""
    more = {"mask_image": inpaint_mask(), "mask_blur": 0, "steps": 8, "denoising_strength": 0.95, "inpaint_full_res_padding": 0, **fields}
    own = host.img2img(start_image(), **more)
    for settings in (removal("hat", start=None, stop=None), removal("hat", region="mask", start=None, stop=None)):
        shot = host.img2img(start_image(), settings, **more)
        changed = (shot.pixels[0] != own.pixels[0]).any(2)
        kept = slice(0, 32) if "inpainting_mask_invert" in fields else slice(34, 64)
        assert changed.any() and not changed[kept].any()
        shares = [share for share in told(shot)["passes"][0]["shares"] if share]
        assert shares and (max(shares) <= 0.65 or "inpaint_full_res" not in fields)


def test_a_mask_of_its_own_is_cut_as_the_picture_is(host):
    """Inpainting of the masked upper half only: its left half is the left half of what is sampled."""
    fields = {"mask_image": inpaint_mask(), "mask_blur": 0, "steps": 6, "inpaint_full_res": True, "inpaint_full_res_padding": 0}
    shot = host.img2img(start_image(), removal(region="mask", mask=painted(32), start=None, stop=None), **fields)
    x = [share for share in told(shot)["passes"][0]["shares"] if share]
    assert x == pytest.approx([x[0]] * len(x)) and 0.2 <= x[0] <= 0.55


@pytest.mark.parametrize("mode, share", [(0, 0.25), (1, 0.25), (2, 0.25)])
def test_a_mask_in_img2img(host, mode, share):
    shot = host.img2img(start_image(), removal(region="mask", mask=painted(16), start=None, stop=None, **ALWAYS), steps=6, resize_mode=mode)
    assert told(shot)["passes"][0]["shares"][0] == pytest.approx(share, abs=0.1)


# The rest is kept: a run without the removal, first.


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "LMS", "DDIM CFG++", "UniPC"])
def test_outside_the_region_is_the_plain_picture(host, sampler):
    """A mask without white: everything is kept. Twice the calls, and no noise of the picture is spent by the first of them."""
    if sampler not in host.sampler_names():
        pytest.skip("this host does not have it")
    fields = {"sampler_name": sampler, "steps": 6, "seed": 31}
    kept = host.txt2img(removal(anchor=True, region="mask", mask=painted(), every=1, start=None, stop=None), **fields)
    assert distance(kept, host.reference(**fields)) <= 1
    assert told(kept)["extra_evaluations"] == 3 * len(kept.calls())


def test_an_anchor_keeps_more_and_costs_one_run_once(host):
    fields = {"steps": 8, "sampler_name": "Euler a", "seed": 32, "width": 192}
    wanted = {"text": "glasses, hat", "region": "mask", "mask": painted(48, (192, 64)), "start": None, "stop": None}
    plain, free = host.reference(**fields), host.txt2img({"remove": wanted}, **fields)
    anchored = host.txt2img({"remove": {**wanted, "anchor": True}}, **fields)
    right = [np.abs(shot.pixels[0][:, 96:].astype(int) - plain.pixels[0][:, 96:]).mean() for shot in (free, anchored)]
    assert right[1] < right[0] / 2 and not same(anchored, plain)
    assert told(anchored)["extra_evaluations"] == told(free)["extra_evaluations"] + 2 * 8
    again = host.txt2img({"remove": {**wanted, "anchor": True}}, **fields)
    assert same(again, anchored) and told(again)["extra_evaluations"] == told(free)["extra_evaluations"]
    other = host.txt2img({"remove": {**wanted, "anchor": True}}, **{**fields, "cfg_scale": 4})
    assert told(other)["extra_evaluations"] > told(free)["extra_evaluations"]


@pytest.mark.parametrize("fields", [HIRES, {"n_iter": 2, "batch_size": 2}], ids=["hires", "batches"])
def test_an_anchor_in_other_requests(host, fields):
    kept = host.txt2img(removal(anchor=True, region="mask", mask=painted(), start=None, stop=None), **fields)
    assert distance(kept, host.reference(**fields)) <= 2


def test_an_anchor_in_inpainting(host):
    fields = {"mask_image": inpaint_mask(), "mask_blur": 0, "steps": 6}
    settings = removal(anchor=True, region="mask", mask=painted(), start=None, stop=None)
    assert distance(host.img2img(start_image(), settings, **fields), host.img2img(start_image(), **fields)) <= 1


# The search of Ban et al.: a whole sampling for each window.


def test_exhaustive(host):
    """The captioner says mustache where a picture's mean green is odd: by chance, but the same chance each time."""
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")
    saboteur = {"Saboteur": {"args": ["auto captioner", 0]}}
    fields = {"steps": 8, "batch_size": 4, "sampler_name": "Euler a", "more_scripts": saboteur}
    shot = host.txt2img(removal("mustache", search="exhaustive", start=None, stop=1.0), **fields)
    searches = [told(shot, number)["passes"][0] for number in range(4)]
    windows = [len(search["search"]["ends"]) for search in searches]
    assert min(windows) < max(windows), "all alike: this test could not fail"
    for number, search in enumerate(searches):
        assert len(search["on"]) == search["search"]["ends"][-1] == windows[number] - 1
        assert search["extra_evaluations"] <= sum(2 * (8 - end) + 4 for end in range(windows[number] - 1)), "what agrees is made once"
        green = int(shot.pixels[-4:][number][..., 1].mean())
        assert search["search"]["gone"] == (green % 2 == 0)
        single = host.txt2img(removal("mustache", search="window", every=2, unit="step", start=0, stop=windows[number] - 1),
                              **{**fields, "batch_size": 1, "seed": 7 + number}) if windows[number] > 1 else host.txt2img(
                                  **{**fields, "batch_size": 1, "seed": 7 + number})
        assert np.abs(shot.pixels[-4:][number].astype(int) - single.pixels[0]).max() <= 4
