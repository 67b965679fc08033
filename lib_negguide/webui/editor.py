"""The container of the schedule editor: its HTML and the data that javascript/ reads from it.

The script repeats no range, choice, help text or preset: it takes them from here.
"""

from __future__ import annotations

import html
import json
from typing import Any, Dict, List, Sequence

from lib_negguide import presets
from lib_negguide.schedule import TRAIN_STEPS, reference_sigmas
from lib_negguide.settings import Dnp, Dns, ImagePrompt, Negative, Removal, Schedule, Settings, Window, fields

CAPTIONERS = ("auto", "webui", "blip-base", "blip-large", "blip2", "text")
"""Captioners that every page suggests."""

MODELS = (Window, Negative, Schedule, Dns, Dnp, ImagePrompt, Removal, Settings)
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "text"}


def tables() -> Dict[str, List[Dict[str, Any]]]:
    """The table of fields of every model, JSON-ready: {model name: rows of :func:`settings.fields` with what a value is}."""
    return {
        model.__name__: [dict(row, default=_plain(row["default"]), **_kind(model.__fields__[row["name"]])) for row in fields(model)]
        for model in MODELS
    }


def window_presets() -> List[Dict[str, Any]]:
    """The window presets in their order: {"name", "window"}; defaults are left out of a window."""
    return [{"name": name, "window": window.dict(exclude_defaults=True)} for name, window in presets.WINDOWS.items()]


def sigmas() -> List[float]:
    """Noise levels of the training timesteps, rising, to nine digits."""
    return [float(f"{sigma:.9g}") for sigma in reversed(reference_sigmas(TRAIN_STEPS))]


def editor_html(tab: str, folders: Sequence[str] = ()) -> str:
    """The empty container that the script fills; ``tab`` is txt2img or img2img, ``folders`` are captioners on this machine."""
    data = {"tab": tab, "schema": _json(tables()), "presets": _json(window_presets()), "sigmas": _json(sigmas()),
            "captioners": _json([*CAPTIONERS, *folders])}
    attributes = " ".join(f'data-{name}="{html.escape(value, quote=True)}"' for name, value in data.items())
    return f'<div class="negguide-editor" {attributes}></div>'


def _kind(field: Any) -> Dict[str, Any]:
    """What a field holds: ``kind``, the ``model`` of objects, may it be ``null``, is it ``required``, a bound ``above`` which it is."""
    held = field.outer_type_  # of a bounded number, a class of pydantic's derived from float or int
    kind = next((name for known, name in _KINDS.items() if isinstance(held, type) and issubclass(held, known)), "points")
    if field.field_info.extra.get("choices"):
        kind = "choice"
    elif field.type_ in MODELS:
        kind = "object" if held is field.type_ else "objects"
    return {"kind": kind, "model": field.type_.__name__ if kind.startswith("object") else None,
            "null": bool(field.allow_none), "required": bool(field.required), "above": field.field_info.gt}


def _plain(default: Any) -> Any:
    return default.dict(exclude_defaults=True) if isinstance(default, Window) else default


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
