"""``bench images`` on a few pictures and steps: what it keeps, what it counts, what it draws."""

import json

import pytest

from lib_negguide.cli import main
from tests.world import images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(images, "STEPS", 4)
    monkeypatch.setattr(images, "POINTS", (0, 2, 4))
    monkeypatch.setattr(images, "WEIGHTS", (0.5, 1.0))


def bench(out, *more, seeds=3):
    assert main(["bench", "images", "--seeds", str(seeds), "--batch", "2", "--out", str(out), *more]) == 0


def test_lines_are_kept_each_in_its_file_and_measured_once(short, tmp_path, capsys):
    lines = ["--lines", "glasses-only,minus-0.5-1-from-3,alone-one-shape", "--report"]
    bench(tmp_path, *lines)
    files = {file.stem: file for file in tmp_path.glob("*.json")}
    assert set(files) == {"glasses-only", "minus-0.5-1-from-3", "alone-one-shape"}
    data = {name: json.loads(file.read_text("utf-8")) for name, file in files.items()}
    assert all(len(entry["verdicts"]) == 3 for entry in data.values())
    assert [shown["kind"] for shown in data["alone-one-shape"]["shown"]] == ["one shape"] * 3
    report = (tmp_path / "images.md").read_text("utf-8")
    assert "drawing: glasses and nothing else" in report and "## One picture minus another" in report and "curves" not in report
    before = {name: file.stat().st_mtime_ns for name, file in files.items()}
    bench(tmp_path, *lines)
    assert {name: file.stat().st_mtime_ns for name, file in files.items()} == before
    bench(tmp_path, *lines, seeds=2)
    assert len(json.loads(files["glasses-only"].read_text("utf-8"))["verdicts"]) == 2


def test_curves_meet_where_they_have_to(short, tmp_path):
    bench(tmp_path, "--lines", "curves-drawing,curves-text", "--report", seeds=4)
    for by in ("drawing", "text"):
        curves = json.loads((tmp_path / f"curves-{by}-glasses.json").read_text("utf-8"))
        count = len(curves["weight"]["1.0"])
        assert count > 0
        assert curves["start"]["0"] == curves["end"]["4"] == curves["weight"]["1.0"]
        for untouched in (curves["start"]["4"], curves["end"]["0"], curves["weight"]["0.0"]):
            assert untouched == [[True, shot[1], 0.0] for shot in untouched] and len(untouched) == count
        assert all(change > 0 for *_, change in curves["start"]["2"] + curves["weight"]["0.5"])
    assert (tmp_path / "images.png").stat().st_size > 10_000


def test_pools_show_what_they_say():
    for name, fits in images.POOLS.items():
        found = images.pool(name, 3)
        assert len(found) == 3 and all(fits(shown) for _, shown in found)
    few = images.pool("a red circle", 2) * 2
    assert [shown for _, shown in few] == [shown for _, shown in images.pool("a red circle", 2)] * 2


def test_the_negative_drawing_acts_from_its_step_on():
    painter = images.Painter.__new__(images.Painter)
    painter.host = images.EmbeddedHost.load(images.world.model())
    sigmas, _ = images.noise_levels(images.sampler("Euler"), "automatic", images.STEPS, painter.host.levels)
    window = painter.window(0.5, 3)
    acts = [images.Entry(None, "negative", window).strength(float(sigma)) for sigma in sigmas[:-1]]
    assert acts == [0.0] * 3 + [0.5] * (images.STEPS - 3)
