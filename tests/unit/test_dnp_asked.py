"""What the script "Diffusion-negative prompting" is asked for."""

import pytest

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Settings
from lib_negguide.webui import dnp_asked
from lib_negguide.webui.dnp_asked import MODES, Asked, parsed

PAGE = ["by hand", "1: a hat\n\n 22:  a: b \n3:", "blip-base", True, False]


def test_the_pages_values_and_the_apis_object():
    asked = parsed(PAGE)
    assert asked == parsed([{"mode": "by hand", "captions": ["1: a hat", " 22:  a: b", "3:"], "captioner": "blip-base"}]).copy(
        update={"captions": PAGE[1]})
    assert asked.lines() == ([1, 22, 3], ["a hat", "a: b", ""])
    assert parsed([{}]) == Asked() and parsed([{}, None, "other scripts' arguments"]) == Asked()


def test_lines_without_seeds():
    assert Asked(captions="a hat\nred, blue: green").lines() == (None, ["a hat", "red, blue: green"])
    assert parsed([{"captions": ["two\nlines"]}]).lines() == (None, ["two lines"])


@pytest.mark.parametrize("args, field", [
    ([], "script_args"), (None, "script_args"), (["by hand"], "script_args"), ([{"mode": "auto"}], "mode"), ([{"show": 1}], "show"),
    ([{"mode": "by hand", "captions": "1: a\nb"}], "captions"), ([{"captions": None}], "captions"),
    ([{"mode": "by hand", "captions": f"{2**63}: a"}], "captions"), ([{"steps": 3}], "steps")])
def test_refused(args, field):
    with pytest.raises(SettingsError) as error:
        parsed(args)
    assert error.value.field == field


def test_the_accordion_counts_when_it_is_on():
    accordion = Settings.parse({"negatives": [{"text": "a"}], "dnp": {"beams": 1, "captioner": "blip2"}})
    assert Asked().settings(accordion) == accordion
    assert Asked(captioner=" blip-base ", scores=True).settings(accordion).dnp.dict() == {
        **accordion.dnp.dict(), "captioner": "blip-base", "scores": True}
    assert Asked().settings(accordion.copy(update={"enabled": False})) == Settings.parse({"dnp": {}})
    assert Asked().settings(Settings.parse({"dns": {"scale": 5}})) == Settings.parse({"dnp": {"scale": 5}})


def test_a_caption_that_is_missing_is_told():
    with pytest.raises(SettingsError) as error:
        Asked(captioner="text").settings(Settings())
    assert error.value.field == "dnp.text"
    assert Asked(mode="by hand", captions="a hat", captioner="text").settings(Settings()).dnp.captioner == "text", "here are the captions"


def test_every_mode_has_a_hint():
    assert tuple(dnp_asked.HINTS) == MODES
