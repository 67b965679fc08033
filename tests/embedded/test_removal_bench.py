"""`bench removal` measures what it says: shared beginnings, resuming, prices, the report."""

import json

import pytest
import torch
from PIL import Image

from lib_negguide import cli, world
from lib_negguide.settings import Settings
from tests.world import removal, removal_report
from tests.world.judge import Judge, Verdict

STEPS = 8
COMMAND = ["bench", "removal", "--things", "hat", "--steps", str(STEPS), "--seeds", "2", "--searched", "1", "--batch", "4"]
KEYS = "none,full,from-3,loop,loop-anchor,loop-clip,loop-caption,loop-attention,loop-ratio,exhaustive-3"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("removal")


@pytest.fixture(scope="module")
def measured(out):
    removal_tried, removal.TRIED = removal.TRIED, 8
    assert cli.main([*COMMAND, "--lines", KEYS, "--out", str(out)]) == 0
    removal.TRIED = removal_tried
    return {key: json.loads((out / "hat" / f"{key}.json").read_text())["pictures"] for key in KEYS.split(",")}


def test_without_a_negative_nothing_changes(measured):
    for gone, kept, l1, mse, far, spent, alone in measured["none"].values():
        assert (gone, kept, l1, mse, far, spent, alone) == (0, 1, 0, 0, 0, 2 * STEPS, 2 * STEPS)


def test_prices(measured):
    for seed in measured["none"]:
        assert measured["full"][seed][5:] == measured["from-3"][seed][5:] == [2 * STEPS] * 2
        spent, alone = measured["loop"][seed][5:]
        assert 2 * STEPS < spent == alone <= 2 * STEPS + STEPS // 2
        for key in ("clip", "caption", "attention", "ratio"):
            spent, alone = measured[f"loop-{key}"][seed][5:]
            looks = 3 if key == "ratio" else 0  # a prediction of its own at calls 0, 2 and 4; the others look at what is there
            assert 2 * STEPS + looks <= spent == alone <= 2 * STEPS + STEPS // 2 + looks
        spent, alone = measured["loop-anchor"][seed][5:]
        assert alone == spent + 2 * STEPS  # the picture without the removal
    (spent, alone), = [shot[5:] for shot in measured["exhaustive-3"].values()]
    assert alone % (2 * STEPS) == 0 and (spent < alone or alone == 2 * STEPS)


@pytest.mark.parametrize(("key", "start"), [("from-3", 3), ("loop", None)])
def test_shared_beginnings_give_the_pictures_of_the_settings(measured, key, start):
    host, seed = removal.EmbeddedHost.load(world.model()), int(next(iter(measured["none"])))
    line = next(line for line in removal.lines() if line.key == key)
    settings = Settings.parse({"remove": {"text": "hat", **line.remove}})

    def image(own):
        return host.sample([world.PROMPT], [seed], own, steps=STEPS, cfg_scale=world.GUIDANCE, size=world.SIZE).images

    plain = image(Settings())
    mask = removal.outside(removal.THINGS["hat"], plain, Judge.load()(plain))
    l1 = ((image(settings) - plain).abs() * mask).sum() / (3 * mask.sum())
    assert l1.item() == pytest.approx(measured[key][str(seed)][2], abs=2e-4) and l1 > 0


def test_the_written_out_defaults_are_the_defaults():
    own = Settings.parse({"remove": {"text": "hat"}}).remove
    written = Settings.parse({"remove": {"text": "hat", **removal.LOOP}}).remove
    assert (own.start, own.stop, own.every, own.weight, own.region) == (written.start, written.stop, written.every, 2.0, "object")
    for line in (removal.LOOP, removal.KEPT):
        own = removal.detectors.Presence(Settings.parse({"remove": {"text": "hat", **line}}).remove)
        assert (own.gone, own.back) == (line["gone"], line["back"])


def test_the_report_and_resuming(measured, out, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(removal.Bench, "pictures", lambda *_: pytest.fail("measured again"))
        assert cli.main([*COMMAND, "--lines", KEYS, "--out", str(out)]) == 0
    assert cli.main([*COMMAND, "--report", "--pictures", "2", "--out", str(out)]) == 0
    assert Image.open(out / "hat.png").width > 400
    report = (out / "removal.md").read_text()
    assert "## Goals" in report and report.count("| closed loop, the default") == 2 and (out / "removal.png").is_file()


def test_the_circle_is_found_by_its_colour():
    images = torch.full((1, 3, 64, 64), 0.9)
    images[0, :, 20:30, 40:50] = torch.tensor([222, 40, 40])[:, None, None] / 255
    images[0, :, 20:30, 5:15] = torch.tensor([40, 70, 225])[:, None, None] / 255
    verdict = Verdict("two shapes", shapes=(("blue", "ring"), ("red", "circle")))
    thing = removal.THINGS["circle"]
    mask = removal.outside(thing, images, [verdict])[0, 0]
    assert mask[17:33, 37:53].sum() == 0 and mask.sum() == 64 * 64 - 16 * 16
    assert thing.shown(verdict) and not thing.gone(verdict) and thing.gone(Verdict("one shape", shapes=(("blue", "ring"),)))
    assert thing.kept(verdict, Verdict("one shape", shapes=(("blue", "ring"),)))
    assert not thing.kept(verdict, Verdict("one shape", shapes=(("red", "ring"),)))


def test_a_feature_distance_is_none_of_the_same_and_grows():
    judge, images = Judge.load(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        near, far = (removal.perceptual(judge, images, images + amount * torch.randn_like(images)) for amount in (0.02, 0.3))
        assert (removal.perceptual(judge, images, images) == 0).all() and (near < far).all()


def test_another_sampler_shares_no_beginnings(tmp_path, monkeypatch):
    monkeypatch.setattr(removal, "TRIED", 8)
    keys = "full,loop,loop-anchor,exhaustive"
    assert cli.main([*COMMAND, "--seeds", "1", "--sampler", "Heun", "--lines", keys, "--out", str(tmp_path)]) == 0
    found = {path.stem: json.loads(path.read_text())["pictures"] for path in (tmp_path / "hat-Heun").iterdir()}
    calls = 2 * (STEPS - 1) + 1
    assert sorted(found) == ["full", "loop"] and all(shot[5] == 2 * calls for shot in found["full"].values())
    assert all(2 * calls < shot[5] < 3 * calls for shot in found["loop"].values())


def shot(gone, l1, evaluations=65.0):
    return removal.Shot(gone, True, l1, l1**2, l1, evaluations, evaluations)


def test_goals_are_counted_on_the_same_seeds():
    line = next(line for line in removal.lines() if line.key == "loop")
    full = {"1": shot(True, 0.2), "2": shot(True, 0.1), "3": shot(False, 0.9)}
    row = removal_report.Row(line, {"1": shot(True, 0.05), "2": shot(False, 0.05)}, full, 60)
    assert row.both() == (1, pytest.approx(255 * 0.05), pytest.approx(255 * 0.2))
    assert row.cost == pytest.approx(65 / 60) and row.mean("l1", of_full=True) == pytest.approx(0.15)
    (_, _, removed, distance, cost), = removal_report.goals("hat", [row])
    assert removed.startswith("**missed**: 50.0% against 100.0%") and distance == "33% of the full run's" and cost == "1.08 samplings"


@pytest.mark.parametrize("arguments", [("--seeds", "many"), ("--seeds", "0"), ("--things", "teeth")])
def test_wrong_arguments(arguments, capsys):
    assert cli.main(["bench", "removal", *arguments]) != 0
    assert arguments[1] in capsys.readouterr().err
