"""The workbench without a host: what may be asked for, the cells of each strip, what is made once, what is kept."""

from contextlib import contextmanager

import pytest
from PIL import Image

from lib_negguide.background import Cancelled
from lib_negguide.dns import Interrupted
from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.settings import Removal, Settings
from lib_negguide.workbench import report, traces
from lib_negguide.workbench.directions import chosen, directions
from lib_negguide.workbench.form import FORMULAS, STRIPS, Form
from lib_negguide.workbench.outcome import Made, begun, distance, perform
from lib_negguide.workbench.runs import NoSuchRun, Runs
from lib_negguide.workbench.sheet import sheet
from lib_negguide.workbench.strips import cells

BASE = {"prompt": "a cat", "negative": "hat", "seed": 7, "steps": 30}
TRACE = {"names": ["hat <b>"], "calls": [{"sigma": 14.0 / (n + 1), "strengths": [0.5 * (n > 1)], "extra_evaluations": 0} for n in range(6)]}


def form(**changes):
    return Form.parse({**BASE, **changes})


class Skipped(Interrupted):
    skipped = True


class Painter:
    """Pictures of one colour each; ``stop``: number of the picture at which the user ends or skips."""

    def __init__(self, stop=None, error=Interrupted, clip=None):
        self.painted, self.stop, self.error, self.clip = [], stop, error, clip

    def paint(self, cell):
        if len(self.painted) == self.stop:
            self.stop = None
            raise self.error()
        self.painted.append(cell)
        shade = 40 * (len(self.painted) - 1)
        return Made(Image.new("RGB", (16, 16), (shade, shade, shade)), f"{cell.prompt}\nSteps: 4", TRACE)

    def opposite(self, cell):
        made = self.paint(cell)
        made.caption = "a dog"
        return made

    @contextmanager
    def scores(self):
        if self.clip is None:
            raise ModelError("NegGuide: no CLIP here")
        yield self.clip


def performed(asked, painter, tell=lambda *told: None):
    return perform(asked, painter, begun(asked, "20260101-000000"), tell)


# ---- what may be asked for


@pytest.mark.parametrize(("changes", "field"), [
    ({"strip": "x"}, "strip"), ({"prompt": 5}, "prompt"), ({"negative": " "}, "negative"), ({"seed": -2}, "seed"), ({"seed": 1.5}, "seed"),
    ({"points": [0]}, "points"), ({"points": [0, 0]}, "points"), ({"points": [0, 1.5]}, "points"), ({"points": ["0", 1]}, "points"),
    ({"weights": [2.1]}, "weights"), ({"weights": []}, "weights"), ({"formulas": ["x"]}, "formulas"), ({"formulas": []}, "formulas"),
    ({"window": {"start": 1, "stop": 2}}, "window.start"), ({"steps": 0}, "steps"), ({"width": 65}, "width"), ({"clip": 1}, "clip"),
    ({"strip": "four", "captioner": "text"}, "captioner"), ({"more": 1}, "more")])
def test_a_refusal_names_field_value_and_what_is_allowed(changes, field):
    with pytest.raises(SettingsError) as caught:
        form(**changes)
    assert caught.value.field.split("[")[0] == field and caught.value.allowed


# ---- cells


def test_the_grid_has_each_pair_of_start_and_end_in_the_order_of_the_run():
    found = cells(form(points=[1, 0, 0.5]))
    assert [(cell.row, cell.column) for cell in found] == [
        ("", ""), ("from step 0", "to step 15"), ("from step 0", "to step 30"), ("from step 15", "to step 30")]
    window = found[3].settings.negatives[0]
    assert (window.start, window.stop, window.unit, window.text) == (0.5, 1, "fraction", "hat")
    falling = cells(form(points=[1.6, 5.8, 14], unit="sigma"))
    assert [(cell.settings.negatives[0].start, cell.settings.negatives[0].stop) for cell in falling[1:]] == [(14, 5.8), (14, 1.6), (5.8, 1.6)]


@pytest.mark.parametrize("strip", STRIPS)
def test_every_cell_is_allowed_and_the_first_is_the_picture_without_the_negative(strip):
    found = cells(form(strip=strip, negative_prompt="fog"), "a dog")
    assert (found[0].settings, found[0].negative_prompt) == (Settings(enabled=False), "fog")
    assert len({cell.name for cell in found}) == len(found) > 1
    for cell in found:
        assert Settings.parse(cell.settings.to_dict()) == cell.settings


def test_formulas():
    found = {cell.name: cell for cell in cells(form(strip="formulas", negative_prompt="fog"))}
    assert list(found) == ["plain", *FORMULAS]
    assert found["stock"].negative_prompt == "fog, hat" and not found["stock"].settings.enabled
    assert (found["window"].settings.negatives[0].start, found["window"].settings.negatives[0].stop) == (5.8, 1.6)
    assert found["loop"].settings == Settings(remove=Removal(text="hat"))
    assert [found[name].settings.combine for name in ("window", "branches", "perp-neg")] == ["join", "branches", "perp-neg"]
    narrow = cells(form(strip="formulas", formulas=["window"], window={"start": 3}))[1]
    assert (narrow.settings.negatives[0].start, narrow.title) == (3, "window σ 3 to …")


