"""NegGuide in a picture's infotext, there and back."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Tuple

import gradio as gr

from lib_negguide import __version__
from lib_negguide.errors import NegGuideError
from lib_negguide.hosts.a1111.report import NOTE, log
from lib_negguide.settings import Settings

ON = "NegGuide"
"""Present whenever NegGuide was on; its value is the version."""

SCHEDULE = "NegGuide schedule"
"""The settings as JSON, windows in sigma, defaults left out; absent when all are defaults."""

TRACE = "NegGuide trace"
"""In the API's ``info`` only: what was done at each model call."""


class _InfoOnly(dict):
    """A dictionary that JSON shows and the infotext leaves out: the host calls what is callable, and drops ``None``."""

    def __call__(self, **_kwargs) -> None:
        return None


def write(p, settings: Settings) -> None:
    """Note the settings of a request; they must be in sigma, so that they mean the same under other steps."""
    data = to_json(settings)
    p.extra_generation_params[ON] = __version__
    if data != "{}":
        p.extra_generation_params[SCHEDULE] = data


def write_trace(p, passes: List[Any]) -> None:
    """Note what was done in the passes of a batch."""
    p.extra_generation_params[TRACE] = _InfoOnly(
        passes=[{"pass": "hires" if done.hires else "first", **done.trace.to_dict()} for done in passes])


def remove(p) -> None:
    """X/Y/Z cells share one dictionary: drop what another cell has left in it."""
    for key in (ON, SCHEDULE, TRACE, NOTE):
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
