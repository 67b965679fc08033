"""Making a strip with a host's painter: each different picture once, its distance to the one without the negative, CLIP's scores."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from lib_negguide import __version__
from lib_negguide.attention.history import History
from lib_negguide.background import Cancelled
from lib_negguide.dns import Interrupted
from lib_negguide.errors import NegGuideError
from lib_negguide.said import of_error, parts, said
from lib_negguide.workbench import attention
from lib_negguide.workbench.directions import PREDICTIONS
from lib_negguide.workbench.form import Form
from lib_negguide.workbench.strips import DNS, PLAIN, Cell, cells

RUNNING, DONE, INTERRUPTED, FAILED = "running", "done", "interrupted", "failed"


@dataclass
class Made:
    """A picture (Pillow), the text that makes it again in the host, and what was done at its model calls (:mod:`lib_negguide.trace`)."""

    image: Any
    infotext: str = ""
    trace: Dict[str, Any] = field(default_factory=dict)
    caption: str = ""
    notes: Sequence[str] = ()
    previews: Sequence[Tuple[int, Any]] = ()
    """(number of the call, Pillow image of its x0)."""
    attention: Optional[History] = None

    def observed(self, norms: Sequence[Dict[str, float]], sigmas: Sequence[float], history: Optional[History] = None) -> Made:
        """With what was seen at each call in its trace, which NegGuide has none of where it was off; and with its attention."""
        self.attention = None if history is None else history.done()
        looked = () if history is None else zip(history.calls, history.ratios)
        ratios = {call: {"r_t": float(f"{value:.4g}")} for call, value in looked if value is not None}
        if norms or ratios:
            calls = self.trace.get("calls") or [{"sigma": sigma, "strengths": [], "extra_evaluations": 0} for sigma in sigmas]
            if norms:
                calls = [{**call, "norms": norm, "extra_evaluations": call["extra_evaluations"] + PREDICTIONS}
                         for call, norm in zip(calls, norms)]
            self.trace = {"names": [], **self.trace, "calls": [{**call, **ratios.get(number, {})} for number, call in enumerate(calls)]}
        return self


class Painter(Protocol):
    """A host. All may raise :class:`lib_negguide.dns.Interrupted` when the user ends the run or, with ``skipped``, this picture only."""

    def paint(self, cell: Cell) -> Made:
        """The picture of a cell."""

    def opposite(self, cell: Cell) -> Made:
        """The diffusion-negative picture, with the caption that was given or that the captioner finds."""

    def scores(self) -> AbstractContextManager:
        """Opens a :class:`lib_negguide.metrics.ClipScores`; raises :class:`ModelError` where there is none."""


Tell = Callable[[int, int, Dict[str, Any], Optional[Dict[str, Any]], Optional[Made]], None]
"""Told of the progress: cells done, cells in all, the run so far, and of a cell that is new its row and what was made."""


def begun(form: Form, identity: str) -> Dict[str, Any]:
    """A run without pictures, JSON-ready. ``identity``: its name, which is a file's. ``words``: see :func:`lib_negguide.said.parts`."""
    return {"id": identity, "version": __version__, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "state": RUNNING, "error": "",
            "notes": [], "caption": "", "form": form.dict(), "cells": [],
            "words": parts(text for cell in cells(form) for text in (cell.title, cell.row, cell.column))}


def perform(form: Form, painter: Painter, run: Dict[str, Any], tell: Tell) -> Dict[str, Any]:
    """Make the cells of a strip one after the other and write them into ``run``, which is given back with its last state.

    A picture that is skipped is left out; at an interrupt what is there stays. Errors are the caller's, ``run`` says them too.
    """
    images: Dict[str, Any] = {}
    began = time.monotonic()
    try:
        _cells(form, painter, run, tell, images)
        if form.clip and images:
            _scores(form, painter, run, images)
        run["state"] = DONE
    except (Interrupted, Cancelled):
        run["state"] = INTERRUPTED
    except Exception as error:
        run["state"] = FAILED
        text = of_error(error) if isinstance(error, NegGuideError) else f"NegGuide: {type(error).__name__}: {error}"
        run["error"] = str(text)
        run["words"].update(parts([text]))
        raise
    finally:
        run["seconds"] = round(time.monotonic() - began, 1)
    return run


def _cells(form: Form, painter: Painter, run: Dict[str, Any], tell: Tell, images: Dict[str, Any]) -> None:
    todo = cells(form)
    total = 4 if form.strip == "four" else len(todo)
    made: Dict[tuple, Made] = {}
    while todo:
        cell = todo.pop(0)
        tell(len(run["cells"]), total, run, None, None)
        try:
            if cell.makes not in made:
                made[cell.makes] = painter.opposite(cell) if cell.name == DNS else painter.paint(cell)
        except Interrupted as stop:
            if not getattr(stop, "skipped", False):
                raise
            _note(run, said("skipped: {}", cell.title))
            continue
        one = made[cell.makes]
        images[cell.name] = one.image
        if cell.name == DNS:
            run["caption"] = one.caption
            todo = cells(form, one.caption)[2:]
        row = _row(cell, one, images.get(PLAIN))
        run["cells"].append(row)
        _note(run, *one.notes)
        tell(len(run["cells"]), total, run, row, one)


def _note(run: Dict[str, Any], *notes: str) -> None:
    """Each note once."""
    run["notes"] += [str(note) for note in dict.fromkeys(notes) if note not in run["notes"]]
    run["words"].update(parts(notes))


def _row(cell: Cell, made: Made, plain: Optional[Any]) -> Dict[str, Any]:
    """What is known of a cell, JSON-ready."""
    return {"name": cell.name, "title": cell.title, "row": cell.row, "column": cell.column, "prompt": cell.prompt,
            "negative_prompt": cell.negative_prompt, "settings": cell.settings.to_dict(), "file": f"{cell.name}.png",
            "infotext": made.infotext, "trace": made.trace, "caption": made.caption, "clip": None,
            "previews": [{"call": call, "file": f"{cell.name}-x0-{call + 1}.png"} for call, _ in made.previews],
            "attention": attention.names(cell.name, made.attention),
            "distance": None if plain is None or cell.name == PLAIN else round(distance(plain, made.image), 2)}


def distance(left: Any, right: Any) -> float:
    """Mean absolute difference of two pictures' RGB values, 0 to 255; the second is brought to the first one's size."""
    one, other = left.convert("RGB"), right.convert("RGB")
    if one.size != other.size:
        other = other.resize(one.size)
    return float(np.abs(np.asarray(one, dtype=np.float32) - np.asarray(other, dtype=np.float32)).mean())


def _scores(form: Form, painter: Painter, run: Dict[str, Any], images: Dict[str, Any]) -> None:
    """CLIP's scores of every picture for the strip's own prompt; where there is no CLIP, a note says so."""
    try:
        with painter.scores() as clip:
            found = clip.scores([images[row["name"]] for row in run["cells"]], [form.prompt] * len(run["cells"]))
    except (Interrupted, Cancelled):
        raise
    except NegGuideError as error:
        _note(run, said("no CLIP scores: {}", of_error(error)))
        return
    for row, score in zip(run["cells"], found):
        row["clip"] = score.to_dict()


def strengths(row: Dict[str, Any]) -> List[float]:
    """How strongly anything acted at each model call of a cell's first pass."""
    return [max([*call["strengths"], *((call.get("removal") or {}).get("strengths") or ())], default=0.0)
            for call in row["trace"].get("calls", ())]
