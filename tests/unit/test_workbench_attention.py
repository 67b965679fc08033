"""Attention in the workbench without a model: which words, what is kept of it on disk, what is drawn."""

import json
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from lib_negguide import plots
from lib_negguide.attention.history import History, every
from lib_negguide.attention.probes import each_resolution
from lib_negguide.attention.words import Tokens
from lib_negguide.errors import SettingsError
from lib_negguide.settings import Dnp, Settings
from lib_negguide.workbench import attention, report, traces
from lib_negguide.workbench.form import Form
from lib_negguide.workbench.outcome import Made, begun
from lib_negguide.workbench.runs import Folder
from lib_negguide.workbench.strips import Cell

VOCABULARY = {word: number for number, word in enumerate(["a", "cat", "red", "hat", ",", "glasses", "1.2", "sun", "##set"])}
START, END = 100, 101


def ids_of(text):
    """Chunks of 77, as hosts make them: ``sunset`` is two tokens."""
    words = text.lower().replace(",", " , ").replace("(", " ").replace(":", " ").replace(")", " ").replace("sunset", "sun ##set").split()
    tokens, chunks = [VOCABULARY.get(word, 50) for word in words], []
    while tokens or not chunks:
        part, tokens = tokens[:75], tokens[75:]
        chunks += [START, *part, *[END] * (76 - len(part))]
    return chunks


def test_words_of_a_text():
    found, = Tokens.each_word(["A (red:1.2) cat, a sunset, cat"], ids_of)
    assert found.names == ("red", "cat", "sunset") and found.length == 77
    assert found.places == ((2,), (4, 10), (7, 8))


def test_words_of_every_form_of_an_edited_text():
    first, second = Tokens.each_word(["a cat", "a hat"], ids_of)
    assert first.names == second.names == ("cat", "hat")
    assert (first.places, second.places) == (((2,), ()), ((), (2,)))
    assert first.columns(77)[:, 1].sum() == 0
    assert Tokens.each_word([""], ids_of)[0].names == ()


def test_no_more_than_twelve_words():
    found, = Tokens.each_word([" ".join(f"w{letter}" for letter in "abcdefghijklmnopq")], ids_of)
    assert len(found.names) == 12 and found.names[0] == "wa"


@pytest.mark.parametrize(("calls", "each"), [(1, 1), (12, 1), (13, 2), (48, 2), (49, 3), (150, 7)])
def test_how_often_is_looked(calls, each):
    assert every(calls) == each and len(range(0, calls, each)) <= 24


def test_layers_of_each_resolution():
    layers = {f"one{n}": 1 for n in range(3)} | {f"two{n}": 2 for n in range(20)}
    assert len(each_resolution(layers, (64, 64))) == 9
    assert {layers[name] for name in each_resolution(layers, (128, 128))} == {2}
    assert {layers[name] for name in each_resolution(layers, (256, 256))} == {2}, "one at least"


@pytest.mark.parametrize(("strip", "settings", "box", "expected"), [
    ("weights", Settings(), "blurry", "hat"), ("four", Settings(), "a dog", "a dog"),
    ("four", Settings(dnp=Dnp(captioner="text", text="a house")), "", "a house")])
def test_whose_words_are_looked_for(strip, settings, box, expected):
    form = Form.parse({"prompt": "a cat", "negative": "hat", "strip": strip, "attention": True})
    cell = Cell("one", "one", settings, "a cat", box)
    assert attention.attended(form, cell) == expected
    assert attention.attended(form.copy(update={"attention": False}), cell) is None


@pytest.fixture
def history():
    """Two words over four calls of eight, in 2x2 and 8x8; ``hat`` rises to the third."""
    made = History(SimpleNamespace(begin=lambda wanted: None), {"negative": Tokens.each_word(["hat"], ids_of)[0], "prompt": Tokens.each_word(["red cat"], ids_of)[0]})
    made.calls, made.sigmas = [0, 2, 4, 6], [8.0, 4.0, 2.0, 1.0]
    made._ratios = [torch.tensor(0.5), torch.tensor(0.75), None, torch.tensor(1.0)]
    for height in (0.1, 0.2, 0.5, 0.4):
        wide = torch.full((1, 8, 8), 0.1)
        wide[0, 0, 7] = height
        for side, one in (("negative", wide), ("prompt", torch.cat([torch.full((1, 8, 8), 0.3), wide]))):
            made._maps.setdefault(side, []).append({(8, 8): one, (2, 2): one[:, ::4, ::4]})
    return made


