"""The search of Ban et al. in the host: what its windows have in common is predicted once, and nothing else is different for it."""

import pytest

from tests.webui.client import same
from tests.webui.test_failures import in_background
from tests.webui.test_img2img import mask, start_image
from tests.webui.test_removal import removal, told

ALWAYS = {"Saboteur": {"args": ["auto captioner", 0]}}
"""A captioner that sees a mustache where a picture's mean green is odd."""
FIELDS = {"steps": 6, "more_scripts": ALWAYS}


@pytest.fixture(autouse=True)
def saboteur(host):
    if not host.has_script("Saboteur"):
        pytest.skip("this host has not loaded tests/webui/saboteur as an extension")


def searched(host, seeds=range(40, 60), **how):
    """The first picture that takes three windows or more."""
    fields = {**FIELDS, **how.pop("fields", {})}
    for seed in seeds:
        shot = host.txt2img(removal("mustache", **{"search": "exhaustive", "start": None, "stop": None, **how}), seed=seed, **fields)
        done = told(shot)["passes"][-1]
        if len(done["search"]["ends"]) >= 3:
            return shot, done, seed
    raise AssertionError("no such picture among these seeds")


@pytest.mark.parametrize("sampler, how", [("Euler a", {"region": "everywhere"}), ("DPM++ SDE", {"region": "everywhere"}),
                                          ("DPM++ 2M", {"every": 1}), ("DDIM", {"every": 1})], ids=str)
def test_a_found_window_is_the_one_sampled_alone(host, sampler, how):
    """To the bit, though most of its calls were not predicted again."""
    if sampler not in host.sampler_names():
        pytest.skip("this host does not have it")
    fields = {"sampler_name": sampler, **({"eta": 0} if sampler == "DDIM" else {})}
    shot, done, seed = searched(host, fields=fields, **how)
    end, unit = done["search"]["ends"][-1], {"unit": "step", "start": 0, "stop": done["search"]["ends"][-1]}
    assert same(shot, host.txt2img(removal("mustache", search="window", **unit, **how), seed=seed, **{**FIELDS, **fields}))
    windows, calls = len(done["search"]["ends"]), len(shot.calls())
    assert done["extra_evaluations"] < 1.6 * calls * (windows - 1) + calls, "less than all of it"
    if sampler == "Euler a" and "region" in how:
        assert done["extra_evaluations"] == sum(2 * (calls - window) for window in range(end)), "the rest of each window from where it differs"


@pytest.mark.parametrize("fields", [{"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 5, "denoising_strength": 0.9}, {"batch_size": 2}],
                         ids=["hires", "batch"])
def test_in_other_requests(host, fields):
    """Searched again it is the same; a hires pass has a search of its own."""
    settings = removal("mustache", search="exhaustive", start=None, stop=None)
    first, again = (host.txt2img(settings, seed=45, **FIELDS, **fields) for _ in range(2))
    assert same(first, again) and [done["search"] for done in told(first)["passes"]] == [done["search"] for done in told(again)["passes"]]
    assert len(told(first)["passes"]) == 1 + ("enable_hr" in fields)


def test_in_inpainting(host):
    """The mask bounds every window, and the last picture is that of its window."""
    fields = {"mask_image": mask(), "mask_blur": 0, "steps": 5, "denoising_strength": 0.95, "inpaint_full_res": False}
    shot = host.img2img(start_image(), removal("mustache", search="exhaustive"), more_scripts=ALWAYS, **fields)
    own = host.img2img(start_image(), **fields)
    assert not (shot.pixels[0] != own.pixels[0]).any(2)[34:].any() and told(shot)["passes"][0]["search"]["ends"]


def test_an_end_in_the_midst_of_it_leaves_nothing_behind(host):
    before = host.txt2img(steps=6, seed=46)
    settings = removal("mustache", search="exhaustive", start=None, stop=None)
    waiting = in_background(host.txt2img, settings, steps=40, seed=46, more_scripts=ALWAYS)
    host.wait_for_step(30)
    host.api.interrupt()
    assert len(waiting().pixels) <= 1
    assert same(host.txt2img(steps=6, seed=46), before)
