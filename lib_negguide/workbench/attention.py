"""A cell's attention on disk: the maps as grey pictures, what they say as JSON, and figure 1 of Ban et al. (2406.02965) drawn of them.

``NAME-attention.json``: ``calls`` (from 0) that were looked at, their ``sigmas``, ``r_t``, the number of ``all`` calls; of each of the
``resolutions`` its ``size`` (height, width), the ``file`` with its maps, and its ``words``: ``side``, ``word``, ``low`` and ``high``,
the shares of attention that are 0 and 255 there, ``strengths`` (mean square of the shares, a call), ``critical``, the place in ``calls`` of
the critical one or ``null``. In the file a word has a row and a call a column of maps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from lib_negguide import plots
from lib_negguide.attention.history import NEGATIVE, History, Word
from lib_negguide.errors import SettingsError
from lib_negguide.workbench.form import Form
from lib_negguide.workbench.strips import Cell

COLOURS = ("run", "call")
"""Red is a word's highest share of the whole run, or of each call by itself."""
SHOWN = 4
"""Words that are drawn where nobody has chosen any."""


def attended(form: Form, cell: Cell) -> Optional[str]:
    """The negative whose words are looked for in a cell's attention, beside its prompt's; ``None`` where nobody asks."""
    if not form.attention:
        return None
    if form.strip != "four":
        return form.negative
    return cell.negative_prompt if cell.settings.dnp is None else cell.settings.dnp.text


def names(name: str, history: Optional[History]) -> Optional[Dict[str, Any]]:
    """What a cell's row says of its attention: files and sizes (height, width), the one to show first; ``None`` where there is none."""
    if history is None or not history.sizes() or not any(tokens.names for tokens in history.words.values()):
        return None
    return {"file": f"{name}-attention.json", "sheet": f"{name}-attention.png", "sizes": [list(size) for size in history.sizes()]}


def write(folder: Path, row: Dict[str, Any], history: History, image: Any) -> None:
    """Write JSON, maps and the sheet of a cell's ``row``. ``image``: the cell's picture (Pillow)."""
    calls = max(len(row["trace"].get("calls", ())), history.calls[-1] + 1)
    told: Dict[str, Any] = {"calls": history.calls, "sigmas": history.sigmas, "r_t": history.ratios, "all": calls, "resolutions": []}
    for size in history.sizes():
        words = history.of(size)
        file = f"{row['name']}-attention-{size[1]}x{size[0]}.png"
        told["resolutions"].append({"size": list(size), "file": file, "words": [_told(word) for word in words]})
        _atlas(words).save(Path(folder) / file)
    (Path(folder) / row["attention"]["file"]).write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    sheet(folder, row, image).save(Path(folder) / row["attention"]["sheet"])


def _told(word: Word) -> Dict[str, Any]:
    low, high = _range(word)
    return {"side": word.side, "word": word.name, "low": low, "high": high, "critical": word.critical,
            "strengths": [float(f"{value:.5g}") for value in word.strengths]}


def _range(word: Word) -> List[float]:
    whole = torch.stack(list(word.maps))
    return [float(f"{float(end):.6g}") for end in (whole.min(), whole.max())]


def _atlas(words: Sequence[Word]) -> Any:
    """All maps as one grey picture (Pillow), a word's in a row, from its lowest place 0 to its highest 255."""
    from PIL import Image

    rows = []
    for word in words:
        (low, high), whole = _range(word), torch.cat(list(word.maps), 1)
        rows.append(((whole - low) / max(high - low, 1e-12)).clamp(0, 1))
    return Image.fromarray((torch.cat(rows) * 255).round().to(torch.uint8).numpy(), "L")


def middle(sizes: Sequence[Sequence[int]]) -> List[int]:
    """The size to show first: the smallest maps with at least 64 places (16x16 for SD1.5 at 512), else the largest."""
    enough = [size for size in sizes if size[0] * size[1] >= 64]
    return list(min(enough or [max(sizes, key=lambda size: size[0] * size[1])], key=lambda size: size[0] * size[1]))


def read(folder: Path, row: Dict[str, Any]) -> Dict[str, Any]:
    """What ``NAME-attention.json`` says; raises :class:`SettingsError` for a cell without maps."""
    if not row.get("attention"):
        raise SettingsError("cell", row["name"], "one of a run with attention")
    return json.loads((Path(folder) / row["attention"]["file"]).read_text("utf-8"))


def chosen(words: Sequence[Dict[str, Any]]) -> List[int]:
    """Places of the words to show first: of the negative the first ones, and the last of the prompt, at most four."""
    negative = [at for at, word in enumerate(words) if word["side"] == NEGATIVE]
    prompt = [at for at, word in enumerate(words) if word["side"] != NEGATIVE]
    return sorted([*prompt[-1:], *negative[:SHOWN - len(prompt[-1:])]])


def sheet(folder: Path, row: Dict[str, Any], image: Any, words: Sequence[str] = (), size: Optional[Sequence[int]] = None,
          calls: Sequence[int] = (), colours: str = "run") -> Any:
    """Figure 1 (Pillow) of a cell: a row for each word. ``words``: by themselves or as ``side:word``, as given; ``size``: height and width;
    ``calls``: from 0, of those that were looked at; ``colours``: of the whole run or of each call. Raises :class:`SettingsError`."""
    if colours not in COLOURS:
        raise SettingsError("colours", colours, " or ".join(COLOURS))
    told = read(folder, row)
    sizes = [one["size"] for one in told["resolutions"]]
    size = list(size or middle(sizes))
    if size not in sizes:
        raise SettingsError("size", f"{size[1]}x{size[0]}", " or ".join(f"{w}x{h}" for h, w in sizes))
    found = told["resolutions"][sizes.index(size)]
    at = [place for word in words for place in _places(found["words"], word)] if words else chosen(found["words"])
    unknown = [call for call in calls if call not in told["calls"]]
    if unknown:
        raise SettingsError("calls", unknown[0] + 1, "of " + ", ".join(str(call + 1) for call in told["calls"]))
    drawn = _maps(Path(folder) / found["file"], found, dict.fromkeys(at))
    return plots.heatmaps(f"Attention, {size[1]}x{size[0]}", image, drawn, told["sigmas"], [told["calls"].index(call) for call in calls],
                          row["title"], numbers=told["calls"], total=told["all"], each=colours == "call")


def _places(words: Sequence[Dict[str, Any]], asked: str) -> List[int]:
    places = [at for at, word in enumerate(words) if asked in (word["word"], f"{word['side']}:{word['word']}")]
    if not places:
        raise SettingsError("words", asked, "of " + ", ".join(dict.fromkeys(word["word"] for word in words)))
    return places


def _maps(path: Path, found: Dict[str, Any], at: Sequence[int]) -> List[Word]:
    from PIL import Image

    height, width = found["size"]
    with Image.open(path) as opened:
        grey = torch.tensor(list(opened.convert("L").getdata())).reshape(opened.height, opened.width) / 255.0
    drawn = []
    for place in at:
        word = found["words"][place]
        maps = (word["low"] + (word["high"] - word["low"]) * grey[place * height:(place + 1) * height]).split(width, 1)
        drawn.append(Word(word["side"], word["word"], maps, word["strengths"], word["critical"]))
    return drawn