def test_removal_in_a_closed_loop_and_with_the_rest_kept():
    plain, loop, anchor = cells(form(strip="removal", negative_prompt="fog"))
    assert plain.name == "plain" and (loop.settings, anchor.settings) == (
        Settings(remove=Removal(text="hat")), Settings(remove=Removal(text="hat", anchor=True)))
    assert {cell.negative_prompt for cell in (plain, loop, anchor)} == {"fog"}
    assert loop.settings == next(cell.settings for cell in cells(form(strip="formulas")) if cell.name == "loop")
    with pytest.raises(SettingsError):
        form(strip="removal", negative="")


def test_the_four_pictures_of_the_paper():
    asked = form(strip="four", negative_prompt="fog")
    assert [cell.name for cell in cells(asked)] == ["plain", "dns"]
    _, dns, only, guided = cells(asked, "a dog")
    assert dns.settings.dns is not None and (only.prompt, only.negative_prompt) == ("", "a dog")
    assert (guided.settings.dnp.captioner, guided.settings.dnp.text, guided.negative_prompt) == ("text", "a dog", "fog")


# ---- making them


def test_a_strip_is_made_with_distances_and_told_of():
    told = []
    run = performed(form(strip="weights", weights=[0.5, 1]), Painter(), lambda done, total, *_: told.append((done, total)))
    assert run["state"] == "done" and [row["distance"] for row in run["cells"]] == [None, 40.0, 80.0]
    assert told == [(0, 3), (1, 3), (1, 3), (2, 3), (2, 3), (3, 3)]


def test_equal_cells_are_sampled_once():
    painter = Painter()
    asked = form(strip="formulas", formulas=["window", "branches"])
    run = performed(asked, painter)
    assert len(painter.painted) == len(run["cells"]) == 3
    same = Painter()
    run = performed(form(strip="four", prompt="a dog", negative_prompt=""), same)
    assert [row["name"] for row in run["cells"]] == ["plain", "dns", "only", "guided"] and run["caption"] == "a dog"
    empty = form(strip="formulas", formulas=["stock", "branches"], negative_prompt="")
    assert len({cell.makes for cell in cells(empty)}) == 3


def test_what_is_there_stays_after_an_interrupt_and_a_skip_leaves_out_one():
    run = performed(form(strip="weights"), Painter(stop=2))
    assert run["state"] == "interrupted" and len(run["cells"]) == 2
    run = performed(form(strip="weights"), Painter(stop=2, error=Skipped))
    assert run["state"] == "done" and len(run["cells"]) == 6 and run["notes"] == ["skipped: weight 0.5"]

    def cancel(done, *_):
        if done == 1:
            raise Cancelled("x")

    assert performed(form(strip="weights"), Painter(), cancel)["state"] == "interrupted"


def test_a_failure_is_said_in_the_run_too():
    asked = form(strip="weights")
    run = begun(asked, "x")
    with pytest.raises(ModelError):
        perform(asked, Painter(stop=1, error=lambda: ModelError("NegGuide: broken")), run, lambda *_: None)
    assert (run["state"], run["error"], len(run["cells"])) == ("failed", "NegGuide: broken", 1)


def test_clip_where_it_is_and_where_it_is_not():
    from lib_negguide.metrics import Score

    class Clip:
        def scores(self, images, prompts):
            assert prompts == ["a cat"] * 3
            return [Score(0.1 * n) for n, _ in enumerate(images)]

    asked = form(strip="weights", weights=[0.5, 1], clip=True)
    assert [row["clip"]["full"] for row in performed(asked, Painter(clip=Clip()))["cells"]] == [0.0, 0.1, 0.2]
    run = performed(asked, Painter())
    assert run["state"] == "done" and "no CLIP here" in run["notes"][0]


def test_the_distance_is_the_mean_absolute_difference():
    black, grey = Image.new("RGB", (4, 4)), Image.new("RGB", (8, 8), (10, 20, 60))
    assert distance(black, black) == 0 and distance(black, grey) == 30


# ---- keeping them


def kept(tmp_path, limit=50, **changes):
    runs = Runs(tmp_path / "runs", limit)
    identity = runs.new()
    folder = runs.at(identity)
    asked = form(**changes)
    run = perform(asked, Painter(), begun(asked, identity), lambda done, total, run, row, made: row and folder.add(row, made))
    folder.finish(run)
    return runs, identity


@pytest.mark.parametrize("strip", STRIPS)
def test_a_run_is_kept_with_sheet_and_thumbnail(tmp_path, strip):
    runs, identity = kept(tmp_path, strip=strip, points=[0, 0.5, 1])
    run = runs.of(identity).read()
    files = [*(row["file"] for row in run["cells"]), "sheet.png", "thumbnail.jpg", "run.json"]
    assert all(runs.file(identity, name).is_file() for name in files)
    assert runs.of(identity).image("plain.png").info["parameters"].startswith("a cat")
    (row,) = runs.listed()
    assert (row["id"], row["strip"], row["cells"], row["thumbnail"]) == (identity, strip, len(run["cells"]), True)
    assert sheet(run, lambda name: Image.new("RGB", (64, 96))).width > 132
    runs.delete(identity)
    assert runs.listed() == []


