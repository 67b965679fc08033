"""NegGuide in a picture's infotext, there and back."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Optional, Tuple

import gradio as gr

from lib_negguide import __version__
from lib_negguide.errors import NegGuideError
from lib_negguide.hosts.a1111.report import NOTE, log
from lib_negguide.hosts.a1111.run import Run
from lib_negguide.metrics import scores_text
from lib_negguide.settings import Settings
from lib_negguide.webui import dnp

ON = "NegGuide"
"""Present whenever NegGuide was on; its value is the version."""

SCHEDULE = "NegGuide schedule"
"""The settings as JSON, windows in sigma, defaults left out; absent when all are defaults."""

CAPTION = "NegGuide caption"
"""Of each picture: what it moved away from beside the negative prompt, by auto-DNP. To read; pasting makes it anew."""

SCORES = "NegGuide scores"
"""Of each picture: CLIP's cosines with and without the caption, of the whole prompt and of its least part."""

REMOVED = "NegGuide removed"
"""Of each picture: at which calls something was removed from it. To read; pasting does it anew."""

REMOVAL = "NegGuide removal"
"""In the API's ``info`` only: what was seen and done for it at each call of each picture, and what that cost."""

DNP = "NegGuide DNP"
"""In the API's ``info`` only: where the captions came from."""

TRACE = "NegGuide trace"
"""In the API's ``info`` only: what was done at each model call."""


class InfoOnly(dict):
    """A dictionary that JSON shows and the infotext leaves out: the host calls what is callable, and drops ``None``."""

    def __call__(self, **_kwargs) -> None:
        return None


def write(p, run: Run) -> None:
    """Note what a request asks for, windows in sigma, so that they mean the same under other steps; and its captions."""
    p.extra_generation_params[ON] = __version__
    if run.given:
        p.extra_generation_params[SCHEDULE] = _of_each(p, lambda number: to_json(_with_caption(run, number)))
    elif to_json(run.settings) != "{}":
        p.extra_generation_params[SCHEDULE] = to_json(run.settings)
    if run.negatives is not None:
        p.extra_generation_params[CAPTION] = _of_each(p, lambda number: run.negatives[number].text)
        if run.plain is not None:
            p.extra_generation_params[SCORES] = _of_each(p, lambda number: scores_text(run.scores.get(number)))
        write_captions(p, run)


def _with_caption(run: Run, number: int) -> Settings:
    """Settings that bring a picture back whose caption was typed."""
    text = run.negatives[number].text.strip()
    return run.settings.copy(update={"dnp": run.settings.dnp.copy(update={"captioner": "text", "text": text}) if text else None})


def write_captions(p, run: Run) -> None:
    """Note in ``info`` where the captions came from, and what has come of them."""
    if run.negatives is not None:
        p.extra_generation_params[DNP] = InfoOnly(dnp.told(run))


def _of_each(request, value: Callable[[int], Optional[str]]) -> Callable[..., Optional[str]]:
    """A value of ``extra_generation_params`` that differs between pictures. The host asks by number in the batch, or in the job."""

    def of_picture(p=request, index=0, all_prompts=(), use_main_prompt=False, **_known) -> Optional[str]:
        in_batch = all_prompts is not p.all_prompts and not use_main_prompt
        try:
            return value(index + p.iteration * p.batch_size if in_batch else index) or None
        except IndexError:  # a picture that was never meant to be
            return None

    return of_picture


def write_trace(p, passes: List[Any]) -> None:
    """Note what was done in the passes of a batch."""
    p.extra_generation_params[TRACE] = InfoOnly(
        passes=[{"pass": "hires" if done.hires else "first", **done.trace.to_dict()} for done in passes])


def write_removal(p, run: Run) -> None:
    """Note what a removal did in the pictures sampled so far."""
    if not run.removed:
        return
    p.extra_generation_params[REMOVED] = _of_each(p, lambda number: removed_text(run, number))
    p.extra_generation_params[REMOVAL] = InfoOnly(text=run.settings.remove.text, pictures=[
        {"picture": number, "extra_evaluations": sum(done["extra_evaluations"] for done in removed.passes), "passes": removed.passes}
        for number, removed in sorted(run.removed.items())])


def removed_text(run: Run, number: int) -> Optional[str]:
    """``glasses: calls 4-11 of 30, σ 5.1 to 1.6``; of two passes ``…; hires calls 1-3 of 10, …``."""
    removed = run.removed.get(number)
    if removed is None:
        return None
    parts = [("hires " if done["pass"] == "hires" else "") + told for done, told in zip(removed.passes, removed.told)]
    return f"{run.settings.remove.text}: " + "; ".join(parts)


def remove(p) -> None:
    """X/Y/Z cells share one dictionary: drop what another cell has left in it."""
    for key in (ON, SCHEDULE, CAPTION, SCORES, REMOVED, REMOVAL, DNP, TRACE, NOTE):
        p.extra_generation_params.pop(key, None)


def to_json(settings: Settings) -> str:
    """The settings without ``enabled``, as in the page's hidden text box."""
    data = settings.to_dict()
    data.pop("enabled", None)
    return json.dumps(data, ensure_ascii=False)


def from_params(params: Dict[str, Any]) -> Optional[Settings]:
    """The settings of a parsed infotext; ``None`` when NegGuide was off. Raises :class:`NegGuideError`."""
    if ON not in params:
        return None
    return Settings.parse(params.get(SCHEDULE) or "{}")


def paste_fields(enabled, editor) -> Tuple[List[Any], List[str]]:
    """``infotext_fields`` and ``paste_field_names`` of the script.

    A picture made without NegGuide, or with settings that are not allowed, switches it off
    and leaves the editor as it is.
    """

    def enabled_of(params: Dict[str, Any]) -> bool:
        try:
            return from_params(params) is not None
        except NegGuideError as error:
            log.warning("infotext: %s", error)
            gr.Warning(f"The picture's NegGuide settings cannot be used, NegGuide is off. {error}")
            return False

    def json_of(params: Dict[str, Any]) -> Optional[str]:
        try:
            settings = from_params(params)
        except NegGuideError:  # said by the other field
            return None
        return None if settings is None else to_json(settings)

    return [(enabled, enabled_of), (editor, json_of)], [ON, SCHEDULE]
