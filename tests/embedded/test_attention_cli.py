"""``attention``: heat maps on disk; and its bench."""

import json

import torch
from PIL import Image

from lib_negguide import plots
from lib_negguide.attention.history import Word
from lib_negguide.cli import main


def test_heat_maps_of_both_texts(checkpoint, tmp_path, capsys):
    asked = ["attention", "a portrait of a person", "-n", "glasses, hat", "--token", "person", "--token", "glasses", "--resolutions", "all",
             "--steps", "3", "--model", str(checkpoint), "--out", str(tmp_path), "--seed", "7"]
    assert main(asked) == 0
    told = capsys.readouterr().out
    assert "person (prompt)" in told and "glasses (negative)" in told
    data = json.loads((tmp_path / "00007.json").read_text())
    assert len(data["sigmas"]) == len(data["r_t"]) == 3 and all(0.1 < value < 10 for value in data["r_t"])
    assert [one["size"] for one in data["resolutions"]] == [[8, 8], [4, 4]]
    for one in data["resolutions"]:
        assert [(word["side"], word["word"]) for word in one["words"]] == [("prompt", "person"), ("negative", "glasses")]
        for word in one["words"]:
            assert len(word["maps"]) == 3 and all(0 < value < 1 for row in word["maps"][0] for value in row)
    for name in ("00007.png", "00007-8x8.png", "00007-4x4.png"):
        Image.open(tmp_path / name).load()


def test_the_picture_is_the_one_without_probes(checkpoint, tmp_path):
    options = ["--steps", "2", "--model", str(checkpoint), "--seed", "3", "--out"]
    assert main(["attention", "a circle", "-n", "red circle", *options, str(tmp_path / "a")]) == 0
    assert main(["generate", "a circle", "--negative-prompt", "red circle", *options, str(tmp_path / "b")]) == 0
    one, other = (Image.open(tmp_path / folder / "00003.png") for folder in "ab")
    assert one.tobytes() == other.tobytes()


def test_words_that_nobody_says(checkpoint, tmp_path, capsys):
    assert main(["attention", "a circle", "--token", "hat", "--model", str(checkpoint), "--out", str(tmp_path)]) == 2
    assert "--token" in capsys.readouterr().err
    assert main(["attention", "a circle"]) == 2


def test_the_critical_call_is_drawn_and_framed():
    maps = [torch.tensor([[0.0, value]]) for value in (0.1, 0.2, 0.6, 1.0)]
    word = Word("negative", "hat", maps, [0.1, 0.2, 0.6, 1.0], 3)
    sheet = plots.heatmaps("title", Image.new("RGB", (8, 8), "white"), [word], [4.0, 3.0, 2.0, 1.0], calls=[0])
    framed = sum(count for count, colour in sheet.getcolors(1 << 20) if colour == tuple(bytes.fromhex(plots.GOOD[1:])))
    assert framed > 100
    hot = plots.overlay(Image.new("RGB", (8, 8), "white"), [[0.0, 1.0]], 40)
    assert hot.getpixel((1, 20)) == (255, 255, 255) and hot.getpixel((38, 20))[1] < 150


def test_the_bench_tells_ratios(checkpoint, capsys):
    assert main(["bench", "attention", "--rounds", "1", "--steps", "1", "--size", "64", "--cfg", "5", "--model", str(checkpoint)]) == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[2:] == ["off", "maps", "all", "workbench", "watch"]
