"""The commands dns and dnp: pictures, one line each, gone on with after whatever stopped them."""

import json
from contextlib import contextmanager

import pytest
from PIL import Image, ImageChops

from lib_negguide import metrics
from lib_negguide.commands import common, dnp, generate, pairs
from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.metrics import Score
from lib_negguide.settings import Dnp, Settings, fields

from .test_cli import PROMPT, run  # noqa: F401 (a fixture)

SHAPES = "a red circle and a blue triangle"
FAST = ("--steps", 3)


@pytest.fixture(autouse=True)
def loaded(host, monkeypatch):
    """The model is loaded once for all command lines; test_cli.py loads it by the command's own code."""
    monkeypatch.setattr(common, "load", lambda arguments: host)


@pytest.fixture
def sampled(monkeypatch):
    """The (prompts, seeds, settings) of every sampling."""
    calls, real = [], EmbeddedHost.sample_once

    def sample_once(self, prompts, seeds, settings=Settings(), **options):
        calls.append((list(prompts), list(seeds), settings))
        return real(self, prompts, seeds, settings, **options)

    monkeypatch.setattr(EmbeddedHost, "sample_once", sample_once)
    return calls


def lines(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]


def parameters(path):
    return Image.open(path).info["parameters"]


def schedule(path):
    """The settings in a picture's infotext."""
    text = parameters(path).split(f"{generate.SCHEDULE}: ")[1]
    return json.loads(json.JSONDecoder().raw_decode(text)[0])


def same(one, other):
    """The same picture; batches of another size round differently, to one level of 255."""
    difference = ImageChops.difference(Image.open(one), Image.open(other))
    return max(high for _, high in difference.getextrema()) <= 1


def test_every_field_has_an_option():
    assert sorted(dnp.FIELDS) == sorted(row["name"] for row in fields(Dnp))


def test_dnp(run, tmp_path, sampled):  # noqa: F811
    (tmp_path / "prompts.txt").write_text(f"# shapes\n{SHAPES}\n\n  {PROMPT}\n{SHAPES}\n")
    code, out, err = run("dnp", "--prompts", "prompts.txt", "--seeds", "3-4", "--negative-prompt", "fog", "--dns-steps", 0.5, *FAST)
    assert (code, err) == (0, "")
    assert [(prompts, seeds) for prompts, seeds, _ in sampled] == [([SHAPES] * 2 + [PROMPT] * 2, [3, 4, 3, 4])] * 2  # DNS, then the pictures
    made = lines(tmp_path / "out/dnp")
    assert [(line["prompt"], line["seed"]) for line in made] == [(SHAPES, 3), (SHAPES, 4), (PROMPT, 3), (PROMPT, 4)]
    for line, said in zip(made, out.splitlines()):
        picture, shown = (tmp_path / "out/dnp" / name for name in (line["files"]["picture"], line["files"]["dns"][0]))
        assert said == f"out/dnp/{picture.name}: {line['caption']}"
        assert line["caption"] and line["raw"] and line["captioner"].startswith("captioner@") and line["evaluations"] == 6 + 4
        text = parameters(picture)
        assert text.startswith(f"{line['prompt']}\nNegative prompt: fog\nSteps: 3, ") and f"Seed: {line['seed']}, " in text
        assert schedule(picture) == {"dnp": {"steps": 0.5}} and f"{generate.CAPTION}: {generate.quoted(line['caption'])}" in text
        assert schedule(shown) == {"dns": {}} and "Steps: 2, " in parameters(shown)


def test_what_is_there_is_not_made_again(run, tmp_path, sampled):  # noqa: F811
    asked = ("dnp", SHAPES, "--seeds", "1-2", "--caption", "a hat", *FAST)
    folder = tmp_path / "out/dnp"
    run(*asked)
    before = (folder / "results.jsonl").read_bytes()
    code, out, _ = run(*asked)
    assert code == 0 and "there already: 2" in out and len(sampled) == 1
    assert (folder / "results.jsonl").read_bytes() == before
    files = {path.name for path in folder.iterdir()}
    run(*asked, "--seeds", "1-3")
    assert sampled[-1][1] == [3]
    (folder / lines(folder)[0]["files"]["picture"]).unlink()
    run(*asked)
    assert sampled[-1][1] == [1]
    for change in (("--steps", 4), ("--caption", "glasses"), ("--window", "5.8:1.6"), ("--negative-prompt", "fog"), ("--cfg", 4),
                   ("-n", "hat"), ("--use", "replace"), ("--sampler", "Heun")):
        count = len(sampled)
        code, out, _ = run(*asked, *change)
        assert code == 0 and "there already" not in out and len(sampled) == count + 1
    assert files <= {path.name for path in folder.iterdir()}  # other settings overwrite nothing


