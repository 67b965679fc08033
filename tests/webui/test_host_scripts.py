"""Beside the host's own scripts: X/Y/Z plot, prompt matrix, loopback."""

import pytest

from tests.webui.client import same
from tests.webui.test_img2img import start_image

NEGATIVES = {"negatives": [{"text": "mustache", "start": 5.8, "stop": 0.7}]}
AXES = {"Enabled": ["True", "False"], "Start": ["2.8", "none"], "Stop": ["1.6", "none"], "Weight": ["0.5", "1.5"],
        "Curve": ["constant", "linear up"], "Preset": ["from the start", "noun (σ ≤ 5.8)"]}
DNP_AXES = ["DNP", "DNP captioner", "DNP steps", "DNP size", "DNP scale", "DNP pictures", "DNP use", "DNP weight", "DNP start",
            "DNP stop"]  # in test_dnp.py
IMAGE_AXES = ["Image weight", "Image start", "Image stop", "Image subtract"]  # in test_image_prompts.py
REMOVE_AXES = ["Remove", "Remove strength", "Remove start", "Remove stop", "Remove detector", "Remove search", "Remove region",
               "Remove anchor"]  # in test_removal_requests.py
WITH_CHOICES = ("Enabled", "Curve", "Preset")


def axis_types(host, is_img2img=False):
    """The real host's two tabs have different ones."""
    return host.script_info("x/y/z plot", is_img2img)["args"][0]["choices"]


def plot(host, negguide, axis, values, **fields):
    """The cells of a plot along X."""
    choices = axis in WITH_CHOICES
    number = axis_types(host).index("[NegGuide] " + axis)
    args = [number, "" if choices else ", ".join(values), values if choices else [], 0, "", [], 0, "", [],
            False, True, False, False, False, False, False, 0, False]
    return host.txt2img(negguide, script_name="x/y/z plot", script_args=args, **fields)


def changed(axis, value):
    """The settings that a cell stands for."""
    window = {"start": 5.8, "stop": 0.7}
    if axis == "Enabled":
        return {**NEGATIVES, "enabled": value == "True"}
    if axis == "Preset":
        window = {"start": 5.8} if "noun" in value else {}
    elif axis == "Curve":
        window["curve"] = value
    else:
        window[axis.lower()] = None if value == "none" else float(value)
    box = {key: value for key, value in window.items() if key in ("start", "stop") and axis == "Preset" or key == axis.lower()}
    return {"negatives": [{"text": "mustache", **window}], "box": box}


@pytest.mark.parametrize("axis", AXES)
def test_axis(host, axis):
    values = AXES[axis]
    shot = plot(host, NEGATIVES, axis, values)
    cells, infotexts = shot.pixels[-len(values):], shot.infotexts[-len(values):]
    assert (cells[0] != cells[1]).any()
    for value, cell, infotext in zip(values, cells, infotexts):
        single = host.txt2img(changed(axis, value))
        assert (cell == single.pixels[0]).all(), value
        assert infotext == single.infotexts[0]


def test_axes_say_that_they_do_nothing_while_negguide_is_off(host):
    cells = plot(host, {**NEGATIVES, "enabled": False}, "Weight", ["0.5", "1.5"])
    assert (cells.pixels[-2] == cells.pixels[-1]).all() and "the axes of the plot change nothing" in cells.infotexts[-1]
    on = plot(host, {**NEGATIVES, "enabled": False}, "Enabled", ["True", "False"])
    assert "change nothing" not in "".join(on.infotexts)


def test_every_axis_is_there_once(host):
    ours = [name for name in axis_types(host) if name.startswith("[NegGuide] ")]
    assert sorted(ours) == sorted("[NegGuide] " + axis for axis in [*AXES, *DNP_AXES, *IMAGE_AXES, *REMOVE_AXES])


def test_a_bad_value_is_refused_before_any_cell(host):
    with pytest.raises(RuntimeError, match="box.weight = 9.0 is not allowed; a number from 0 to 2"):
        plot(host, NEGATIVES, "Weight", ["0.5", "9"])


def test_an_axis_leaves_nothing_behind(host):
    before = host.txt2img(NEGATIVES)
    plot(host, NEGATIVES, "Weight", ["0.5", "1.5"])
    assert same(host.txt2img(NEGATIVES), before)
    assert "NegGuide" not in host.txt2img().infotexts[0]


def test_prompt_matrix(host):
    shot = host.txt2img(NEGATIVES, prompt="a portrait of a person|hat", script_name="prompt matrix",
                        script_args=[False, False, "positive", "comma", 0])
    for pixels, prompt in zip(shot.pixels[-2:], ("a portrait of a person", "a portrait of a person, hat")):
        assert (pixels == host.txt2img(NEGATIVES, prompt=prompt).pixels[0]).all()


def test_loopback(host):
    """One request object for all turns, and NegGuide acts in each."""
    fields = {"script_name": "loopback", "script_args": [2, 0.6, "Linear", "None"]}
    turns = host.img2img(start_image(), {"negatives": [{"text": "mustache"}]}, **fields)
    assert same(turns, host.img2img(start_image(), negative_prompt="mustache", **fields))
    windowed = host.img2img(start_image(), NEGATIVES, **fields)
    assert (pixels(windowed.images[-2]) == host.img2img(start_image(), NEGATIVES).pixels[0]).all()
    off = host.img2img(start_image(), **fields)
    assert (pixels(off.images[-1]) != pixels(windowed.images[-1])).any()


def pixels(image):
    import numpy as np

    return np.asarray(image.convert("RGB"))
