"""Removal in inpainting: what it does by itself there, in every kind of mask, and what its user's own fields change."""

import json

import pytest

from lib_negguide.settings import Settings
from tests.webui.client import same
from tests.webui.test_img2img import mask, start_image
from tests.webui.test_removal import painted, removal, told
from tests.webui.test_removal_requests import plot

FIELDS = {"mask_image": mask(), "mask_blur": 0, "steps": 8, "denoising_strength": 0.95, "inpaint_full_res": False}
MEANT = {"region": "mask", "search": "window", "start": None}


def meant(shot):
    """The removal that the infotext tells."""
    return json.loads(shot.params["NegGuide schedule"])["remove"]


@pytest.mark.parametrize("fields", [
    {"inpainting_fill": 0}, {"inpainting_fill": 1}, {"inpainting_fill": 2}, {"inpainting_fill": 3}, {"inpaint_full_res": True},
    {"inpainting_mask_invert": 1}, {"batch_size": 2, "n_iter": 2}], ids=str)
def test_what_is_not_named_is_as_in_inpainting(host, fields):
    """From the first call to the stop, in the whole mask, outside of which nothing changes; the infotext says so."""
    fields = {**FIELDS, "inpainting_fill": 1, **fields}
    plain, own = host.img2img(start_image(), **fields), host.img2img(start_image(), removal("hat"), **fields)
    assert same(own, host.img2img(start_image(), removal("hat", **MEANT), **fields))
    assert meant(own) == {"text": "hat", **MEANT}
    kept = slice(0, 30) if "inpainting_mask_invert" in fields else slice(34, 64)
    for before, after in zip(plain.pixels, own.pixels):
        changed = (before != after).any(2)
        assert changed.any() and not changed[kept].any()
    for number in range(fields.get("batch_size", 1) * fields.get("n_iter", 1)):
        done, = told(own, number)["passes"]
        sigmas = [call["sigma"] for call in own.calls()]
        assert done["on"] == [call for call, sigma in enumerate(sigmas) if sigma > 1.5] and done["on"][0] == 0
        assert len({round(share, 3) for share in done["shares"] if share}) == 1, "the mask, in every call"


@pytest.mark.parametrize("named", [{"search": "loop"}, {"start": 9.0}, {"region": "object"}, {"stop": None}], ids=str)
def test_what_is_named_counts(host, named):
    """Even where it is the default of whole pictures; and the infotext brings it back."""
    shot = host.img2img(start_image(), removal("hat", **named), **FIELDS)
    told = meant(shot)
    assert {**told, **named} == told
    assert told == ({"text": "hat", **named} if "region" in named else {"text": "hat", **MEANT, **named})
    assert same(host.img2img(start_image(), {"remove": told}, **FIELDS), shot)
    done = shot.params["NegGuide removal"]["pictures"][0]["passes"][0]
    looked = any(presence is not None for presence in done["presence"])
    assert looked == (told.get("search", "loop") == "loop")
    assert looked or (done["on"] != [] and (done["on"][0] == 0) == (told.get("start") is None))


def test_a_mask_of_its_own_bounds_it_too(host):
    shot = host.img2img(start_image(), removal("hat", mask=painted(32)), **FIELDS)
    share = told(shot)["passes"][0]["shares"][0]
    assert share == pytest.approx(told(host.img2img(start_image(), removal("hat"), **FIELDS))["passes"][0]["shares"][0] / 2, abs=0.05)


def test_without_a_mask_nothing_is_different(host):
    shot = host.img2img(start_image(), removal("hat"), steps=8)
    assert meant(shot) == {"text": "hat"} and Settings.parse({"remove": meant(shot)}).remove.search == "loop"


def test_an_axis_of_a_plot_names_its_own_field_only(host):
    """Cells of the axis "Remove start" differ, each as a request with that field."""
    fields = {name: value for name, value in FIELDS.items() if name != "steps"}
    shot = plot(host, "Remove start", ["9.0", "none"], removal("hat"), image=start_image(), **fields)
    for value, infotext in zip((9.0, None), shot.infotexts[-2:]):
        one = host.img2img(start_image(), removal("hat", start=value), steps=4, **fields).infotexts[0]
        schedules = [text.split("NegGuide schedule: ")[1].split("}}")[0] for text in (infotext, one)]  # the host's own keys change places
        assert schedules[0] == schedules[1]
    assert not (shot.pixels[-1] == shot.pixels[-2]).all()
