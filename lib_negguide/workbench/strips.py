"""The cells of a strip: one table of settings, from what is asked for. No picture is made here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Dict, List, Optional

from lib_negguide import presets
from lib_negguide.said import said
from lib_negguide.settings import Dns, Negative, Removal, Settings, Window
from lib_negguide.workbench.form import Form

PLAIN, DNS, ONLY, GUIDED = "plain", "dns", "only", "guided"
"""Names of cells: without the negative; and the three others of figure 4 of Desai and Vasconcelos."""

BAN = presets.window("Ban et al. window (σ 5.8 → 1.6)")

NAMES = {"stock": "stock negative prompt", "window": "window", "branches": "three branches", "perp-neg": "Perp-Neg",
         "loop": "removal in a closed loop", "anchor": "removal, the rest kept"}


@dataclass(frozen=True)
class Cell:
    """One picture of a strip. ``name`` is a file's; ``row`` and ``column`` are headings, "" where there is none."""

    name: str
    title: str
    settings: Settings
    prompt: str
    negative_prompt: str
    row: str = ""
    column: str = ""

    @property
    def makes(self) -> tuple:
        """Cells in which this is equal have the same picture."""
        return self.prompt, self.negative_prompt, repr(self.settings)


def cells(form: Form, caption: Optional[str] = None) -> List[Cell]:
    """All cells, the one without the negative first. ``caption``: n* of the strip "four", once it is known: without it its first two."""
    title = said("p") if form.strip == "four" else said("without the negative")
    plain = Cell(PLAIN, title, Settings(enabled=False), form.prompt, form.negative_prompt)
    return [plain, *_STRIPS[form.strip](form, caption)]


def _acting(form: Form, name: str, title: str, window: Window, combine: str = "join", **place: str) -> Cell:
    negative = Negative(text=form.negative, **window.dict(exclude_defaults=True))
    return Cell(name, title, Settings(negatives=[negative], combine=combine), form.prompt, form.negative_prompt, **place)


def _windows(form: Form, _caption: Optional[str]) -> List[Cell]:
    ends = sorted(form.points, reverse=form.unit == "sigma")
    labels = dict(zip(ends, _labels(ends, form)))
    found = []
    for start, stop in combinations(ends, 2):
        window = Window(start=start, stop=stop, unit=form.unit)
        found.append(_acting(form, f"from-{start:g}-to-{stop:g}", said("{} to {}", labels[start], labels[stop]), window,
                             row=said("from {}", labels[start]), column=said("to {}", labels[stop])))
    return found


def _labels(ends: List[float], form: Form) -> List[str]:
    """``step 5`` also for a fraction, which nobody can see; ``σ 5.8``."""
    if form.unit == "sigma":
        return [f"σ {end:g}" for end in ends]
    counts = ends if form.unit == "step" else [end * form.steps for end in ends]
    texts = [said("step {}", f"{count:.0f}") for count in counts]
    return texts if len(set(texts)) == len(texts) else [said("step {}", f"{count:.4g}") for count in counts]


def _weights(form: Form, _caption: Optional[str]) -> List[Cell]:
    return [_acting(form, f"weight-{weight:g}", said("weight {}", f"{weight:g}"), form.window.copy(update={"weight": weight}))
            for weight in sorted(form.weights)]


def _formulas(form: Form, _caption: Optional[str]) -> List[Cell]:
    found = []
    for formula in form.formulas:
        if formula == "stock":
            texts = ", ".join(text for text in (form.negative_prompt.strip(), form.negative.strip()) if text)
            found.append(Cell("stock", said(NAMES[formula]), Settings(enabled=False), form.prompt, texts))
        elif formula == "window":
            window = form.window if form.window != Window() else BAN
            found.append(_acting(form, "window", said("window {}", _ends(window)), window))
        elif formula == "loop":
            found.append(_removing(form, formula))
        else:
            found.append(_acting(form, formula, said(NAMES[formula]), form.window, formula))
    return found


def _removal(form: Form, _caption: Optional[str]) -> List[Cell]:
    return [_removing(form, "loop"), _removing(form, "anchor", anchor=True)]


def _removing(form: Form, name: str, **removal) -> Cell:
    settings = Settings(remove=Removal(text=form.negative, **removal))
    return Cell(name, said(NAMES[name]), settings, form.prompt, form.negative_prompt)


def _ends(window: Window) -> str:
    sign = "σ " if window.unit == "sigma" else ""
    ends = said("{} to {}", *("…" if end is None else f"{sign}{end:g}" for end in (window.start, window.stop)))
    return ends if sign else said("{} ({})", ends, said(window.unit))


def _four(form: Form, caption: Optional[str]) -> List[Cell]:
    found = [Cell(DNS, said("DNS: away from p"), Settings(dns=Dns()), form.prompt, "")]
    if caption is None:
        return found
    box = form.negative_prompt
    dnp = form.dnp.copy(update={"captioner": "text", "text": caption})
    guided = Settings(dnp=dnp) if caption.strip() else Settings(enabled=False)
    return [*found, Cell(ONLY, '("", n*)', Settings(enabled=False), "", caption), Cell(GUIDED, "(p, n*)", guided, form.prompt, box)]


_STRIPS = {"windows": _windows, "weights": _weights, "formulas": _formulas, "removal": _removal, "four": _four}


def grid(rows: List[Dict], key: str) -> List[str]:
    """The headings of a run's cells (``key`` is row or column) in their order, each once; none where there is none."""
    return [heading for heading in dict.fromkeys(row[key] for row in rows) if heading]
