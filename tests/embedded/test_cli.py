"""The command line: one line for what is wrong, honest exit codes, pictures that say how they were made."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from lib_negguide import cli, world
from lib_negguide.commands import common, generate, overhead
from lib_negguide.errors import SettingsError
from lib_negguide.settings import Settings

PROMPT = "a portrait of a person"


@pytest.fixture
def run(checkpoint, capsys, tmp_path, monkeypatch):
    """Runs a command line on the small model in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model=True):
        code = cli.main([*map(str, arguments), *(["--model", str(checkpoint)] if model else [])])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("command", [[], ["generate"], ["remove"], ["dns"], ["dnp"], ["demo"], ["bench"], ["bench", "overhead"], ["bench", "windows"]])
def test_help(run, command):
    code, out, err = run(*command, "--help", model=False)
    assert code == 0 and out.startswith("usage: python -m lib_negguide") and not err
    assert "examples:" in out or command == ["bench"]


@pytest.mark.parametrize(("written", "expected"), [
    ("mustache", {"text": "mustache"}),
    ("mustache@5.8:1.6", {"text": "mustache", "start": 5.8, "stop": 1.6}),
    ("mustache@5.8:", {"text": "mustache", "start": 5.8}),
    ("mustache@:1.6*0.5", {"text": "mustache", "stop": 1.6, "weight": 0.5}),
    ("a hat, (glasses:1.2)@5:15:step*1.5", {"text": "a hat, (glasses:1.2)", "start": 5, "stop": 15, "unit": "step", "weight": 1.5}),
    ("hat*2", {"text": "hat", "weight": 2}),
    ("hat@noun", {"text": "hat", "start": 5.8}),
    ("hat@Ban*0.7", {"text": "hat", "start": 5.8, "stop": 1.6, "weight": 0.7}),
    ("hat@from", {"text": "hat"}),
])
def test_the_form_of_a_negative(written, expected):
    assert common.parse_negative(written) == Settings.parse({"negatives": [expected]}).negatives[0]


@pytest.mark.parametrize("written", ["", "@5:1", "hat@", "hat@5", "hat@a:b", "hat@5:15:furlong", "hat@1:5", "hat*3", "hat*1.2.3", "hat@0:2:fraction", "a@1@2"])
def test_a_negative_that_is_not_allowed(written):
    with pytest.raises(SettingsError):
        common.parse_negative(written)


def test_generate(run, tmp_path):
    code, out, err = run("generate", PROMPT, "-n", "mustache@5.8:1.6", "--negative-prompt", "hat: red", "--seeds", "3-4", "--steps", 5,
                         "--trace", "trace.json")
    assert code == 0 and not err
    assert out.splitlines()[:2] == ["out/00003.png", "out/00004.png"]
    assert "mustache: calls 2-3 of 5" in out
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert [bool(call["strengths"][1]) for call in trace["calls"]] == [False, True, True, False, False]
    picture = Image.open(tmp_path / "out" / "00003.png")
    assert picture.size == world.SIZE
    lines = picture.info["parameters"].split("\n")
    assert lines[0] == PROMPT and lines[1] == "Negative prompt: hat: red"
    assert lines[2].startswith(f"Steps: 5, Sampler: Euler, Schedule type: Uniform, CFG scale: {world.GUIDANCE:g}, Seed: 3, Size: 64x64, Model: negguide-world, NegGuide: ")


def test_generate_again_from_what_the_picture_says(run, tmp_path):
    """Windows are stored in sigma; the settings in the picture give the picture."""
    assert run("generate", PROMPT, "-n", "mustache@1:3:step*0.8", "--steps", 5, "--seed", 9)[0] == 0
    first = Image.open(tmp_path / "out" / "00009.png")
    text = first.info["parameters"].split(f"{generate.SCHEDULE}: ")[1]
    settings = json.loads(json.JSONDecoder().raw_decode(text)[0])
    assert settings["negatives"][0].get("unit", "sigma") == "sigma"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert run("generate", PROMPT, "--settings", "settings.json", "--steps", 5, "--seed", 9)[0] == 0
    assert Image.open(tmp_path / "out" / "00009-2.png").tobytes() == first.tobytes()


def test_generate_without_something(run):
    code, out, _ = run("generate", PROMPT, "--remove", "glasses", "--settings", '{"remove": {"text": "hat", "search": "window"}}', "--steps", 5)
    assert code == 0 and "glasses removed: calls 1-3 of 5" in out and "predictions per picture: 12 instead of 10" in out
    assert "reverse activation" not in out
    code, out, _ = run("generate", PROMPT, "--settings", '{"remove": {"text": "hat", "start": null, "stop": 9}}', "--steps", 5)
    assert code == 0 and '"hat" is removed in the first calls only' in out and "reverse activation" in out


