"""Endpoints of the workbench: strips of pictures that show what a negative does, and the runs that are kept."""

from __future__ import annotations

import base64
from typing import Any, Dict, Optional

from fastapi import Body, HTTPException
from fastapi.responses import FileResponse, HTMLResponse
from modules import shared

from lib_negguide.background import Busy
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111 import jobs
from lib_negguide.said import parts
from lib_negguide.settings import fields
from lib_negguide.webui import workbench_read, workbench_run
from lib_negguide.webui.api.answers import refusing
from lib_negguide.workbench import report
from lib_negguide.workbench.form import Form, defaults
from lib_negguide.workbench.outcome import FAILED
from lib_negguide.workbench.runs import NoSuchRun


def workbench(body: Any = Body()) -> Dict[str, Any]:
    """Make a strip and keep it: answers the run, as ``GET /workbench/runs/{id}`` does, with ``pictures`` in base 64 (PNG).

    With ``"wait": false`` beside the fields of the strip it answers at once with the ``id`` of the run; ``GET /workbench/state`` says how
    far it is. 409 while another strip is made.
    """
    body = dict(body) if isinstance(body, dict) else body
    with refusing():
        wait = body.pop("wait", True) if isinstance(body, dict) else True
        if not isinstance(wait, bool):
            raise SettingsError("wait", wait, "true or false")
        form = workbench_run.checked(body)
        try:
            identity = workbench_run.start(form)
        except Busy as error:
            raise HTTPException(status_code=409, detail="NegGuide: the workbench is at work; wait for it or interrupt it") from error
    if not wait:
        return {"id": identity}
    workbench_run.job.wait()
    run = _read(identity)
    if run["state"] == FAILED:
        raise HTTPException(status_code=422, detail=run["error"])
    folder = workbench_run.runs().of(identity)
    files = {**{row["name"]: row["file"] for row in run["cells"]}, **({"sheet": "sheet.png"} if run["cells"] else {})}
    return {**run, "pictures": {name: base64.b64encode((folder.path / file).read_bytes()).decode("ascii") for name, file in files.items()}}


def workbench_fields() -> Dict[str, Any]:
    """The fields of a strip: name, title, help, what is allowed, and the defaults."""
    told = defaults()
    return {"fields": [{**row, "default": told[row["name"]]} for row in fields(Form)]}


def workbench_state(preview: Optional[int] = None) -> Dict[str, Any]:
    """Of the strip that is made now, or of the last one: ``name`` is the run's id, pictures ``done`` of ``total``, ``state`` (idle,
    running, done, failed, cancelled) and ``error``. While it is at work also the host's sampling ``step`` of ``steps``, ``waiting``: for
    the host's queue, ``ending``: it was interrupted, and ``host``: progress, eta, place in the queue and, for the number of the
    last one seen in ``preview`` (-1: none), a live preview."""
    told, state = workbench_run.job.told(), shared.state
    ours = told["state"] == "running" and state.job == workbench_run.JOB
    host = jobs.told(workbench_run.JOB, preview if ours else None)
    return {**told, "step": state.sampling_step if ours else 0, "steps": state.sampling_steps if ours else 0,
            "doing": (state.textinfo or "") if ours else "", "waiting": told["state"] == "running" and host["place"] > 0,
            "ending": workbench_run.job.ending, "host": host}


def interrupt_workbench() -> Dict[str, Any]:
    """End the strip; the pictures that are there stay."""
    workbench_run.interrupt()
    return workbench_state()


def skip_workbench() -> Dict[str, Any]:
    """Leave out the picture that is being made."""
    workbench_run.skip()
    return workbench_state()


def list_runs() -> Dict[str, Any]:
    """The runs that are kept, newest first, in short."""
    return {"runs": workbench_run.runs().listed()}


def get_run(identity: str) -> Dict[str, Any]:
    """A run: what was asked (``form``), its ``state``, and its ``cells``, each with settings, infotext, distance to the picture without
    the negative (mean absolute difference, 0 to 255), CLIP scores and trace."""
    return _read(identity)


def get_run_file(identity: str, name: str) -> Any:
    """A file of a run: a cell's, ``sheet.png``, ``thumbnail.jpg``, ``run.json``; or ``report.html``, all of it in one file."""
    try:
        if name == "report.html":
            folder = workbench_run.runs().of(identity)
            return HTMLResponse(report.html_of(folder.read(), folder.path), headers={
                "Content-Disposition": f'inline; filename="negguide-{identity}.html"'})
        return FileResponse(workbench_run.runs().file(identity, name))
    except NoSuchRun as error:
        raise HTTPException(status_code=404, detail=str(error)) from error


def delete_run(identity: str) -> Dict[str, Any]:
    """Delete a run; 409 while it is made."""
    told = workbench_run.job.told()
    if told["state"] == "running" and told["name"] == identity:
        raise HTTPException(status_code=409, detail=f"NegGuide: the run {identity} is being made; interrupt it first")
    try:
        workbench_run.runs().delete(identity)
    except NoSuchRun as error:
        raise HTTPException(status_code=404, detail=str(error)) from error
    return list_runs()


def read_infotext(infotext: Any = Body("", embed=True), image: Any = Body("", embed=True)) -> Dict[str, Any]:
    """The fields of a strip that an infotext says, or that of a picture (base 64): prompt, negative, seed, sampler, size, and what
    NegGuide did; ``notes``: what of it a strip has no place for, ``words``: their parts, for translations."""
    with refusing():
        form, notes = workbench_read.form_of(infotext, image)
        return {"form": form, "notes": notes, "words": parts(notes)}


def _read(identity: str) -> Dict[str, Any]:
    try:
        return workbench_run.runs().of(identity).read()
    except NoSuchRun as error:
        raise HTTPException(status_code=404, detail=str(error)) from error
