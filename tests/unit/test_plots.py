"""The contact sheet of the paper's figure 4."""

import pytest
from PIL import Image, ImageDraw, ImageFont

from lib_negguide import plots
from lib_negguide.dns import Four, Negative, Shown, Wanted
from lib_negguide.metrics import Score

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (120, 120, 120)
PROMPT, CAPTION = "a portrait of a person with glasses", "a large green field under an open sky with many small white clouds in it"


def four(size=(64, 64), samples=1):
    shown = [Shown(Wanted(PROMPT, seed), Image.new("RGB", size, GREEN), CAPTION, CAPTION) for seed in range(samples)]
    return Four(Image.new("RGB", size, RED), Negative(CAPTION, shown), Image.new("RGB", size, BLUE), Image.new("RGB", size, GREY))


def boxes(sheet, colour):
    """Left, top, right, bottom of all pixels of a colour; ``None`` where there is none."""
    mask = Image.new("1", sheet.size)
    mask.putdata([pixel == colour for pixel in sheet.getdata()])
    return mask.getbbox()


def written(monkeypatch):
    """All lines that are drawn."""
    lines = []
    text = ImageDraw.ImageDraw.text

    def draw(self, at, words, *args, **kwargs):
        lines.append((words, at, kwargs["font"]))
        return text(self, at, words, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", draw)
    return lines


def test_four_pictures_from_left_to_right():
    sheet = plots.figure_four([PROMPT], [7], [four()])
    found = [boxes(sheet, colour) for colour in (RED, GREEN, BLUE, GREY)]
    assert [right - left for left, _, right, _ in found] == [64] * 4
    assert [box[0] for box in found] == sorted(box[0] for box in found)


@pytest.mark.parametrize("size, shown", [((64, 96), (64, 96)), ((96, 64), (96, 64)), ((1024, 512), (384, 192))])
def test_pictures_keep_their_shape(size, shown):
    left, top, right, bottom = boxes(plots.figure_four([PROMPT], [7], [four(size)]), RED)
    assert (right - left, bottom - top) == shown


def test_captions_are_wrapped(monkeypatch):
    lines = written(monkeypatch)
    sheet = plots.figure_four([PROMPT], [7], [four()], footer="steps 20")
    words = [line for line, _, _ in lines]
    assert {"p", "DNS", '("", n*)', "(p, n*)", "seed 7", "steps 20"} <= set(words)
    ruler = ImageDraw.Draw(sheet)
    below = [(line, at, font) for line, at, font in lines if line and line in CAPTION and at[0] > 222]
    assert len(below) > 6 and all(ruler.textlength(line, font=font) <= 70 for line, _, font in below)
    under_dns = [line for line, at, _ in below if at[0] == below[0][1][0]]
    assert " ".join(under_dns) == CAPTION
    assert all(at[1] + 12 < sheet.height for _, at, _ in lines)


def test_rows_do_not_overlap(monkeypatch):
    lines = written(monkeypatch)
    long = " ".join(["word"] * 120)
    plots.figure_four([long, PROMPT], [7, 8], [four(), four()])
    place = {words: at[1] for words, at, _ in lines}
    last = max(at[1] for words, at, _ in lines if words.startswith("word"))
    assert place["seed 8"] > last + 15


def test_scores_and_the_better_one(monkeypatch):
    lines = written(monkeypatch)
    sheet = plots.figure_four([PROMPT] * 3, [7, 8, 9], [four()] * 3, side=128, scores=[
        (Score(0.3312, 0.241), Score(0.3461, 0.258)), (Score(0.34), Score(0.33)), None])
    words = " ".join(line for line, _, _ in lines)
    assert "CLIP 0.331, least object 0.241" in words and "CLIP 0.346, least object 0.258" in words and "CLIP 0.340" in words
    frame = tuple(int(plots.GOOD[i:i + 2], 16) for i in (1, 3, 5))
    left, top, right, bottom = boxes(sheet, frame)
    first = sheet.crop((0, 0, sheet.width, boxes(sheet, RED)[1] + 60))
    assert boxes(first, frame)[0] > boxes(first, BLUE)[2], "first row: the guided picture is framed"
    assert left < boxes(sheet, RED)[0], "second row: the plain one"


@pytest.mark.parametrize("samples", [0, 3])
def test_no_or_many_negative_pictures(monkeypatch, samples):
    lines = written(monkeypatch)
    sheet = plots.figure_four([PROMPT], [7], [four(samples=samples)])
    assert [line for line, _, _ in lines].count("DNS") == samples
    assert (boxes(sheet, GREEN) is None) == (samples == 0)


def test_a_word_without_end_is_cut(monkeypatch):
    lines = written(monkeypatch)
    plots.figure_four(["x" * 300], [7], [four()])
    pieces = [line for line, at, _ in lines if set(line) == {"x"}]
    assert len(pieces) > 5 and "".join(pieces) == "x" * 300


def test_where_no_font_is_found(monkeypatch):
    def none(*args, **kwargs):
        raise OSError("cannot open resource")

    monkeypatch.setattr(ImageFont, "truetype", none)
    odd = four()
    odd.negative.shown[0].caption = "a 猫 – “so”…"
    assert boxes(plots.figure_four(["σ ≤ 5.8"], [7], [odd], footer="…"), BLUE)


def test_a_hosts_own_font(monkeypatch):
    asked = []

    def none(place, size):
        asked.append(place)
        raise OSError("cannot open resource")

    monkeypatch.setattr(ImageFont, "truetype", none)
    monkeypatch.setattr(plots, "FACES", ["/host/Roboto.ttf"])
    plots.font(11)
    assert asked[-1] == "/host/Roboto.ttf" and len(asked) == 3


def test_bars_at_the_ends_of_their_scale(tmp_path):
    """Wilson's bounds of 0 and 100% may round to the wrong side of the value."""
    ends = [plots.Bar("none", 0.0, 1e-17, 0.8), plots.Bar("all", 100.0, 99.2, 100.0 - 1e-13)]
    plots.bars(tmp_path / "bars.png", "Shares", [plots.BarPanel("portraits", "%", ends)])
    width, height = Image.open(tmp_path / "bars.png").size
    assert width < 2 * height  # one panel takes no place for a second
