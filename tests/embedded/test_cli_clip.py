"""CLIP scores on the command line, by a model in a folder."""

import json

import pytest
from PIL import Image

from lib_negguide.commands import common
from lib_negguide.metrics import ClipScores
from tests import tiny_clip

from .test_cli import run  # noqa: F401 (a fixture)

PROMPT = "a red circle and a blue triangle"
FAST = ("--steps", 3)


@pytest.fixture(autouse=True)
def loaded(host, monkeypatch):
    """The model is loaded once for all command lines."""
    monkeypatch.setattr(common, "load", lambda arguments: host)


def test_scores_by_a_clip_of_ones_own(run, tmp_path):  # noqa: F811
    folder = tiny_clip.write(tmp_path / "clip")
    code, _, err = run("dnp", PROMPT, "--seeds", "1-2", "--scores", "--caption", "a hat", "--clip", folder, *FAST)
    assert code == 0, err
    made = [json.loads(line) for line in (tmp_path / "out/dnp/results.jsonl").read_text("utf-8").splitlines()]
    assert len(made) == 2
    for line in made:
        pictures = [Image.open(tmp_path / "out/dnp" / line["files"][kind]) for kind in ("picture", "plain")]
        ours, plain = ClipScores.load(str(folder)).scores(pictures, [PROMPT] * 2)
        for which, score in (("with", ours), ("without", plain)):
            assert line["scores"][which]["full"] == pytest.approx(score.full, abs=2e-4)
            assert line["scores"][which]["minimum"] == pytest.approx(score.minimum, abs=2e-4)


def test_a_clip_that_is_not_there(run, tmp_path):  # noqa: F811
    code, _, err = run("dnp", PROMPT, "--scores", "--caption", "a hat", "--clip", tmp_path / "absent", *FAST)
    assert code == 1 and "absent" in err and "neither a file, a folder, nor a hub id" in err
    assert not list(tmp_path.glob("out/dnp/*.png"))