@pytest.fixture
def kept(tmp_path, history):
    """(folder, run) with one cell."""
    form = Form.parse({"prompt": "red cat", "negative": "hat", "attention": True})
    made = Made(Image.new("RGB", (16, 16), "white")).observed((), [8.0 - n for n in range(8)], history)
    run = begun(form, "one")
    run["cells"] = [{"name": "plain", "title": "without", "row": "", "column": "", "file": "plain.png", "infotext": "", "trace": made.trace,
                     "caption": "", "previews": [], "clip": None, "distance": None, "attention": attention.names("plain", history)}]
    folder = Folder(tmp_path)
    folder.add(run["cells"][0], made)
    return folder, run


def test_what_is_kept(kept):
    folder, run = kept
    row, told = run["cells"][0], json.loads((folder.path / "plain-attention.json").read_text("utf-8"))
    assert row["attention"] == {"file": "plain-attention.json", "sheet": "plain-attention.png", "sizes": [[8, 8], [2, 2]]}
    assert [call.get("r_t") for call in row["trace"]["calls"]] == [0.5, None, 0.75, None, None, None, 1.0, None]
    assert (told["calls"], told["r_t"], told["all"]) == ([0, 2, 4, 6], [0.5, 0.75, None, 1.0], 8)
    fine = told["resolutions"][0]
    assert [(word["side"], word["word"], word["critical"]) for word in fine["words"]] == [("prompt", "red", None), ("prompt", "cat", 2), ("negative", "hat", 2)]
    grey = Image.open(folder.path / fine["file"])
    assert grey.size == (32, 24) and (grey.getpixel((16 + 7, 16)), grey.getpixel((16, 16))) == (255, 0)
    hat = fine["words"][2]
    assert (hat["low"], hat["high"]) == (pytest.approx(0.1), pytest.approx(0.5)) and len(hat["strengths"]) == 4


def test_figure_one_from_what_is_kept(kept, monkeypatch):
    (folder, run), drawn = kept, {}
    image = Image.new("RGB", (16, 16), "white")
    monkeypatch.setattr(plots, "contact_sheet", lambda title, rows, *_: drawn.update(title=title, rows=rows))
    attention.sheet(folder.path, run["cells"][0], image)
    assert drawn["title"] == "Attention, 8x8" and [row.title for row in drawn["rows"]] == ["cat", "hat"]
    hat = drawn["rows"][1]
    assert "critical call: 5 of 8" in hat.words and "10 to 50%" in hat.words
    assert [cell.lines[0] for cell in hat.cells] == ["call 1", "call 3", "call 5", "call 7"]
    assert [bool(cell.good) for cell in hat.cells] == [False, False, True, False]
    assert hat.cells[2].image.getpixel((95, 0)) != hat.cells[2].image.getpixel((0, 95))
    attention.sheet(folder.path, run["cells"][0], image, ["prompt:red", "hat"], [2, 2], [6])
    assert drawn["title"] == "Attention, 2x2" and [row.title for row in drawn["rows"]] == ["red", "hat"]
    assert [cell.lines[0] for cell in drawn["rows"][0].cells] == ["call 7"]


def test_colours_of_each_call(kept):
    folder, run = kept
    image = Image.new("RGB", (16, 16), "white")
    whole, each = (attention.sheet(folder.path, run["cells"][0], image, ["hat"], colours=colours) for colours in ("run", "call"))
    assert whole.tobytes() != each.tobytes()


@pytest.mark.parametrize(("asked", "field"), [
    ({"words": ["dog"]}, "words"), ({"words": ["prompt:hat"]}, "words"), ({"size": [4, 4]}, "size"), ({"calls": [1]}, "calls"),
    ({"colours": "x"}, "colours")])
def test_what_cannot_be_drawn_is_said(kept, asked, field):
    folder, run = kept
    with pytest.raises(SettingsError, match=field):
        attention.sheet(folder.path, run["cells"][0], Image.new("RGB", (16, 16)), **asked)


def test_a_cell_without_attention(tmp_path):
    with pytest.raises(SettingsError, match="one of a run with attention"):
        attention.read(tmp_path, {"name": "plain", "attention": None})
    assert attention.names("plain", None) is None
    assert attention.names("plain", History(SimpleNamespace(), {})) is None


def test_in_the_report_and_the_plot(kept):
    folder, run = kept
    page = report.html_of(run, folder.path)
    assert "alt='attention, without'" in page and ">r_t</text>" in page and "Ban et al." in page
    labels = [label for label, *_ in traces.signals(run["cells"][0]["trace"])]
    assert labels == ["r_t"]
    for row in run["cells"]:
        row.pop("attention")  # as runs that are older
        row["trace"] = {}
    assert "alt='attention" not in report.html_of(run, folder.path)
