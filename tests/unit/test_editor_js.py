"""The editor's twin of schedule.py and its mirror of settings/, run in a browser against Python."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib_negguide.errors import SettingsError
from lib_negguide.schedule import CURVES, UNITS, curve_value, progress, reference_sigmas, strength, to_sigma
from lib_negguide.settings import Settings
from lib_negguide.webui import editor
from tests import chromium

SCRIPTS = Path(__file__).parents[2] / "javascript"
STEPS = (1, 2, 5, 20, 30, 150)


@pytest.fixture(scope="module")
def page(browser):
    page = chromium.new_page(browser)
    for name in ("negguide_schedule.js", "negguide_settings.js"):
        page.add_script_tag(path=str(SCRIPTS / name))
    page.evaluate("([sigmas, tables]) => { NegGuide.schedule.setTable(sigmas); NegGuide.settings.setTables(tables); }",
                  [editor.sigmas(), editor.tables()])
    yield page
    page.close()


def in_browser(page, function, cases):
    """``NegGuide.schedule.function(...case)`` for each case."""
    cases = json.loads(json.dumps(cases))
    return page.evaluate("([name, cases]) => cases.map((case_) => NegGuide.schedule[name](...case_))", [function, cases])


def close(got, wanted):
    assert len(got) == len(wanted)
    for index, (a, b) in enumerate(zip(got, wanted)):
        assert (a is None) == (b is None), (index, a, b)
        assert a is None or a == pytest.approx(b, rel=2e-5, abs=1e-6), (index, a, b)


def test_progress(page):
    sigmas = [0.0, 1e-4, 0.029, 0.03, 0.1, 0.5, 1.0, 1.6, 2.8, 5.8, 14.0, 14.6, 14.7, 200.0]
    close(in_browser(page, "progress", [[s] for s in sigmas]), [progress(s) for s in sigmas])
    back = in_browser(page, "sigmaAt", [[progress(s)] for s in sigmas[3:-3]])
    assert back == pytest.approx(sigmas[3:-3], rel=1e-5)


def test_reference_sigmas(page):
    for steps in STEPS:
        close(in_browser(page, "referenceSigmas", [[steps]])[0], reference_sigmas(steps))


def test_to_sigma_and_back(page):
    values = {"sigma": (None, 0, 0.7, 5.8), "fraction": (None, 0, 0.01, 0.2, 0.5, 0.97, 1), "step": (None, 0, 0.5, 1, 4.25, 5, 19, 19.5, 20, 31)}
    cases = [(value, unit, reference_sigmas(steps)) for unit in UNITS for value in values[unit] for steps in STEPS]
    wanted = [to_sigma(*case) for case in cases]
    got = in_browser(page, "toSigma", cases)
    close(got, wanted)
    there = [(sigma, unit, sigmas) for sigma, (_, unit, sigmas) in zip(wanted, cases)]
    back = in_browser(page, "fromSigma", there)
    again = [to_sigma(value, unit, sigmas) for value, (_, unit, sigmas) in zip(back, there)]
    close(again, wanted)


def test_strength(page):
    rng = random.Random(1)
    cases = []
    for curve in CURVES:
        for start, stop in ((None, None), (5.8, None), (None, 0.7), (5.8, 1.6), (2.8, 2.8), (0.02, None), (None, 20.0)):
            points = [(0.1, 0.9), (0.5, 0.2), (0.8, 1.0)] if rng.random() < 0.5 else [(0.3, 0.7)]
            for sigma in (0.02, 0.1, 0.7, 1.0, 1.6, 2.5, 5.8, 9.0, 14.6):
                cases.append((sigma, start, stop, rng.choice((0.0, 0.35, 1.0, 2.0)), curve, points))
    close(in_browser(page, "strength", cases), [strength(*case) for case in cases])
    positions = [(curve, position / 8, [(0.1, 0.9), (0.5, 0.2)]) for curve in CURVES for position in range(-1, 10)]
    close(in_browser(page, "curveValue", positions), [curve_value(*case) for case in positions])


COMPLAINT = """(text) => {
    const {settings, error} = NegGuide.settings.fromText(text);
    return (error || NegGuide.settings.validate(settings)[0] || {message: null}).message;
}"""

REFUSED = [
    {"negatives": [{"text": 0.5}]}, {"remove": {"text": 5}},
    {"box": {"start": -1}},
    {"box": {"start": "abc"}},
    {"box": {"start": "it's"}},
    {"box": {"stop": True}},
    {"box": {"weight": 2.5}},
    {"box": {"weight": None}},
    {"box": {"weight": "1"}},
    {"box": {"weight": -0.00001}},
    {"box": {"unit": "sigmas"}},
    {"box": {"unit": None}},
    {"box": {"curve": "points"}},
    {"box": {"curve": "points", "points": [[0.5, 1], [0.2, 1]]}},
    {"box": {"points": [[0, 1.5]]}},
    {"box": {"points": "0:1, abc"}},
    {"box": {"points": [[0, 1], [0.5]]}},
    {"box": {"points": [[0, 1], 3]}},
    {"box": {"points": [[0, "x"]]}},
    {"box": {"points": [[(index + 1) / 100, 2] for index in range(40)]}},
    {"box": {"start": 1.6, "stop": 5.8}},
    {"box": {"start": 1, "stop": 12345678}},
    {"box": {"start": 0.00002, "stop": 0.00003}},
    {"box": {"start": 5, "stop": 3, "unit": "step"}},
    {"box": {"start": 3, "unit": "fraction"}},
    {"box": {"stop": 1.5, "unit": "fraction"}},
    {"box": {"what": 1}},
    {"box": 3},
    {"box": None},
    {"negatives": 3},
    {"negatives": {"text": "a"}},
    {"negatives": [3]},
    {"negatives": [{}]},
    {"negatives": [{"text": None}]},
    {"negatives": [{"text": ["a"]}]},
    {"negatives": [{"text": "a"}, {"text": "b", "stop": [1, None, {"a": False}]}]},
    {"negatives": [{"text": "a", "what": "it's \"so\"\n"}]},
    {"combine": "joined"},
    {"hires": 3},
    {"hires": {"enabled": False}},
    {"hires": {"negatives": [{"text": "a", "start": 2, "stop": 3}]}},
    {"hires": {"box": {"weight": 9}}, "box": {"start": 1, "stop": 2}},
    {"negatives": [{"text": "a", "start": 1, "stop": 2}], "combine": 5},
    {"version": 99},
    {"dnp": 3},
    {"dnp": True},
    {"dns": "on"},
    {"dns": {"scale": -1}},
    {"dns": {"scale": 61}},
    {"dns": {"scale": "7"}},
    {"dns": {"scale": True}},
    {"dns": {"scale": 0.5, "meaning": "host"}},
    {"dns": {"scale": 0, "meaning": "host"}},
    {"dns": {"meaning": "webui"}},
    {"dns": {"samples": 2}},
    {"dns": {}, "dnp": {}},
    {"dns": {"scale": 3}, "dnp": {"beams": 1}},
    {"dns": {"scale": 3.5, "meaning": "host"}, "dnp": {"scale": 0.5, "meaning": "host"}},
    {"dnp": {"scale": 0.25, "meaning": "host", "min_tokens": 60}},
    {"dnp": {"steps": 0}},
    {"dnp": {"steps": None}},
    {"dnp": {"steps": "0.5"}},
    {"dnp": {"size": 0.2}},
    {"dnp": {"samples": 0}},
    {"dnp": {"samples": 2.5}},
    {"dnp": {"samples": "2"}},
    {"dnp": {"samples": None}},
    {"dnp": {"beams": 17}},
    {"dnp": {"min_tokens": -1}},
    {"dnp": {"min_tokens": 51}},
    {"dnp": {"min_tokens": 7, "max_tokens": 6}},
    {"dnp": {"max_tokens": False}},
    {"dnp": {"several": "first"}},
    {"dnp": {"use": None}},
    {"dnp": {"captioner": " "}},
    {"dnp": {"captioner": None}},
    {"dnp": {"captioner": "text"}},
    {"dnp": {"captioner": " text", "text": "\n"}},
    {"dnp": {"text": ["a"]}},
    {"dnp": {"scores": "yes"}},
    {"dnp": {"scores": 1}},
    {"dnp": {"keep_better": None}},
    {"dnp": {"window": None}},
    {"dnp": {"window": 3}},
    {"dnp": {"window": {"weight": 3}}},
    {"dnp": {"window": {"start": 1, "stop": 2}}},
    {"dnp": {"window": {"text": "a"}}},
    {"dnp": {"window": {"start": 1, "stop": 2}, "min_tokens": 51, "captioner": "text"}},
    {"dnp": {"beams": 0, "what": 1, "size": 3}, "version": 3, "box": {"start": 1, "stop": 2}},
    {"remove": {}},
    {"remove": {"text": "a", "start": 1}},
    {"remove": {"text": "a", "unit": "step", "start": 9, "stop": 2}},
    {"remove": 3},
    {"remove": {"text": " "}},
    {"remove": {"text": None}},
    {"remove": {"text": "a", "weight": 4.5}},
    {"remove": {"text": "a", "search": "adaptive"}},
    {"remove": {"text": "a", "region": None}},
    {"remove": {"text": "a", "every": 0}},
    {"remove": {"text": "a", "every": 1.5}},
    {"remove": {"text": "a", "gone": "0.1"}},
    {"remove": {"text": "a", "gone": 2, "back": 1}},
    {"remove": {"text": "a", "gone": 0.25, "back": -1.5, "start": 1, "stop": 2}},
    {"remove": {"text": "a", "anchor": 1}},
    {"remove": {"text": "a", "anchor": True, "region": "everywhere"}},
    {"remove": {"text": "a", "mask": None}},
    {"remove": {"text": "a", "fidelity": 2}},
    {"remove": {"text": "a", "photo": "yes"}},
    {"remove": {"text": " a", "anchor": True}, "dns": {}},
    {"what": {"a": [1.5, True]}},
    [],
    3,
]

ALLOWED = [
    {},
    {"box": {"start": None, "stop": 0}},
    {"box": {"start": 5.8, "stop": 1.6, "weight": 2}},
    {"box": {"start": 3, "stop": 3}, "negatives": []},
    {"box": {"start": 0.2, "stop": 0.4, "unit": "fraction", "curve": "linear up"}},
    {"negatives": [{"text": ""}, {"text": "a", "curve": "points", "points": [[0, 1], [0.5, 0.2]]}], "combine": "perp-neg"},
    {"hires": None},
    {"hires": {}},
    {"hires": {"negatives": [{"text": "b", "stop": 5, "unit": "step"}]}, "version": 1},
    {"dns": None, "dnp": None},
    {"dns": {}},
    {"dns": {"scale": 7.5, "meaning": "host"}},
    {"dns": {"scale": None}, "box": {"weight": 0.5}},
    {"dnp": {}},
    {"dnp": {"captioner": "text", "text": "a hat", "window": {"start": 5.8}, "use": "replace"}},
    {"dnp": {"samples": 2.0, "steps": 1, "size": 0.25, "min_tokens": 0, "max_tokens": 1, "window": {}, "text": ""}},
    {"remove": None},
    {"remove": {"text": "a", "unit": "fraction"}},
    {"remove": {"text": "a", "unit": "step", "start": 9, "stop": 12}},
    {"remove": {"text": "a", "start": None, "stop": 2}},
    {"remove": {"text": "a"}},
    {"remove": {"text": "a hat", "weight": 4, "search": "window", "region": "mask", "mask": "sha256:1", "start": 3, "unit": "step", "anchor": True,
                "gone": 0, "back": 0, "every": 3.0, "photo": True, "fidelity": 0.5, "curve": "points", "points": [[0, 1]], "detector": "clip"}},
    {"dnp": {"scale": 0, "scores": True, "keep_better": False, "several": "best", "beams": 1, "captioner": "./models/x y"}},
]


@pytest.mark.parametrize("data", REFUSED, ids=json.dumps)
def test_same_words(page, data):
    with pytest.raises(SettingsError) as error:
        Settings.parse(json.dumps(data))
    said = page.evaluate(COMPLAINT, json.dumps(data))
    assert f"NegGuide: {said}" == str(error.value)


@pytest.mark.parametrize("data", ALLOWED, ids=json.dumps)
def test_same_settings(page, data):
    wanted = Settings.parse(data)
    complaints, text = page.evaluate("""(text) => {
        const {settings} = NegGuide.settings.fromText(text);
        return [NegGuide.settings.validate(settings), NegGuide.settings.toText(settings)];
    }""", json.dumps(data))
    assert complaints == []
    assert json.loads(text or "{}") == json.loads(json.dumps(wanted.to_dict()))


@st.composite
def objects(draw, model=Settings):
    """Settings whose fields are allowed, nearly allowed or nonsense, often several at a time."""
    data = {}
    rows = [row for row in editor.tables()[model.__name__] if row["name"] != "enabled"]  # the page's check box, not the editor's
    for row in draw(st.lists(st.sampled_from(rows), max_size=5, unique_by=lambda row: row["name"])):
        nested = next((one for one in editor.MODELS if one.__name__ == row["model"]), None)
        bounds = [bound for bound in (row["min"], row["max"], row["above"]) if bound is not None] or [0]
        likely = {"choice": st.sampled_from(row["choices"] or [""]), "boolean": st.booleans(), "text": st.sampled_from(["", "text", "a hat"]),
                  "number": st.floats(-1, 61).map(lambda value: round(value, 2)) | st.sampled_from(bounds),
                  "integer": st.integers(-1, 120) | st.sampled_from(bounds),
                  "points": st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)).map(list), max_size=2),
                  "object": st.nothing() if nested is None else objects(nested),
                  "objects": st.nothing() if nested is None else st.lists(objects(nested), max_size=2)}[row["kind"]]
        data[row["name"]] = draw(likely if draw(st.integers(0, 9)) else st.sampled_from([None, "x", 0.5, {"a": 1}]))
    return data


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=objects())
def test_python_and_the_editor_agree(page, data):
    """Both accept, or both refuse, and in the same words."""
    text = page.evaluate("(text) => JSON.stringify(JSON.parse(text))", json.dumps(data))  # 1 and 1.0 are one number to the page
    try:
        Settings.parse(text)
        wanted = None
    except SettingsError as error:
        wanted = str(error)
    said = page.evaluate(COMPLAINT, text)
    assert (said and f"NegGuide: {said}") == wanted


def test_words_that_are_no_json(page):
    with pytest.raises(SettingsError) as error:
        Settings.parse("{what")
    assert "NegGuide: " + page.evaluate("NegGuide.settings.fromText('{what').error.message") == str(error.value)


@pytest.mark.parametrize(("typed", "wanted"), [
    ("5.8", 5.8), (" 3 ", 3), ("", None), (".5", 0.5), ("1e1", 10), ("0,5", "0,5"), ("abc", "abc"), ("1e999", "1e999"), ("0x10", "0x10")])
def test_typed_numbers(page, typed, wanted):
    assert page.evaluate("(text) => NegGuide.settings.parseNumber(text)", typed) == wanted


@pytest.mark.parametrize(("typed", "wanted"), [
    ("0:1, 0.5:0.2", [[0, 1], [0.5, 0.2]]), ("0:1,", [[0, 1]]), ("", []), ("0:1; 1:0", [[0, 1], [1, 0]]), ("0:", "0:"), ("0:1, x", "0:1, x")])
def test_typed_points(page, typed, wanted):
    assert page.evaluate("(text) => NegGuide.settings.parsePoints(text)", typed) == wanted