@pytest.mark.parametrize("tail", ['{"prompt": "a red ci', '{"prompt": "a red ci\n', "[]\n", "\n\n", '"key"\n'])
def test_a_line_that_was_cut_off(run, tmp_path, sampled, tail):  # noqa: F811
    asked = ("dnp", SHAPES, "--caption", "a hat", *FAST)
    run(*asked)
    path = tmp_path / "out/dnp/results.jsonl"
    path.write_text(path.read_text() + tail)
    run(*asked, "--seeds", "1-2")
    assert sampled[-1][1] == [2]
    assert [line["seed"] for line in pairs.read(path) if "seed" in line] == [1, 2]


def test_ctrl_c_leaves_what_is_finished(run, tmp_path, monkeypatch):  # noqa: F811
    real, count = EmbeddedHost.sample_once, []

    def interrupted(self, *arguments, **options):
        count.append(1)
        if len(count) == 4:  # the second batch's pictures
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    asked = ("dnp", SHAPES, "--seeds", "1-4", "--batch", 2, "--cache", "cache", "--dns-steps", 1, *FAST)
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedHost, "sample_once", interrupted)
        assert run(*asked)[0] == 130
    made = lines(tmp_path / "out/dnp")
    assert [line["seed"] for line in made] == [1, 2]
    assert all((tmp_path / "out/dnp" / line["files"]["picture"]).is_file() for line in made)
    code, out, _ = run(*asked)
    assert code == 0 and "there already: 2" in out
    assert [(line["seed"], line["evaluations"]) for line in lines(tmp_path / "out/dnp")] == [(1, 12), (2, 12), (3, 6), (4, 6)]


def test_the_cache_is_shared_by_both_commands(run, tmp_path, sampled):  # noqa: F811
    run("dns", SHAPES, "--cache", "cache", *FAST)
    run("dnp", SHAPES, "--cache", "cache", "--window", "5.8:", "--dns-steps", 1, *FAST)
    assert [settings.dns is not None for _, _, settings in sampled] == [True, False]
    assert lines(tmp_path / "out/dns")[0]["caption"] == lines(tmp_path / "out/dnp")[0]["caption"]
    assert [lines(tmp_path / f"out/{name}")[0]["evaluations"] for name in ("dns", "dnp")] == [6, 6]


def test_dns(run, tmp_path):  # noqa: F811
    code, out, _ = run("dns", SHAPES, "--seeds", "3-4", "--scale", 3, "--samples", 2, *FAST)
    made = lines(tmp_path / "out/dns")
    assert code == 0 and len(made) == 2 and out.splitlines()[-1] == "out/dns/results.jsonl"
    for line in made:
        assert len(line["files"]["dns"]) == len(line["negatives"]) == 2 and line["evaluations"] == 12
        assert line["negatives"][0]["seed"] == line["seed"] != line["negatives"][1]["seed"]
        for row, name in zip(line["negatives"], line["files"]["dns"]):
            path = tmp_path / "out/dns" / name
            assert schedule(path) == {"dns": {"scale": 3.0}} and f"Seed: {row['seed']}, " in parameters(path)
            assert f"{generate.CAPTION}: {generate.quoted(row['caption'])}" in parameters(path)


def test_the_infotext_of_a_dns_picture_makes_it_again(run, tmp_path):  # noqa: F811
    run("dns", SHAPES, "--seeds", 3, "--scale", 3, *FAST)
    path = tmp_path / "out/dns" / lines(tmp_path / "out/dns")[0]["files"]["dns"][0]
    run("generate", SHAPES, "--settings", json.dumps(schedule(path)), "--seed", 3, *FAST)
    assert same(tmp_path / "out/00003.png", path)


