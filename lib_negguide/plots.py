"""Contact sheets (Pillow) and curves (matplotlib). Both are imported when a picture is drawn, not before."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from lib_negguide.errors import NegGuideError

INK, FAINT, PAPER = "#1c2026", "#6b7380", "#ffffff"
LANE, ACTS = "#e4e7eb", "#d1495b"
GOOD, BAD = "#2e8b57", "#d98324"
FACES: List[str] = []
"""Font files that a host adds, for where DejaVu Sans is not."""
SERIES = ("#2a6f97", "#d1495b", "#2e8b57", "#8a5a9e", "#d98324", "#3aa6a0", "#7a5c3e", "#b0709a", "#5b6470", "#1c2026",
          "#a3b18a", "#6a7fdb")


@dataclass
class Cell:
    """One picture of a sheet: what acted as strengths per call, lines of text below, frame ``good`` or not (or neither).

    ``image``: Pillow, or ``None`` for a place that stays empty. ``words``: text below the lines, wrapped to the picture's width.
    """

    image: object
    strengths: Sequence[float] = ()
    lines: Sequence[str] = ()
    good: Optional[bool] = None
    words: str = ""


@dataclass
class Row:
    """A row of a sheet, with its name and a few words on what it shows."""

    title: str
    words: str = ""
    cells: List[Cell] = field(default_factory=list)


def contact_sheet(title: str, rows: Sequence[Row], footer: str = "", side: int = 132):
    """A Pillow image: one row of pictures under another, each with a bar of what acted over its run (left to right).

    Pictures are ``side`` pixels wide; the bars are left out where nothing acts in any picture.
    """
    from PIL import Image, ImageDraw

    bold_title, bold, text, small = font(20, bold=True), font(17, bold=True), font(13), font(11)
    gap, left, top = 12, 222, 52
    title, footer = legible(title, small), legible(footer, small)
    cells = [cell for row in rows for cell in row.cells if cell.image is not None]
    lane = 7 if any(len(cell.strengths) for cell in cells) else 0
    tall = max(round(side * cell.image.height / cell.image.width) for cell in cells)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    below = {id(cell): [legible(line, small) for line in cell.lines] for cell in cells}
    for cell in cells:
        below[id(cell)] += wrapped(ruler, legible(cell.words, small), small, side + 4) if cell.words else []
    beside = [wrapped(ruler, legible(row.words, text), text, left - gap - 16) for row in rows]
    high = max(tall + lane + 8 + 15 * max(map(len, below.values())), 30 + 18 * max(map(len, beside))) + gap + 6
    columns = max(len(row.cells) for row in rows)
    widest = max(bold_title.getlength(title), small.getlength(footer)) if hasattr(small, "getlength") else 0
    width = max(left + columns * (side + gap) + gap, round(widest) + 2 * gap + 8)
    sheet = Image.new("RGB", (width, top + len(rows) * high + (30 if footer else 6)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((gap + 4, 15), title, INK, font=bold_title)
    for number, row in enumerate(rows):
        y = top + number * high
        draw.text((gap + 4, y + 2), legible(row.title, bold), INK, font=bold)
        for at, line in enumerate(beside[number]):
            draw.text((gap + 4, y + 30 + 18 * at), line, FAINT, font=text)
        for column, cell in enumerate(row.cells):
            if cell.image is None:
                continue
            x = left + column * (side + gap)
            frame = LANE if cell.good is None else GOOD if cell.good else BAD
            bottom = y + round(side * cell.image.height / cell.image.width)
            draw.rectangle((x - 3, y - 3, x + side + 2, bottom + 2), fill=frame)
            sheet.paste(cell.image.convert("RGB").resize((side, bottom - y), Image.BICUBIC), (x, y))
            if lane:
                bar(draw, (x - 3, bottom + 6, x + side + 3, bottom + 6 + lane), cell.strengths)
            for at, line in enumerate(below[id(cell)]):
                draw.text((x - 2, bottom + lane + 10 + 15 * at), line, INK if at == 0 else FAINT, font=small)
    if footer:
        draw.text((gap + 4, sheet.height - 24), footer, FAINT, font=small)
    return sheet


def figure_four(prompts: Sequence[str], seeds: Sequence[int], fours: Sequence, scores: Sequence = (), footer: str = "",
                side: Optional[int] = None):
    """Figure 4 of Desai and Vasconcelos as a Pillow image, a row for each prompt and seed.

    The picture of p; its diffusion-negative picture (or pictures) with the caption; that of ("", n*); that of (p, n*).
    ``fours``: :class:`lib_negguide.dns.Four`. ``scores``: for each row a pair of :class:`lib_negguide.metrics.Score`, of p and of
    (p, n*), or ``None``; the better one is framed. ``side``: width of a picture in pixels; by itself the widest one's, at most 384.
    """
    rows = []
    for number, (prompt, seed, four) in enumerate(zip(prompts, seeds, fours)):
        before, after = (scores[number] if number < len(scores) else None) or (None, None)
        better = None if before is None or after is None else after.better_than(before)
        row = Row(f"seed {seed}", prompt)
        row.cells.append(Cell(four.plain, lines=["p"], words=_scored(before), good=None if better in (None, True) else True))
        for shown in four.negative.shown:
            row.cells.append(Cell(shown.image, lines=["DNS"], words=shown.caption))
        row.cells.append(Cell(four.only, lines=['("", n*)'], words=four.negative.text))
        row.cells.append(Cell(four.guided, lines=["(p, n*)"], words=_scored(after), good=better or None))
        rows.append(row)
    side = side or min(384, max(cell.image.width for row in rows for cell in row.cells))
    return contact_sheet("Diffusion-negative prompting", rows, footer, side)


def heatmaps(title: str, image, words: Sequence, sigmas: Sequence[float], calls: Sequence[int] = (), footer: str = "",
             side: Optional[int] = None, numbers: Sequence[int] = (), total: int = 0, each: bool = False):
    """Figure 1 of Ban et al. (2406.02965) as a Pillow image: a row for each word, where the picture attends to it at some calls.

    ``words``: :class:`lib_negguide.attention.history.Word`; ``calls``: from 0, by default nine over the run. Colours are a word's
    own, from its lowest place to its highest over all calls. The critical call, always among those drawn, is framed. Where not
    all of ``total`` calls were looked at, ``numbers`` are those that were. ``each``: each call has colours of its own.
    """
    numbers, total = numbers or range(len(sigmas)), total or len(sigmas)
    calls = calls or sorted({round(number * (len(sigmas) - 1) / 8) for number in range(9)})
    side = side or min(192, max(96, image.width))
    rows = []
    for word in words:
        shown = sorted({*calls, *([] if word.critical is None else [word.critical])})
        low, high = min(float(one.min()) for one in word.maps), max(float(one.max()) for one in word.maps)
        critical = "never rises" if word.critical is None else f"critical call: {numbers[word.critical] + 1} of {total}"
        row = Row(word.name, f"of the {word.side}; {critical}; {100 * low:.2g} to {100 * high:.2g}% of the attention")
        for call in shown:
            own = word.maps[call]
            least, most = (float(own.min()), float(own.max())) if each else (low, high)
            heat = ((own - least) / max(most - least, 1e-12)).tolist()
            row.cells.append(Cell(overlay(image, heat, side), lines=[f"call {numbers[call] + 1}", f"σ {sigmas[call]:.2f}"],
                                  good=True if call == word.critical else None))
        rows.append(row)
    return contact_sheet(title, rows, footer, side)


def overlay(image, heat: Sequence[Sequence[float]], side: int):
    """The picture in grey, ``side`` pixels wide, red by the square of ``heat`` (rows of values from 0 to 1), so that peaks show."""
    from PIL import Image

    size = (side, round(side * image.height / image.width))
    grey = image.convert("L").convert("RGB").resize(size, Image.BICUBIC)
    mask = Image.new("L", (len(heat[0]), len(heat)))
    mask.putdata([round(210 * min(1.0, max(0.0, value)) ** 2) for row in heat for value in row])
    return Image.composite(Image.new("RGB", size, ACTS), grey, mask.resize(size, Image.BICUBIC))


def _scored(score) -> str:
    """CLIP scores in words; nothing for ``None``."""
    if score is None:
        return ""
    return f"CLIP {score.full:.3f}" + ("" if score.minimum is None else f", least object {score.minimum:.3f}")


def bar(draw, box: Tuple[int, int, int, int], strengths: Sequence[float]) -> None:
    """The run as a lane from left to right, filled where the negative acts; paler where it is weaker."""
    x0, y0, x1, y1 = box
    draw.rectangle(box, fill=LANE)
    width = (x1 - x0) / max(1, len(strengths))
    for call, strength in enumerate(strengths):
        if strength > 0.0:
            share = 0.25 + 0.75 * min(1.0, strength)
            draw.rectangle((round(x0 + call * width), y0, round(x0 + (call + 1) * width), y1), fill=blend(LANE, ACTS, share))


def blend(one: str, other: str, share: float) -> str:
    """A colour between two ``#rrggbb``."""
    pairs = [(int(one[i:i + 2], 16), int(other[i:i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def font(size: int, bold: bool = False):
    """DejaVu Sans where it can be found (matplotlib brings it along), else one of :data:`FACES`, else Pillow's own."""
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    package = find_spec("matplotlib")
    beside = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / name if package else Path(name)
    for place in (str(beside), name, *FACES):
        try:
            return ImageFont.truetype(place, size)
        except OSError:
            continue
    return ImageFont.load_default()


def legible(words: str, with_font) -> str:
    """The words as far as the font has them: Pillow's own, up to version 10, fails over what is not Latin."""
    from PIL import ImageFont

    return words.encode("latin-1", "replace").decode("latin-1") if isinstance(with_font, ImageFont.ImageFont) else words


def wrapped(draw, words: str, with_font, width: int) -> List[str]:
    """Text in lines of at most ``width`` pixels, words that are longer in pieces; newlines stay."""
    lines: List[str] = []
    for paragraph in words.split("\n"):
        line = ""
        for word in (piece for whole in paragraph.split() for piece in pieces(draw, whole, with_font, width)):
            longer = f"{line} {word}".strip()
            if line and draw.textlength(longer, font=with_font) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def pieces(draw, word: str, with_font, width: int) -> List[str]:
    """A word, cut where it is longer than ``width`` pixels."""
    cut = [""]
    for letter in word:
        if cut[-1] and draw.textlength(cut[-1] + letter, font=with_font) > width:
            cut.append("")
        cut[-1] += letter
    return cut


@dataclass
class Curve:
    """Points with an interval each: ``low`` and ``high`` are bounds in the units of ``y``, or empty."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass
class Panel:
    """One coordinate system; ``marks`` are vertical lines with a label."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    y_range: Optional[Tuple[float, float]] = None
    marks: Sequence[Tuple[float, str]] = ()


def curves(path, title: str, panels: Sequence[Panel], columns: int = 2) -> None:
    """Write panels of curves as a PNG or SVG; raises :class:`NegGuideError` without matplotlib."""
    figure, axes = _figure(title, len(panels), columns)
    for axis, panel in zip(axes, panels):
        for number, curve in enumerate(panel.curves):
            colour = SERIES[number % len(SERIES)]
            axis.plot(curve.x, curve.y, "o-", color=colour, label=curve.label, markersize=4.5, linewidth=1.8)
            if len(curve.low):
                axis.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        for x, label in panel.marks:
            axis.axvline(x, color=FAINT, linewidth=1, linestyle=":")
            axis.annotate(label, (x, 0.04), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
                          fontsize=8, color=FAINT, rotation=90, va="bottom")
        axis.set_title(panel.title, fontsize=11, color=INK)
        axis.set_xlabel(panel.x_label)
        axis.set_ylabel(panel.y_label)
        if panel.y_range:
            axis.set_ylim(*panel.y_range)
        axis.grid(color=LANE)
        axis.spines[["top", "right"]].set_visible(False)
        if len(panel.curves) > 1:
            axis.legend(frameon=False, fontsize=9)
    figure.savefig(str(path), dpi=130)


@dataclass
class Bar:
    """A value with its interval, in its units."""

    label: str
    value: float
    low: float
    high: float


@dataclass
class BarPanel:
    """Values side by side, as points with whiskers; the first one is drawn through as a line to compare with."""

    title: str
    x_label: str
    bars: Sequence[Bar]


def bars(path, title: str, panels: Sequence[BarPanel], columns: int = 2) -> None:
    """Write panels of values with intervals as a PNG or SVG; raises :class:`NegGuideError` without matplotlib."""
    figure, axes = _figure(title, len(panels), columns)
    for axis, panel in zip(axes, panels):
        for at, one in enumerate(panel.bars):
            colour = FAINT if at == 0 else SERIES[0]
            reach = [[max(one.value - one.low, 0.0)], [max(one.high - one.value, 0.0)]]  # at 0 and 100% a bound may round past the value
            axis.errorbar(one.value, at, xerr=reach, fmt="o", color=colour, capsize=3)
        axis.axvline(panel.bars[0].value, color=FAINT, linewidth=1, linestyle=":")
        axis.set_yticks(range(len(panel.bars)), [one.label for one in panel.bars])
        axis.invert_yaxis()
        axis.set_title(panel.title, fontsize=11, color=INK)
        axis.set_xlabel(panel.x_label)
        axis.grid(color=LANE, axis="x")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(str(path), dpi=130)


def _figure(title: str, panels: int, columns: int):
    """A matplotlib figure with a heading, and as many axes as panels."""
    try:
        import matplotlib
    except ImportError:
        raise NegGuideError("NegGuide: drawing curves needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    columns = min(columns, panels)
    lines = -(-panels // columns)
    figure = Figure(figsize=(5.4 * columns, 3.9 * lines + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=14, fontweight="bold", color=INK)
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels]


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table, columns aligned to be read as plain text too."""
    cells = [[str(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
