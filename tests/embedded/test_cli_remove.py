"""``remove``: generations, photos and inpainting from the command line."""

import json

import pytest
from PIL import Image, ImageDraw

from lib_negguide import cli, world
from tests.world.draw import draw

STEPS = 6


@pytest.fixture
def run(checkpoint, capsys, tmp_path, monkeypatch):
    """Runs ``remove`` on the small model in an empty folder: (exit code, lines, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main(["remove", *map(str, arguments), "--steps", str(STEPS), "--model", str(checkpoint)])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return call


@pytest.fixture
def photo(tmp_path):
    """A drawing with glasses and a hat, twice too large."""
    picture = next(picture for picture, shown in map(draw, (f"photo test {n}" for n in range(400))) if shown.worn == ("glasses", "hat"))
    picture.resize((128, 128)).save(tmp_path / "me.png")
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((13, 24, 50, 42), fill=255)
    mask.save(tmp_path / "mask.png")
    return picture


def parameters(path):
    return Image.open(path).info["parameters"]


def test_a_generation(run, tmp_path):
    code, out, err = run("glasses", "--seeds", "3-4", "--trace", "trace.json", "--search", "window")
    assert (code, err) == (0, "")
    assert out[:3] == ["out/remove/00003.png", "out/remove/00004.png", "out/remove/without-glasses.png"]
    assert out[3].startswith("glasses removed in picture 1: calls ") and out[4].startswith("glasses removed in picture 2")
    assert out[5].startswith("predictions per picture: ") and out[5].endswith("an ordinary sampling takes 12")
    assert Image.open(tmp_path / out[2]).size[1] > 250
    text = parameters(tmp_path / out[0])
    assert text.startswith(world.PROMPT + "\nSteps: 6") and r'\"text\": \"glasses\"' in text and "Denoising" not in text
    assert json.loads((tmp_path / "trace.json").read_text())["removed"] == "glasses"


def test_options_are_the_settings(run, tmp_path):
    code, out, _ = run("hat", "--window", "1:3:step*1.5", "--search", "window", "--region", "everywhere",
                       "--settings", '{"remove": {"text": "x", "every": 3}}')
    assert code == 0 and "hat: calls 2-3 of 6" in out[2] and "strength 1.5" in out[2]
    assert r'\"every\": 3' in parameters(tmp_path / out[0])


def test_a_photo_with_a_prompt(run, photo, tmp_path):
    code, out, err = run("glasses", "me.png", "--prompt", f"{world.PROMPT} with glasses and a hat")
    assert (code, err) == (0, "")
    assert out[:2] == ["out/remove/me.png", "out/remove/without-glasses.png"]
    assert out[2].startswith(f'me: under "{world.PROMPT} with a hat"; reconstruction ') and out[2].endswith(": good")
    text = parameters(tmp_path / out[0])
    assert text.startswith(f"{world.PROMPT} with a hat\n") and "Denoising strength: 0.9" in text and r'\"photo\": true' in text
    assert Image.open(tmp_path / out[0]).size == world.SIZE


def test_a_photo_is_captioned(run, photo):
    code, out, _ = run("glasses", "me.png", "--strength", "0.5")
    assert code == 0 and f'under "{world.PROMPT} with a hat"' in out[2]


def test_inpainting_with_seeds(run, photo, tmp_path):
    code, out, _ = run("glasses", "me.png", "--mask", "mask.png", "--prompt", world.PROMPT, "--seeds", "1-2", "--strength", "1", "--mask-blur", "0")
    assert code == 0 and out[:2] == ["out/remove/me-1.png", "out/remove/me-2.png"]
    one, other, before = (Image.open(tmp_path / name).convert("RGB") for name in (*out[:2], "me.png"))
    assert one.crop((14, 25, 50, 42)).tobytes() != other.crop((14, 25, 50, 42)).tobytes()
    assert one.crop((0, 46, 64, 64)).tobytes() == other.crop((0, 46, 64, 64)).tobytes()
    assert "Mask blur: 0" in parameters(tmp_path / out[0]) and r'\"region\": \"mask\"' in parameters(tmp_path / out[0])
    assert before.size == (128, 128)


@pytest.mark.parametrize("arguments", [(), ("me.png", "--prompt", "a portrait with glasses")], ids=["prompt", "photo"])
def test_without_guidance_it_says_that_nothing_is_removed(run, photo, arguments):
    code, out, _ = run("glasses", *arguments, "--cfg", "1")
    assert code == 0 and "CFG scale 1 does not guide, so nothing is removed" in out


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ([" "], 2, "remove.text"),
    (["glasses", "none.png"], 2, "none.png"),
    (["glasses", "--mask", "none.png"], 2, "none.png"),
    (["glasses", "--mask", "none.png"], 2, "--mask = 'none.png' is not allowed"),
    (["glasses", "--strength", "0.5"], 2, "--strength = 0.5 is not allowed; given beside pictures only"),
    ([], 2, "the following arguments are required: THING;"),
    (["glasses", "--fidelity", "2"], 2, "remove.fidelity"),
    (["glasses", "--search", "luck"], 2, "--search"),
    (["glasses", "me.png", "--strength", "2", "--prompt", "x"], 2, "strength = 2.0"),
    (["glasses", "me.png", "--mask", "mask.png", "--fill", "water", "--prompt", "x"], 2, "fill = 'water'"),
    (["glasses", "me.png", "--captioner", "none-such"], 1, "none-such"),
    (["glasses", "--settings", '{"enabled": false}'], 2, "enabled"),
])
def test_one_line_for_what_is_wrong(run, photo, arguments, code, words):
    given, out, err = run(*arguments)
    assert (given, out) == (code, []) and words in err and err.count("\n") == 1
