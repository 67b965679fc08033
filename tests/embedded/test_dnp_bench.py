"""`bench dnp`: the figures, what is sampled, and that nothing is sampled twice."""

import json

import pytest
from PIL import Image

from lib_negguide import cli, world
from lib_negguide.commands import common, dnp_bench, dnp_report, dnp_rows
from lib_negguide.commands.dnp_rows import Metric, Pair, Task
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.metrics import Score
from tests import tiny_clip
from tests.world import dnp
from tests.world.judge import Verdict

PAIR = "a red circle and a blue ring"
QUICK = ["--pairs", "3", "--steps", "2"]


@pytest.mark.parametrize(("verdict", "prompt", "shares"), [
    (Verdict("two shapes", shapes=(("blue", "ring"), ("red", "circle"))), PAIR, [1, 1]),
    (Verdict("two shapes", shapes=(("red", "circle"), ("red", "ring"))), PAIR, [1, 0.5]),
    (Verdict("two shapes", shapes=(("red", "circle"), ("red", "circle"))), PAIR, [1, 0]),
    (Verdict("one shape", shapes=(("blue", "circle"),)), PAIR, [0.5, 0]),
    (Verdict("portrait", hat=True), PAIR, [0, 0]),
    (Verdict("portrait", hat=True), "a portrait of a person with glasses and a hat", [0, 1]),
    (Verdict("one shape", shapes=(("red", "ring"),)), "a portrait of a person with glasses and a hat", [0, 0]),
    (Verdict("portrait"), "a bare face", [1]),
])  # fmt: skip
def test_objects_found(verdict, prompt, shares):
    assert sorted(dnp.found(verdict, prompt)) == sorted(shares)


@pytest.mark.parametrize(("caption", "prompt", "lacks"), [
    ("a blue ring and a red circle", PAIR, False),
    ("a blue ring and a red ring", PAIR, True),
    ("a bare face", PAIR, True),
    ("", PAIR, True),
    ("a portrait of a person with glasses and a hat", "a portrait of a person with a hat", False),
    ("a bare face", "a portrait of a person with a hat", True),
])  # fmt: skip
def test_a_caption_that_tells_of_a_failure(caption, prompt, lacks):
    assert dnp.lacks(caption, prompt) is lacks
    assert dnp.JudgeScorer().failures([caption], [prompt]) == [caption if lacks else ""]


def test_a_prompt_of_another_world_is_refused():
    with pytest.raises(ValueError, match="castle"):
        dnp.asked("a castle")


@pytest.mark.parametrize("name", dnp.CATEGORIES)
def test_pairs_of_a_smaller_count_are_the_first_of_a_larger(name):
    many = dnp.category(name, 40).pairs
    assert dnp.category(name, 10).pairs == many[:10]
    assert len({pair.seed for pair in many}) == 40
    assert all(dnp.asked(pair.prompt).kind in ("two shapes", "portrait") for pair in many)


def test_the_judge_scores_pictures():
    from tests.world.draw import draw

    scorer = dnp.JudgeScorer()
    picture, shown = next(found for found in map(draw, (f"dnp test {i}" for i in range(50))) if found[1].kind == "two shapes")
    said = scorer.describe([picture])[0]
    assert scorer.agree([said, "a bare face"], [picture, picture]) == [True, False]
    own, other = scorer.scores([picture, picture], [said, "a portrait of a person with a hat"])
    assert own == {"all": 1, "minimum": 1, "kind": 1, "nothing": 0, "no word": 0}
    assert other == {"all": 0, "minimum": 0, "kind": 0, "nothing": 1, "no word": 1}


def test_statistics():
    assert dnp_report.wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert dnp_report.wilson(0, 10)[0] == 0 and dnp_report.wilson(10, 10)[1] == 1
    assert dnp_report.sign_test(8, 2) == pytest.approx(0.109375)
    assert dnp_report.sign_test(3, 3) == dnp_report.sign_test(0, 0) == 1
    mean, low, high = dnp_report.mean_interval([0, 1, 0, 1])
    assert (mean, high - mean) == pytest.approx((0.5, 1.96 * (1 / 3 / 4) ** 0.5)) and low == pytest.approx(1 - high)


def test_against_plain():
    plain, row = [{"x": 0.0}, {"x": 1.0}, {"x": 1.0}, {"x": 0.0}], [{"x": 1.0}, {"x": 0.0}, {"x": 1.0}, {"x": 1.0}]
    found = dnp_report.Against.of("x", row, plain)
    assert (found.won, found.lost, found.difference[0]) == (2, 1, 0.25)