def test_branches_say_what_they_cost(run):
    code, out, _ = run("generate", PROMPT, "-n", "hat@5.8:1.6", "--combine", "branches", "--steps", 5)
    assert code == 0 and "predictions per picture: 12 instead of 10" in out


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["generate"], 2, "required: prompt"),
    (["paint"], 2, "invalid choice"),
    (["generate", "x", "-n", "hat@5"], 2, "--negative"),
    (["generate", "x", "--sampler", "foo"], 2, "sampler = 'foo' is not allowed; one of Euler"),
    (["generate", "x", "--steps", "0"], 2, "steps = 0"),
    (["generate", "x", "--size", "65"], 2, "size"),
    (["generate", "x", "--seeds", "4-1"], 2, "4-1"),
    (["generate", "x", "--batch", "0"], 2, "--batch"),
    (["generate", "x", "--settings", '{"negatives": [{"text": "a", "colour": 1}]}'], 2, "negatives[0].colour"),
    (["generate", "x", "--settings", "none.json"], 2, "none.json"),
    (["generate", "x", "--device", "toaster"], 2, "toaster"),
    (["generate", "x", "--out", "/dev/null/x", "--steps", "1"], 1, "/dev/null"),
    (["demo", "--window", "never"], 2, "never"),
    (["generate", "x", "--seeds", str(2**63)], 2, "seeds are whole numbers from 0 to"),
    (["generate", "x", "--seeds", "1-99999999999"], 2, "at most 1,000,000 seeds"),
    (["generate", "x", "--cfg", "nan"], 2, "--cfg = nan is not allowed; a number from 0"),
    (["generate", "x", "--cfg", "-1"], 2, "--cfg = -1.0 is not allowed; a number from 0"),
    (["demo", "--window", "early"], 2, "--window = 'early' is not allowed"),
    (["demo", "--window", "1:9"], 2, "window.start = 1.0 is not allowed"),
    (["bench", "images", "--lines", "glasses"], 2, "--lines = 'glasses' is not allowed; some of plain, glasses-text"),
    (["dns"], 2, "PROMPT"),
    (["dns", "x", "--steps", "0"], 2, "--steps = 0 is not allowed; a whole number from 1"),
    (["dnp"], 2, "at least one prompt"),
    (["dns", "--prompts", "none.txt"], 2, "none.txt"),
    (["dnp", "x", "--dns-steps", "2"], 2, "dnp.steps = 2.0"),
    (["dnp", "x", "--window", "5"], 2, "--window"),
    (["dnp", "x", "--window", "5:1*x"], 2, "--window"),
    (["dnp", "x", "--scale", "0.5", "--meaning", "host"], 2, "dnp.scale"),
    (["dnp", "x", "--captioner", "none-such"], 1, "none-such"),
    (["dnp", "x", "--settings", '{"enabled": false}'], 2, "enabled"),
    (["dnp", "x", "--captions", "none.txt"], 2, "none.txt"),
    (["dns", "x", "--cache", "/dev/null/x"], 1, "/dev/null"),
    (["dns", "x", "--out", "/dev/null/x"], 1, "/dev/null"),
    (["bench", "windows", "--points", "0,99"], 2, "--points"),
    (["bench", "overhead", "--webui-url", "localhost:7860"], 2, "--webui-url"),
    (["bench", "overhead", "--webui-url", "http://127.0.0.1:9"], 1, "cannot be reached"),
])
def test_one_line_for_what_is_wrong(run, arguments, code, words):
    given, out, err = run(*arguments)
    assert (given, out) == (code, "")
    assert words in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_model_that_cannot_be_loaded(run, tmp_path):
    (tmp_path / "bad.safetensors").write_text("no")
    for path in ("bad.safetensors", "none.safetensors", "."):
        code, _, err = run("generate", "x", "--model", path, model=False)
        assert code == 1 and err.startswith("NegGuide: ") and err.count("\n") == 1


def test_ctrl_c(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(generate, "settings_of", interrupted)
    assert run("generate", "x") == (130, "", "interrupted\n")


def test_a_package_that_is_missing_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.delitem(sys.modules, "diffusers.utils", raising=False)
    code, _, err = run("generate", "x")
    assert code == 1 and "diffusers" in err and "pip install 'negguide[cli]'" in err


def test_demo(run, tmp_path):
    code, out, _ = run("demo", "--steps", 3, "--seeds", "1-2", "--window", "10:1")
    assert code == 0
    lines = out.strip().splitlines()
    assert lines[0] == "no negative: ordinary guidance with the empty prompt"
    assert lines[1].startswith("stock negative: ") and "calls 1-3 of 3" in lines[1]
    assert lines[2].startswith("windowed negative: ") and "calls 2 of 3" in lines[2]
    assert lines[-1] == str(tmp_path / "out" / "demo.png")
    assert Image.open(lines[-1]).size[0] > 400


def test_bench_overhead(run, monkeypatch):
    code, out, _ = run("bench", "overhead", "--only", "windowed", "--steps", 1)
    assert code == 0 and int(out) > 50_000_000
    monkeypatch.setattr(overhead, "_peak_alone", lambda name, arguments: 1)  # three processes
    code, out, _ = run("bench", "overhead", "--rounds", 1, "--steps", 1)
    rows = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("|")]
    assert code == 0
    assert [row[0].strip() for row in rows] == ["variant", "-" * 10, "stock", "disabled", "windowed"]
    assert rows[2][2].strip() == rows[2][4].strip() == "1.000"


def test_as_a_module(tmp_path):
    done = subprocess.run([sys.executable, "-m", "lib_negguide", "--version"], cwd=world.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("NegGuide ")
