import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_negguide.errors import SettingsError
from lib_negguide.presets import WINDOWS, PresetFolder, with_window
from lib_negguide.schedule import CURVES, UNITS, inside, reference_sigmas
from lib_negguide.settings import ImagePrompt, Negative, Schedule, Settings, Window, fields

RUN = reference_sigmas(30)

ENDS = st.tuples(st.none() | st.floats(0, 1), st.none() | st.floats(0, 1)).map(
    lambda e: tuple(sorted(e)) if None not in e else e)


@st.composite
def windows(draw, **more):
    start, stop = draw(ENDS)
    unit = draw(st.sampled_from(UNITS))
    if unit == "sigma" and None not in (start, stop):
        start, stop = stop, start
    xs = sorted(draw(st.sets(st.floats(0, 1), min_size=1, max_size=4)))
    return dict({"start": start, "stop": stop, "unit": unit, "weight": draw(st.floats(0, 2)),
                 "curve": draw(st.sampled_from(CURVES)), "points": [[x, draw(st.floats(0, 1))] for x in xs]},
                **{key: draw(value) for key, value in more.items()})


SCHEDULES = {"box": windows(), "negatives": st.lists(windows(text=st.text(max_size=20)), max_size=3),
             "combine": st.sampled_from(["join", "branches", "perp-neg"])}
SETTINGS = st.fixed_dictionaries({}, optional=dict(
    SCHEDULES, enabled=st.booleans(), hires=st.none() | st.fixed_dictionaries({}, optional=SCHEDULES)))


@given(SETTINGS)
def test_round_trip_through_json(data):
    settings = Settings.parse(data)
    assert Settings.parse(json.dumps(settings.to_dict())) == settings


@given(SETTINGS)
def test_in_sigma_is_settled(data):
    once = Settings.parse(data).in_sigma(RUN)
    assert all(window.unit == "sigma" for _, s in [("", once)] for _, window in s.windows())
    assert once.in_sigma(reference_sigmas(7)) == once
    for _, schedule in once.passes():
        for path, window in schedule.windows():
            window.check(path)


@pytest.mark.parametrize("unit", ["step", "fraction"])
def test_a_stop_at_the_first_step_is_never_and_a_start_there_is_open(unit):
    never, always = Window(stop=0, unit=unit).in_sigma(RUN), Window(start=0, unit=unit).in_sigma(RUN)
    assert [s for s in RUN if inside(s, never.start, never.stop)] == []
    assert always.start is None and always.stop is None


def test_defaults_are_left_out():
    assert Settings().to_dict() == {}
    assert Settings.parse({"negatives": [{"text": "hat", "weight": 1}]}).to_dict() == {"negatives": [{"text": "hat"}]}