def test_another_prompts_caption():
    pairs = [Pair("a" if i % 3 else "b", i) for i in range(20)]
    chosen = dnp_rows.others(pairs)
    assert all(pairs[i].prompt != pair.prompt for i, pair in zip(chosen, pairs, strict=True))
    assert chosen == dnp_rows.others(pairs)
    with pytest.raises(ValueError):
        dnp_rows.others([Pair("a", 1), Pair("a", 2)])


def test_clip_scores_take_the_judges_place():
    class Clip:
        name = "a clip"

        def scores(self, images, prompts):
            return [Score(0.3, 0.2), Score(0.25)]

    scorer = dnp_rows.ClipScorer(Clip())
    assert scorer.scores([None, None], ["a and b", "a"]) == [{"full": 0.3, "minimum": 0.2}, {"full": 0.25, "minimum": 0.25}]
    assert scorer.describe([]) is None and scorer.failures([], []) is None and scorer.wrong([]) is None and scorer.agree([], []) is None
    rows = [dnp_report.Row(name, [{"full": value, "minimum": value}] * 4, 1.5) for name, value in (("plain", 0.25), ("other", 0.5))]
    assert "+0.2500 (+0.2500 to +0.2500) | 4 / 0" in dnp_report.table(scorer.metrics, rows)


def test_shares_and_means_as_text():
    scores = [{"x": 1.0}] * 5 + [{"x": 0.0}] * 5
    assert dnp_report.cell(Metric("x", "X", share=True), scores) == "50.0% (23.7–76.3)"
    assert dnp_report.cell(Metric("x", "X"), scores) == "0.500 ± 0.327"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A folder in which the bench has run."""
    out = tmp_path_factory.mktemp("bench")
    written = 'half={"dnp": {"window": {"weight": 0.5}, "scale": 2}}'
    assert cli.main(["bench", "dnp", *QUICK, "--out", str(out), "--variant", written]) == 0
    return out


def test_report(reports):
    text = (reports / "guidance-5.md").read_text("utf-8")
    for word in ("two shapes: 3 pairs", "portraits: 3 pairs", "| auto-DNP", "| true (upper bound)", "| own failure", "### Where the negatives push, two shapes", "| dictionary", "| random", "| half"):
        assert word in text
    for name in ("guidance-5.png", "four-guidance-5.png"):
        with Image.open(reports / name) as image:
            assert image.width > 500


def test_nothing_is_sampled_twice(reports, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("sampled")

    before = (reports / "guidance-5.md").read_text("utf-8")
    monkeypatch.setattr(EmbeddedHost, "sample", never)
    assert cli.main(["bench", "dnp", *QUICK, "--out", str(reports), "--variant", 'half={"dnp": {"window": {"weight": 0.5}, "scale": 2}}']) == 0
    assert (reports / "guidance-5.md").read_text("utf-8") == before


def test_notes_survive_a_line_that_was_cut_off(reports):
    path = reports / "work" / "scores.jsonl"
    whole = dnp_rows._read(path)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"half a li')
    assert dnp_rows._read(path) == whole
    dnp_rows._note(path, dict(whole), {"more": 1})
    assert dnp_rows._read(path) == {**whole, "more": 1}


def test_the_pictures_are_those_of_the_host(reports):
    """The rows' pictures are what the host's own auto-DNP makes."""
    host = EmbeddedHost.load(world.model())
    pair = dnp.category("portraits", 3).pairs[0]
    studio = dnp_rows.Studio(host, dnp.JudgeScorer(), None, dnp_bench.Dnp(steps=1), _options(), reports / "work", 2)
    line = {key: value for line in (reports / "work" / "captions.jsonl").read_text("utf-8").splitlines() for key, value in json.loads(line).items()}
    away = studio.away(pair, 5.0)
    caption = next(value for key, value in line.items() if key.startswith(studio.key(away)))
    auto = host.sample([pair.prompt], [pair.seed], dnp_bench.Settings.parse({"dnp": {"steps": 1}}), **_options())
    assert auto.negatives[0].text == caption
    made = studio.task(pair, 5.0, caption)
    assert studio.path(away).exists() and studio.path(made).exists()
    assert dnp_rows.change(auto.pil()[0], studio.images([made])[0]) < 0.5  # batches round differently
    assert dnp_rows.change(auto.negatives[0].shown[0].image, studio.images([away])[0]) < 0.5


def _options() -> dict:
    return {"steps": 2, "size": (64, 64), "cfg_scale": 5.0, "sampler": "Euler", "scheduler": "automatic"}


def test_cheap(reports, monkeypatch, capsys):
    monkeypatch.setattr(dnp_bench, "SHARES", (1.0, 0.5))
    monkeypatch.setattr(dnp_bench, "SIZES", (1.0, 0.5))
    assert cli.main(["bench", "dnp", "--cheap", *QUICK, "--category", "portraits", "--out", str(reports)]) == 0
    text = (reports / "cheap-portraits.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows == [["1", "1", "2.00"], ["0.5", "1", "1.50"], ["1", "0.5", "1.25"], ["0.5", "0.5", "1.12"]]


def test_a_prompts_file(tmp_path):
    (tmp_path / "mine.txt").write_text("# two of them\na red circle\n\na blue ring\n")
    assert cli.main(["bench", "dnp", *QUICK, "--prompts", str(tmp_path / "mine.txt"), "--out", str(tmp_path / "out")]) == 0
    assert "## mine: 3 pairs" in (tmp_path / "out" / "guidance-5.md").read_text("utf-8")


def test_another_model_is_looked_at_by_clip(tmp_path, monkeypatch, host, capsys):
    """As with real weights: prompts of a file, a captioner's folder, CLIP scores of pictures and of negative pictures."""
    monkeypatch.setattr(common, "load", lambda arguments: host)
    (tmp_path / "a-and-e.txt").write_text("a red circle and a blue ring\na cat and a dog\n")
    command = ["bench", "dnp", *QUICK, "--model", "other.safetensors", "--size", "64", "--cfg", "5", "--captioner", str(world.captioner()),
               "--out", str(tmp_path / "out")]
    assert cli.main(command) != 0 and "--prompts" in capsys.readouterr().err
    clip = tiny_clip.write(tmp_path / "clip")
    assert cli.main([*command, "--prompts", str(tmp_path / "a-and-e.txt"), "--clip", str(clip)]) == 0
    text = (tmp_path / "out" / "guidance-5.md").read_text("utf-8")
    for words in ("| negative   | least object", "whole prompt", "| auto-DNP", "| random", "| no prompt |"):
        assert words in text
    for words in ("true (upper bound)", "own failure", "exactly right", "Where the negatives push"):
        assert words not in text