def test_pictures_only(run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("lib_negguide.captioners.find", lambda *_, **__: pytest.fail("no captioner is needed"))
    code, out, _ = run("dns", SHAPES, "--no-captions", *FAST)
    line = lines(tmp_path / "out/dns")[0]
    assert code == 0 and line["caption"] == "" and (tmp_path / "out/dns" / line["files"]["dns"][0]).is_file()


def test_by_hand(run, tmp_path, sampled):  # noqa: F811
    run("dns", SHAPES, PROMPT, "--seeds", "3-4", *FAST)
    path = tmp_path / "out/dns/results.jsonl"
    edited = lines(tmp_path / "out/dns")
    for number, line in enumerate(edited):
        line["caption"] = f"(a hat:1.{number})"
    path.write_text("\n".join(json.dumps(line) for line in edited) + "\n\n")
    sampled.clear()
    code, out, err = run("dnp", "--captions", path, *FAST)
    assert (code, err) == (0, "") and len(sampled) == 1
    made = lines(tmp_path / "out/dnp")
    assert [(line["prompt"], line["seed"], line["caption"]) for line in made] == [
        (line["prompt"], line["seed"], line["caption"]) for line in edited]
    picture = tmp_path / "out/dnp" / made[2]["files"]["picture"]
    assert schedule(picture) == {"dnp": {"captioner": "text", "text": "(a hat:1.2)"}}
    run("generate", PROMPT, "--negative-prompt", "(a hat:1.2)", "--seed", 3, *FAST)
    assert same(tmp_path / "out/00003.png", picture)
    code, out, _ = run("dnp", PROMPT, "--captions", path, "--seeds", 3, *FAST)
    assert code == 0 and "there already: 1" in out
    edited[2]["caption"] = "glasses"
    path.write_text("\n".join(json.dumps(line) for line in edited))
    code, out, _ = run("dnp", "--captions", path, *FAST)
    assert "there already: 3" in out and ": glasses" in out


@pytest.mark.parametrize(("text", "expected"), [
    ("# all\na hat\n", ["a hat"] * 4), ("a hat\nglasses", ["a hat", "a hat", "glasses", "glasses"]), ("a\nb\nc\nd\n", ["a", "b", "c", "d"]),
])
def test_captions_of_a_text_file(tmp_path, text, expected):
    (tmp_path / "captions.txt").write_text(text)
    wanted = [("p", 1), ("p", 2), ("q", 1), ("q", 2)]
    assert pairs.captions_of(tmp_path / "captions.txt", wanted, 2) == expected


@pytest.mark.parametrize(("text", "words"), [
    ("a\nb\nc", "3 lines"), ("", "0 lines"), ('{"prompt": "p", "seed": 1, "caption": "a"}', 'prompt "p", seed 2'),
    ('{"prompt": "p", "seed": 1, "caption": "a"}\n{"prompt": "p", "seed": 2}', 'prompt "p", seed 2'), ('{"prompt": "p"\n', "line 1"),
])
def test_captions_that_do_not_fit(tmp_path, text, words):
    (tmp_path / "captions.txt").write_text(text)
    with pytest.raises(SettingsError, match=words):
        pairs.captions_of(tmp_path / "captions.txt", [("p", 1), ("p", 2)], 1)


def test_captions_alone_need_a_results_file(run, tmp_path):  # noqa: F811
    (tmp_path / "captions.txt").write_text("a hat\n")
    code, _, err = run("dnp", "--captions", "captions.txt")
    assert code == 2 and "PROMPT" in err


def test_figure_four(run, tmp_path, sampled):  # noqa: F811
    asked = ("dnp", SHAPES, PROMPT, "--seeds", "1-2", "--four", *FAST)
    code, out, _ = run(*asked)
    sheets = [line for line in out.splitlines() if line.endswith("-four.png")]
    assert code == 0 and len(sheets) == 2
    assert parameters(tmp_path / sheets[1]).startswith(f"{PROMPT}\nSteps: 3, ")
    assert len(sampled) == 4  # DNS, (p, n*), p, ("", n*)
    line = lines(tmp_path / "out/dnp")[0]
    plain, only = (tmp_path / "out/dnp" / line["files"][kind] for kind in ("plain", "only"))
    assert line["files"]["guided"] == line["files"]["picture"]
    assert generate.SCHEDULE not in parameters(plain) and schedule(only) == {"dnp": {"captioner": "text", "text": line["caption"]}}
    run("generate", SHAPES, "--seed", 1, *FAST)
    assert same(tmp_path / "out/00001.png", plain)
    sampled.clear()
    only.unlink()
    code, out, _ = run(*asked)
    assert code == 0 and "there already: 3" in out and only.is_file() and sampled[0][1] == [1]


class Clip:
    """The picture with the caption is better for seed 1 only: pictures come as (without, with)."""

    def __init__(self, name):
        self.name = name
        self.turns = [[0.25, 0.25], [0.5, 0.125]] * 2

    def scores(self, images, prompts):
        return [Score(value, value / 2) for value in self.turns.pop(0)[:len(images)]]

    def similarities(self, images, prompts):
        return list(range(len(images)))


@pytest.fixture
def clip(monkeypatch):
    @contextmanager
    def opened(spec, **_):
        yield Clip(spec)

    monkeypatch.setattr(metrics, "opened", opened)


@pytest.mark.parametrize("extra", [[], ["--four"]])
def test_scores_and_the_better_one(run, tmp_path, clip, extra):  # noqa: F811
    code, out, _ = run("dnp", SHAPES, "--seeds", "1-2", "--scores", "--keep-better", "--caption", "a hat", *extra, *FAST)
    made = lines(tmp_path / "out/dnp")
    assert code == 0 and [line["scores"]["kept"] for line in made] == ["with", "without"]
    assert made[0]["scores"]["with"] == {"full": 0.5, "minimum": 0.25} and made[0]["scores"]["without"] == {"full": 0.25, "minimum": 0.125}
    first, second = ({kind: Image.open(tmp_path / "out/dnp" / name).tobytes() for kind, name in line["files"].items()} for line in made)
    assert first["picture"] != first["plain"] and second["picture"] == second["plain"]
    if extra:
        assert first["guided"] == first["picture"] and second["guided"] != second["picture"]
    text = parameters(tmp_path / "out/dnp" / made[1]["files"]["picture"])
    assert f'{generate.SCORES}: "0.1250/0.0625 with, 0.2500/0.1250 without the caption, kept without"' in text


def test_scores_are_made_up_for(run, tmp_path, clip, sampled):  # noqa: F811
    asked = ("dnp", SHAPES, "--seeds", "1-2", "--caption", "a hat", *FAST)
    run(*asked)
    code, out, _ = run(*asked, "--scores")
    assert code == 0 and "there already" not in out and len(list((tmp_path / "out/dnp").glob("*-plain.png"))) == 2
    assert "there already: 2" in run(*asked, "--scores")[1] and "there already: 2" in run(*asked)[1]


def test_another_clip_may_choose_another_picture(run, clip):  # noqa: F811
    asked = ("dnp", SHAPES, "--keep-better", "--caption", "a hat", *FAST)
    run(*asked)
    assert "there already" not in run(*asked, "--clip", "another")[1] and "there already: 1" in run(*asked)[1]


def test_scores_of_negative_pictures(run, tmp_path, clip):  # noqa: F811
    run("dns", SHAPES, "--scores", *FAST)
    assert lines(tmp_path / "out/dns")[0]["scores"] == [{"full": 0.25, "minimum": 0.125}]


@pytest.mark.parametrize("arguments", [["dnp", "--scores"], ["dnp", "--samples", 2, "--several", "best"], ["dns", "--scores"]])
def test_clip_that_is_missing_is_said_before_anything_is_sampled(run, sampled, monkeypatch, arguments):  # noqa: F811
    def find(*_):
        raise ModelError("NegGuide: CLIP is not here")

    monkeypatch.setattr("lib_negguide.clip_model.find", find)
    code, _, err = run(*arguments, SHAPES, *FAST)
    assert code == 1 and "CLIP is not here" in err and not sampled


def test_generate_with_auto_dnp(run, tmp_path):  # noqa: F811
    code, out, _ = run("generate", SHAPES, "--settings", '{"dnp": {"window": {"start": 5.8}}}', "--seeds", 3, "--cache", "cache", *FAST)
    assert code == 0 and "caption: calls " in out and "predictions per picture: 8 instead of 6" in out
    path = tmp_path / "out/00003.png"
    assert schedule(path) == {"dnp": {"window": {"start": 5.8}}}
    name, caption = out.splitlines()[0].split(": ", 1)
    assert name == "out/00003.png" and parameters(path).endswith(f"{generate.CAPTION}: {generate.quoted(caption)}")
    code, out, _ = run("generate", SHAPES, "--settings", '{"dnp": {}}', "--seeds", 3, "--cache", "cache", *FAST)
    assert out.splitlines()[0] == f"out/00003-2.png: {caption}" and "predictions" not in out