@pytest.mark.parametrize("data, field, words", [
    ({"negatives": [{"text": "a", "weight": 3}]}, "negatives[0].weight", "from 0 to 2"),
    ({"negatives": [{"text": "a"}, {"text": "a", "weight": -1}]}, "negatives[1].weight", "from 0 to 2"),
    ({"wieght": 1}, "wieght", "unknown field; known are box"),
    ({"negatives": [{"text": "a", "wieght": 1}]}, "negatives[0].wieght", "unknown field; known are start"),
    ({"negatives": [{"weight": 1}]}, "negatives[0].text", "required"),
    ({"box": {"start": 1, "stop": 2}}, "box.start", "at least stop (2)"),
    ({"box": {"start": 0.5, "stop": 0.2, "unit": "fraction"}}, "box.start", "at most stop (0.2)"),
    ({"box": {"start": 5, "unit": "fraction"}}, "box.start", "from 0 to 1"),
    ({"box": {"start": "early"}}, "box.start", "null for the first step"),
    ({"box": {"start": True}}, "box.start", "a number"),
    ({"box": {"weight": None}}, "box.weight", "from 0 to 2"),
    ({"box": {"weight": float("nan")}}, "box.weight", "from 0 to 2"),
    ({"box": {"stop": float("inf")}}, "box.stop", "a number"),
    ({"box": {"unit": "steps"}}, "box.unit", "one of sigma, fraction, step"),
    ({"box": {"curve": "points"}}, "box.points", "at least one"),
    ({"box": {"points": [[0, 1], [0, 0.5]]}}, "box.points", "positions rising"),
    ({"box": {"points": [[0, 2]]}}, "box.points", "from 0 to 1"),
    ({"box": "all"}, "box", "an object"),
    ({"negatives": "hat"}, "negatives", "a list of objects"),
    ({"hires": {"box": {"curve": "wavy"}}}, "hires.box.curve", "one of constant"),
    ({"hires": {"negatives": [{"text": "a", "start": 1, "stop": 3}]}}, "hires.negatives[0].start", "at least stop"),
    ({"hires": {"enabled": True}}, "hires.enabled", "unknown field"),
    ({"combine": "sum"}, "combine", "one of join, branches, perp-neg"),
    ({"version": 99}, "version", "from 1 to 1"),
    ({"images": [{}]}, "images[0].image", "a picture; or noise alone"),
    ({"images": [{"image": "x"}, {"noise": "shuffle"}]}, "images[1].image", "a picture; or noise alone"),
    ({"images": [{"noise": "fade", "amount": 0}]}, "images[0].image", "of an amount above 0"),
    ({"images": [{"image": "x", "side": "both"}]}, "images[0].side", "one of negative, positive"),
    ({"images": [{"image": "x", "start": 1, "stop": 2}]}, "images[0].start", "at least stop"),
    ({"images": [{"image": "x", "seed": 1.5}]}, "images[0].seed", "a whole number"),
    ({"images": [{"image": "x"}], "dns": {}}, "images", "none while dns is on"),
    ({"image_subtract": 1.5}, "image_subtract", "a number from 0 to 1"),
    ({"image_subtract": True}, "image_subtract", "a number from 0 to 1"),
    ({"box": {"start": 10**400}}, "box.start", "a number from 0"),
    ({"box": {"points": [[0, 10**400]]}}, "box.points[0][1]", "from 0 to 1"),
    ({"box": {"points": [[False, 1]]}}, "box.points[0][0]", "from 0 to 1"),
    ({"box": []}, "box", "an object"),
    ({"dns": []}, "dns", "an object"),
    ({"negatives": [[]]}, "negatives[0]", "a list of objects"),
    ({"negatives": [{"text": 5}]}, "negatives[0].text", "a text"),
    ({"negatives": [{"text": "half \ud83c"}]}, "negatives[0].text", "a text"),
    ({"images": [{"noise": "fade", "seed": -10**400}]}, "images[0].seed", "a whole number"),
    ({"remove": {"text": "hat", "start": 1}}, "remove.start", "start is at least stop (1.5)"),
    ({"enabled": "yes"}, "enabled", "true or false"),
    ({"enabled": 1}, "enabled", "true or false"),
    ({"version": True}, "version", "from 1 to 1"),
    ({"adapter": 5}, "adapter", "file name"),
    ("[1]", "settings", "a JSON object"),
    ("{", "settings", "a JSON object"),
    (None, "settings", "a JSON object"),
])
def test_bad_values_name_field_value_and_what_is_allowed(data, field, words):
    with pytest.raises(SettingsError) as caught:
        Settings.parse(data)
    assert caught.value.field == field
    assert words in caught.value.allowed
    assert field in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("model", [Window, Negative, Schedule, ImagePrompt, Settings])
def test_the_table_says_everything_about_each_field(model):
    for row in fields(model):
        assert row["title"] and row["help"] and row["allowed"], row


def test_windows_of_pictures_are_in_sigma_with_the_rest():
    window = Settings.parse({"images": [{"noise": "fade", "start": 0.25, "unit": "fraction", "name": "fog"}]}).in_sigma(RUN).images[0]
    assert window.unit == "sigma" and 0.5 < window.start < RUN[0] and (window.noise, window.name) == ("fade", "fog")


def test_hires_has_its_own_schedule_or_the_first():
    own = Settings.parse({"negatives": [{"text": "a"}], "hires": {"negatives": [{"text": "b"}]}})
    assert own.schedule(True).negatives[0].text == "b" and own.schedule(False).negatives[0].text == "a"
    same = Settings.parse({"negatives": [{"text": "a"}]})
    assert same.schedule(True) is same


def test_window_presets_go_on_every_negative():
    settings = Settings.parse({"negatives": [{"text": "a", "weight": 0.5}], "hires": {"negatives": [{"text": "b"}]}})
    changed = with_window(settings, "Ban et al. window (σ 5.8 → 1.6)")
    assert [(w.start, w.stop) for _, s in changed.passes() for _, w in s.windows()] == [(5.8, 1.6)] * 4
    assert changed.negatives[0].text == "a"
    with pytest.raises(SettingsError, match="from the start"):
        with_window(settings, "never")


def test_window_presets_are_sound():
    for name, window in WINDOWS.items():
        window.check(name + ".")
        assert window.unit == "sigma"


def test_saved_presets(tmp_path):
    folder = PresetFolder(tmp_path / "presets")
    settings = Settings.parse({"negatives": [{"text": "hüt", "start": 5.8}]})
    assert folder.names() == []
    folder.save("my hats", settings)
    assert folder.names() == ["my hats"] and folder.load("my hats") == settings
    for name in ("../evil", "a/b", "", "x" * 81, None, ".hidden", "from the start"):
        with pytest.raises(SettingsError):
            folder.save(name, settings)
    with pytest.raises(SettingsError, match="my hats"):
        folder.load("other")
    folder.delete("my hats")
    assert folder.names() == [] and list(folder.folder.iterdir()) == []