@pytest.mark.parametrize(("options", "words"), [
    (["--pairs", "1"], "--pairs"),
    (["--category", "cats"], "two shapes, portraits"),
    (["--variant", "half"], "NAME=JSON"),
])  # fmt: skip
def test_wrong_options(options, words, tmp_path, capsys):
    try:
        assert cli.main(["bench", "dnp", "--out", str(tmp_path), *options]) != 0
    except SystemExit as end:
        assert end.code != 0
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_keys_differ_with_everything(reports):
    studio = dnp_rows.Studio(EmbeddedHost.load(world.model()), dnp.JudgeScorer(), None, dnp_bench.Dnp(steps=1), _options(), reports / "work", 2)
    base = Task(Pair("a", 1), 5.0, 2, (64, 64))
    others = [Task(Pair("b", 1), 5.0, 2, (64, 64)), Task(Pair("a", 2), 5.0, 2, (64, 64)), Task(Pair("a", 1), -5.0, 2, (64, 64)),
              Task(Pair("a", 1), 5.0, 3, (64, 64)), Task(Pair("a", 1), 5.0, 2, (64, 56)), Task(Pair("a", 1), 5.0, 2, (64, 64), "c"),
              Task(Pair("a", 1), 5.0, 2, (64, 64), "c", '{"combine": "perp-neg"}')]  # fmt: skip
    assert len({studio.key(task) for task in (base, *others)}) == len(others) + 1


def test_prompts_with_a_mistake():
    assert dnp.JudgeScorer().wrong([PAIR, "a red ring and a blue ring"]) == ["a blue circle and a red ring", "a red ring and a red ring"]
    assert dnp.JudgeScorer().wrong(["a bare face"]) is None


def test_directions():
    """A negative equal to the prompt pushes nowhere, one equal to the mistake pushes from it to the prompt."""
    host = EmbeddedHost.load(world.model())
    pairs, wrong = [Pair(PAIR, 5), Pair(PAIR, 6)], ["a blue circle and a red ring"] * 2
    options = {**_options(), "steps": 4}
    found = dnp_rows.directions(host, pairs, wrong, {"same": [PAIR] * 2, "wrong": wrong, "empty": [""] * 2}, options)
    assert [call for call, _, _ in found] == [0, 3] and found[0][1] > found[1][1]
    for _, _, ((same, _), (length, cosine), (empty, other)) in found:
        assert same == pytest.approx(0, abs=1e-4) and length > 0.1 and cosine == pytest.approx(1, abs=1e-4)
        assert empty > 0.1 and -1 < other < 0.95
