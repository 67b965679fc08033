"""`bench windows` measures what it says: shared beginnings, resuming, the report."""

import json

import pytest
from PIL import Image

from lib_negguide import cli, world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.world import ban

STEPS, POINTS = 6, "0,2,6"
COMMAND = ["bench", "windows", "--attribute", "glasses", "--steps", str(STEPS), "--points", POINTS, "--batch", "4"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("windows")


@pytest.fixture(scope="module")
def pictures(out):
    assert cli.main([*COMMAND, "--seeds", "2", "--out", str(out)]) == 0
    return json.loads((out / "glasses.json").read_text())["pictures"]


def test_both_kinds_are_there(pictures):
    with_start = [picture for picture in pictures.values() if picture["start"]]
    with_end = [picture for picture in pictures.values() if picture["end"]]
    assert len(with_start) == 2 and all(picture["base"] for picture in with_start)
    assert len(with_end) == 4


def test_the_ends_of_the_curves(pictures):
    for picture in pictures.values():
        if picture["start"]:
            assert picture["start"]["6"] == [1, 1, 0, 0, 0]  # never on: the picture without a negative
            assert picture["start"]["0"][:2] == picture["end"]["6"][:2]  # always on, either way
            assert picture["start"]["0"][2:] == pytest.approx(picture["end"]["6"][2:], abs=2e-4)
        if picture["end"]:
            assert picture["end"]["0"][2:] == [0, 0, 0]


@pytest.mark.parametrize(("kind", "window"), [("start", {"start": 2}), ("end", {"stop": 2})])
def test_shared_beginnings_give_the_pictures_of_the_window(pictures, kind, window):
    seed, picture = next((int(seed), picture) for seed, picture in pictures.items() if picture["start"])
    host = EmbeddedHost.load(world.model())

    def image(*negatives):
        settings = Settings.parse({"negatives": negatives})
        return host.sample([world.PROMPT], [seed], settings, steps=STEPS, cfg_scale=world.GUIDANCE, size=world.SIZE).images

    change = (image({"text": "glasses", "unit": "step", **window}) - image()).abs().mean().item()
    assert change == pytest.approx(picture[kind]["2"][2], abs=2e-4)


def test_the_report(pictures, out):
    report = (out / "glasses.md").read_text()
    assert report.count("| k ") == 3 and "∞" in report
    assert Image.open(out / "glasses.png").size[0] > 1000


def test_going_on_and_refusing_other_settings(pictures, out, capsys):
    assert cli.main([*COMMAND, "--seeds", "1", "--out", str(out)]) == 0  # all measured already
    assert json.loads((out / "glasses.json").read_text())["pictures"] == pictures
    assert cli.main([*COMMAND, "--seeds", "1", "--cfg", "3", "--out", str(out)]) == 2
    assert "--out" in capsys.readouterr().err


def test_figures_of_a_point():
    shots = [ban.Shot(True, True, 0.1, 0.0, 0.01), ban.Shot(False, True, 0.3, 0.2, 0.03)]
    point = ban.Point.of_shots(5, shots, hit=False)
    assert (point.share, point.of, point.persons) == (0.5, 2, 2)
    assert point.l1 == pytest.approx(51) and point.outside == pytest.approx(25.5) and point.psnr == pytest.approx(16.99, abs=0.01)
    assert point.interval[0] < 0.5 < point.interval[1]