@pytest.mark.parametrize("name", ["../run.json", "sheet.PNG", "..", "", "x.png", "/etc/passwd", "run.json.part"])
def test_no_other_file_is_given(tmp_path, name):
    runs, identity = kept(tmp_path, strip="weights")
    with pytest.raises(NoSuchRun):
        runs.file(identity, name)
    for other in ("..", ".", "x", identity + "/..", identity + "-9"):
        with pytest.raises(NoSuchRun):
            runs.delete(other)


def test_the_oldest_runs_go_and_broken_ones_are_left_out(tmp_path):
    runs, first = kept(tmp_path, limit=2, strip="weights", weights=[1])
    others = [kept(tmp_path, limit=2, strip="weights", weights=[1])[1] for _ in range(2)]
    runs.make_room(others[-1])
    assert [row["id"] for row in runs.listed()] == others[::-1] and first not in others
    (runs.folder / others[0] / "run.json").write_text("{")
    assert [row["id"] for row in runs.listed()] == others[1:]


def test_a_run_that_a_crash_left_at_work_has_failed(tmp_path):
    runs = Runs(tmp_path)
    gone, now = runs.new(), runs.new()
    for identity in (gone, now):
        runs.at(identity).write(begun(form(), identity))
    runs.mend(now)
    assert [runs.of(identity).read()["state"] for identity in (gone, now)] == ["failed", "running"]


# ---- the report


@pytest.mark.parametrize("strip", ["windows", "four"])
def test_the_report_is_one_file_that_needs_nothing_else(tmp_path, strip):
    runs, identity = kept(tmp_path, strip=strip, prompt="<script>alert(1)</script>", points=[0, 0.5, 1])
    text = report.html_of(runs.of(identity).read(), runs.of(identity).path)
    assert text.count("data:image/png;base64,") == 4 and text.count("<svg") == 4
    assert "<script" not in text and "<b>hat" not in text
    assert not [word for word in ("http://", "https://", "src='/", "href=") if word in text.replace("http://www.w3.org/2000/svg", "")]


def test_a_trace_is_drawn_level_over_each_call():
    drawn = traces.svg(TRACE)
    assert drawn.count("<path") == 1 and "σ 14" in drawn and "hat &lt;b&gt;" in drawn
    assert traces.svg({}) == "" == traces.svg({"names": [], "calls": TRACE["calls"]})


def test_a_removal_is_drawn_too():
    calls = [{"sigma": 9.0, "strengths": []}, {"sigma": 5.0, "strengths": [], "removal": {"strengths": [2.0], "presence": [0.3]}}]
    trace = {"names": [], "calls": calls, "removed": "hat"}
    assert traces.series(trace) == [("hat", [0.0, 2.0])] and traces.signals(trace) == [("presence", [None, 0.3], 0.0, 0.3)]
    seen = Made(None).observed([{"p": 2.0, "n": 1.0, "cosine": -1.0}] * 2, [9.0, 5.0]).trace
    assert [label for label, *_ in traces.signals(seen)] == list(traces.NORMS.values()) and traces.svg(seen).count("<polyline") == 3


# ---- directions


def test_directions_are_lengths_in_eps_and_a_cosine():
    import torch

    d_u = torch.zeros(1, 4, 2, 2)
    d_p, d_n = d_u.clone(), d_u.clone()
    d_p[0, 0], d_n[0, 1] = 3.0, 1.0
    told = directions(d_p, d_u, d_n, sigma=2.0)
    assert told == {"p": 0.75, "n": 0.25, "cosine": 0.0}, "x0 form: differences over sigma, root mean square of 16 numbers"
    assert directions(d_p, d_u, -d_p, 2.0, is_eps=True) == {"p": 1.5, "n": 1.5, "cosine": -1.0}
    assert directions(d_u, d_u, d_n, 1.0)["cosine"] == 0.0


def test_calls_for_previews():
    assert [list(chosen(*case)) for case in ((0, 10), (1, 10), (3, 10), (12, 4))] == [[], [9], [2, 6, 9], [0, 1, 2, 3]]


def test_what_was_seen_is_in_the_trace_also_where_negguide_was_off():
    seen = [{"p": 1.0, "n": 0.5, "cosine": 0.1}] * 2
    assert [call["extra_evaluations"] for call in Made(None).observed(seen, [9.0, 1.0]).trace["calls"]] == [2, 2]
    made = Made(None, trace={"names": ["hat"], "calls": [{"sigma": 9.0, "strengths": [1], "extra_evaluations": 1}] * 2}).observed(seen, [])
    assert [(call["norms"]["n"], call["extra_evaluations"]) for call in made.trace["calls"]] == [(0.5, 3)] * 2
    assert made.trace["names"] == ["hat"] and Made(None).observed([], []).trace == {}
