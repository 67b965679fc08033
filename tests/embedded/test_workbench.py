"""The command ``workbench``: pictures, JSON, sheet and report, by the small model."""

import json

import pytest
from PIL import Image

from lib_negguide import cli, world

SMALL = ["--steps", "3", "--seed", "3"]


@pytest.fixture(autouse=True)
def small(checkpoint, monkeypatch):
    monkeypatch.setattr(world, "model", lambda: checkpoint)


def test_a_grid_of_windows(tmp_path, capsys):
    out = tmp_path / "grid"
    command = ["workbench", "windows", "a portrait of a person", "-n", "glasses", "--points", "0,1,3", "--unit", "step", "--out", str(out)]
    assert cli.main([*command, *SMALL]) == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    by_name = {row["name"]: row for row in run["cells"]}
    assert list(by_name) == ["plain", "from-0-to-1", "from-0-to-3", "from-1-to-3"] and run["state"] == "done"
    acted = {name: [call["strengths"][0] for call in row["trace"]["calls"]] for name, row in by_name.items() if name != "plain"}
    assert acted == {"from-0-to-1": [1, 0, 0], "from-0-to-3": [1, 1, 1], "from-1-to-3": [0, 1, 1]}
    assert all(row["distance"] > 0 for name, row in by_name.items() if name != "plain")
    assert Image.open(out / "sheet.png").width > 500 and "data:image/png" in (out / "report.html").read_text("utf-8")
    assert "NegGuide schedule" in Image.open(out / "from-0-to-1.png").info["parameters"]
    assert str(out / "sheet.png") in capsys.readouterr().out


def test_the_four_pictures_with_a_caption_of_ones_own(tmp_path):
    out = tmp_path / "four"
    assert cli.main(["workbench", "four", "a red circle", "--caption", "a hat", "--out", str(out), *SMALL]) == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert [row["name"] for row in run["cells"]] == ["plain", "dns", "only", "guided"] and run["caption"] == "a hat"


def test_a_removal_with_the_presence_at_each_call(tmp_path, monkeypatch):
    out = tmp_path / "removal"
    assert cli.main(["workbench", "removal", "a portrait of a person", "--negative", "glasses", "--out", str(out), "--steps", "6", "--seed", "3"]) == 0
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert [row["name"] for row in run["cells"]] == ["plain", "loop", "anchor"] and Image.open(out / "sheet.png").width > 300
    for row in run["cells"][1:]:
        seen = [call["removal"]["presence"][0] for call in row["trace"]["calls"] if "removal" in call]
        assert row["trace"]["removed"] == "glasses" and any(isinstance(one, float) for one in seen) and row["distance"] > 0
    assert (out / "report.html").read_text("utf-8").count("presence") >= 2 and not run["notes"]
    monkeypatch.setattr("lib_negguide.removal.notes", lambda *_: ["reverse activation"])
    assert cli.main(["workbench", "removal", "a portrait of a person", "--negative", "glasses", "--out", str(tmp_path / "2"), "--steps", "2"]) == 0
    assert json.loads((tmp_path / "2" / "run.json").read_text("utf-8"))["notes"] == ["reverse activation"]


def test_directions_and_previews_change_no_picture(tmp_path):
    plain, seen = tmp_path / "plain", tmp_path / "seen"
    command = ["workbench", "formulas", "a portrait of a person", "-n", "glasses", "--formulas", "branches,loop", *SMALL]
    assert cli.main([*command, "--out", str(plain)]) == cli.main([*command, "--norms", "--previews", "2", "--out", str(seen)]) == 0
    run = json.loads((seen / "run.json").read_text("utf-8"))
    for row in run["cells"]:
        assert Image.open(plain / row["file"]).tobytes() == Image.open(seen / row["file"]).tobytes(), row["name"]
        norms = [call["norms"] for call in row["trace"]["calls"]]
        assert len(norms) == 3 and all(one["p"] > 0 and one["n"] > 0 and -1 <= one["cosine"] <= 1 for one in norms)
        assert [preview["call"] for preview in row["previews"]] == [1, 2]
        assert all((seen / preview["file"]).is_file() for preview in row["previews"])


@pytest.mark.parametrize(("wrong", "field"), [
    (["workbench", "windows", "a cat"], "negative"), (["workbench", "weights", "a cat", "-n", "hat", "--weights", "3"], "weights"),
    (["workbench", "weights", "a cat", "-n", "hat", "--weights", "x"], "--weights"), (["workbench", "x", "a cat"], "STRIP")])
def test_a_refusal_says_what_is_allowed(wrong, field, capsys):
    assert cli.main(wrong) == 2
    assert field in capsys.readouterr().err
