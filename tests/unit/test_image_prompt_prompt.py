"""What each side of guidance gets at a noise level."""

from dataclasses import replace

import pytest

from lib_negguide.image_prompt.encoder import Picture
from lib_negguide.image_prompt.injection import ImageTokens
from lib_negguide.image_prompt.prompt import Entry, ImagePrompts, _together
from lib_negguide.settings import Window

NEUTRAL = ImageTokens([], "neutral")


def prompts(*entries):
    """Of (side, window as a dict)."""
    made = tuple(Entry(Picture(), side, Window(**window), f"{side[0]}{number}") for number, (side, window) in enumerate(entries))
    return ImagePrompts(made, tuple(ImageTokens([], entry.name) for entry in made), NEUTRAL)


def rows(of, sigma):
    return {side: [(tokens.name, round(weight, 6)) for tokens, weight in row] for side, row in of.rows(sigma).items()}


@pytest.mark.parametrize("entries, expected", [
    ([("positive", {})], {"negative": [("neutral", 1)], "positive": [("p0", 1)]}),
    ([("negative", {})], {"negative": [("n0", 1)], "positive": [("neutral", 1)]}),
    ([("negative", {"weight": 0.7}), ("positive", {"weight": 0.7})], {"negative": [("n0", 0.7)], "positive": [("p1", 0.7)]}),
    ([("negative", {"weight": 0.25}), ("positive", {})], {"negative": [("n0", 0.25), ("neutral", 0.75)], "positive": [("p1", 1)]}),
    ([("negative", {"weight": 2}), ("positive", {"weight": 0.5})], {"negative": [("n0", 2)], "positive": [("p1", 0.5), ("neutral", 1.5)]}),
    ([("negative", {"weight": 0.1}), ("negative", {"weight": 0.2}), ("positive", {"weight": 0.3})],
     {"negative": [("n0", 0.1), ("n1", 0.2)], "positive": [("p2", 0.3)]}),
    ([("negative", {"weight": 0}), ("positive", {})], {"negative": [("neutral", 1)], "positive": [("p1", 1)]}),
    ([("negative", {"weight": 0})], {"negative": [], "positive": []}),
    ([], {"negative": [], "positive": []}),
])
def test_sides_are_filled_up_to_the_same_weight(entries, expected):
    assert rows(prompts(*entries), 3.0) == expected


def test_windows_are_those_of_text_negatives():
    both = prompts(("negative", {"start": 5.8, "stop": 1.6}), ("positive", {}))
    assert rows(both, 6.0) == rows(both, 1.6) == {"negative": [("neutral", 1)], "positive": [("p1", 1)]}
    assert rows(both, 5.8) == rows(both, 1.7) == {"negative": [("n0", 1)], "positive": [("p1", 1)]}
    alone = prompts(("negative", {"start": 5.8, "stop": 1.6}))
    assert rows(alone, 6.0) == {"negative": [], "positive": []}
    falling = prompts(("negative", {"curve": "linear down", "weight": 2, "start": 10, "stop": 1}))
    assert falling.strengths(10.0) == (2.0,) and 0 < falling.strengths(2.0)[0] < 1


def test_names_say_which_picture_of_which_side():
    assert prompts(("negative", {}), ("positive", {})).names == ("negative picture n0", "positive picture p1")


def test_only_one_side():
    both = prompts(("negative", {}), ("positive", {"weight": 0.5}))
    assert rows(both.only("positive"), 1.0) == {"negative": [("neutral", 0.5)], "positive": [("p1", 0.5)]}
    assert prompts(("negative", {})).only("positive") is None


def test_where_negatives_act_they_are_subtracted():
    both = prompts(("positive", {}), ("negative", {"start": 5.0}), ("negative", {"start": 9.0, "stop": 2.0}))
    without = {(0, subset): ImageTokens([], f"p0-{subset}") for subset in _together(both.entries)}
    both = replace(both, without=without)
    shown = [rows(both, sigma)["positive"][0][0] for sigma in (10, 9, 5, 2, 1)]
    assert shown == ["p0", "p0-(2,)", "p0-(1, 2)", "p0-(1,)", "p0-(1,)"]
    assert rows(both.only("positive"), 5.0)["positive"][0][0] == "p0"  # where the host leaves out the unconditional prediction


@pytest.mark.parametrize("windows, expected", [
    ([{}], {(0,)}), ([{"weight": 0}], set()), ([{"start": 3.0}, {"stop": 3.0}], {(0,), (1,)}),
    ([{"start": 4.0, "stop": 1.0}, {"start": 2.0}], {(0,), (0, 1), (1,)}),
])
def test_sets_of_negatives_that_act_together(windows, expected):
    assert set(_together(prompts(*(("negative", window) for window in windows)).entries)) == expected
