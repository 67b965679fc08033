"""The endpoint that draws a picture's attention: figure 1 of Ban et al. (2406.02965) of chosen words, as PNG."""

from __future__ import annotations

import io
from typing import Any, List

from fastapi import HTTPException, Query
from fastapi.responses import Response

from lib_negguide.errors import SettingsError
from lib_negguide.webui import workbench_run
from lib_negguide.webui.api.answers import refusing
from lib_negguide.workbench import attention
from lib_negguide.workbench.runs import NoSuchRun


def get_attention(identity: str, cell: str, words: List[str] = Query([]), size: str = "", calls: str = "", colours: str = "run") -> Any:  # noqa: B008
    """Heat maps of a cell of a run made with ``attention``, a row for each of ``words`` (``person``, or ``negative:person``; may be
    repeated), at ``calls`` (from 1, ``1,5,9``), in the resolution ``size`` (``16x16``). ``colours``: red is the highest share of all calls
    (``run``) or of each (``call``). What is not said is chosen. As data: the files that the cell's ``attention`` names."""
    try:
        folder = workbench_run.runs().of(identity)
    except NoSuchRun as error:
        raise HTTPException(status_code=404, detail=str(error)) from error
    row = next((row for row in folder.read()["cells"] if row["name"] == cell), None)
    if row is None:
        raise HTTPException(status_code=404, detail=f"NegGuide: the run {identity} has no cell {cell!r}")
    with refusing():
        drawn = attention.sheet(folder.path, row, folder.image(row["file"]), words, _size(size), _calls(calls), colours=colours)
    data = io.BytesIO()
    drawn.save(data, "PNG")
    return Response(data.getvalue(), media_type="image/png")


def _size(text: str) -> List[int]:
    """Height and width of ``WIDTHxHEIGHT``; nothing for nothing."""
    try:
        return [int(part) for part in reversed(text.split("x"))] if text else []
    except ValueError:
        raise SettingsError("size", text, "of the form 16x16") from None


def _calls(text: str) -> List[int]:
    """Numbers from 0 of ``1,5,9``."""
    try:
        return [int(part) - 1 for part in text.split(",")] if text else []
    except ValueError:
        raise SettingsError("calls", text, "of the form 1,5,9") from None
