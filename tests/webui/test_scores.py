"""CLIP scores of auto-DNP in a host, by a tiny CLIP with random weights in its models folder."""

import shutil
from pathlib import Path

import pytest

from lib_negguide import world
from lib_negguide.detectors import Clip
from lib_negguide.dns import steps_of
from lib_negguide.metrics import ClipScores
from lib_negguide.settings import Dnp
from tests import tiny_clip
from tests.webui.client import same

PROMPT = "a red circle and a blue square"
SEEDS = (1, 2, 3, 4)
CAPTIONS = ("a green ring", "red", "a red circle", "a portrait of a person with glasses")
TYPED = {"captioner": "text", "text": CAPTIONS[0]}


@pytest.fixture(scope="module", autouse=True)
def clip(host):
    """The same CLIP here and there."""
    folder = Path(host.get("/sdapi/v1/cmd-flags").json()["data_dir"]) / "models" / "CLIP" / "tiny-of-a-test"
    tiny_clip.write(folder)
    host.post("/saboteur/open_clip")  # for the stand-in; the real host has none, or imports it by itself
    try:
        yield ClipScores.load(str(folder))
    finally:
        shutil.rmtree(folder)


def told(shot):
    return shot.params["NegGuide DNP"]["pictures"]


def expected(clip, shot):
    return [score.to_dict() for score in clip.scores([image.convert("RGB") for image in shot.images], [PROMPT] * len(shot.images))]


def close(one, other):
    return one.keys() == other.keys() and all(one[key] == pytest.approx(other[key], abs=2e-4) for key in one)


@pytest.fixture(scope="module")
def pairs(host):
    """(seed, caption, picture with it, without it), by the host alone."""
    return [(seed, caption, host.txt2img(prompt=PROMPT, seed=seed, negative_prompt=caption), host.txt2img(prompt=PROMPT, seed=seed))
            for seed, caption in zip(SEEDS, CAPTIONS)]


def test_scores_of_both_pictures(host, clip, pairs):
    for seed, caption, ours, plain in pairs:
        shot = host.txt2img({"dnp": {"captioner": "text", "text": caption, "scores": True}}, prompt=PROMPT, seed=seed)
        assert same(shot, ours), "to be scored changes nothing"
        scores = told(shot)[0]["scores"]
        assert close(scores["with"], expected(clip, ours)[0]) and close(scores["without"], expected(clip, plain)[0])
        assert scores["kept"] == "with"
        first = "{full:.4f}/{minimum:.4f} with".format(**scores["with"])
        assert f'NegGuide scores: "{first}, ' in shot.infotexts[0]


def test_the_better_one_is_kept(host, pairs):
    kept = []
    for seed, caption, ours, plain in pairs:
        shot = host.txt2img({"dnp": {"captioner": "text", "text": caption, "keep_better": True}}, prompt=PROMPT, seed=seed)
        scores = told(shot)[0]["scores"]
        kept.append(scores["kept"])
        assert kept[-1] == ("without" if scores["without"]["minimum"] > scores["with"]["minimum"] else "with")
        assert same(shot, plain if kept[-1] == "without" else ours)
    assert set(kept) == {"with", "without"}, "choose captions of both kinds"


def test_batches(host):
    shot = host.txt2img({"dnp": {**TYPED, "scores": True}}, prompt=PROMPT, seed=SEEDS[0], batch_size=2, n_iter=2)
    alone = [host.txt2img({"dnp": {**TYPED, "scores": True}}, prompt=PROMPT, seed=seed) for seed in SEEDS]
    for row, one, text in zip(told(shot), alone, shot.infotexts[-4:]):
        assert close(row["scores"]["with"], told(one)[0]["scores"]["with"])
        assert "{full:.4f}/".format(**row["scores"]["with"]) in text


def test_the_negative_picture_that_is_least_like_the_prompt(host):
    if not host.has_script("Saboteur"):
        pytest.skip("needs the captioner of tests/webui/saboteur")
    shot = host.txt2img({"dnp": {"captioner": "colours", "samples": 3, "several": "best"}}, prompt=PROMPT, seed=31)
    row, = told(shot)
    assert len({one["score"] for one in row["shown"]}) > 1
    assert row["caption"] == min(row["shown"], key=lambda one: one["score"])["caption"]


def test_the_four_pictures_of_the_script_are_scored(host, clip):
    """The picture without the caption is one of the four: it is not made again."""
    before = host.get("/saboteur/seen").json()["calls"] if host.has_script("Saboteur") else None
    shot = host.txt2img({"dnp": TYPED}, script_name="diffusion-negative prompting", script_args=[{"mode": "four pictures", "scores": True}],
                        prompt=PROMPT, seed=SEEDS[0])
    if before is not None:
        assert host.get("/saboteur/seen").json()["calls"] - before == 3 * 4 + steps_of(Dnp(), 4)
    scores = told(shot)[0]["scores"]
    for which, number in (("without", 1), ("with", 4)):
        assert scores[which] == pytest.approx(clip.scores([shot.images[number].convert("RGB")], [PROMPT])[0].to_dict(), abs=2e-4)
    assert "NegGuide scores" in shot.infotexts[4] and "NegGuide scores" not in shot.infotexts[1]


def test_the_small_clip_looks_in_a_removal(host):
    """Trained weights: late in the run it says what CLIP says of the picture."""
    folder = Path(host.get("/sdapi/v1/cmd-flags").json()["data_dir"]) / "models" / "CLIP" / "small-world"  # before the tiny one
    remove = {"remove": {"text": "hat", "detector": "clip", "stop": None, "weight": 0.01}}
    shutil.copytree(world.clip(), folder)
    try:
        shot = host.txt2img(remove, prompt=world.PROMPT, seed=1, steps=12, batch_size=3)
    finally:
        shutil.rmtree(folder)
    seen = [call["removal"]["presence"] for call in shot.calls() if call.get("removal")]
    late = [values for values in seen if None not in values][-1]
    own = Clip(ClipScores.load(str(world.clip())), "hat", [world.PROMPT] * 3)
    assert late == pytest.approx(own.of_pictures([image.convert("RGB") for image in shot.images[-3:]], range(3)), abs=0.1)
    assert max(late) - min(late) > 0.1, "all alike: this test could not fail"
