"""The accordion: an enabling toggle in its title, a hidden text box with the settings, a place for the editor."""

from __future__ import annotations

import html
import json
from typing import Any, Dict, Tuple

import gradio as gr
from modules import shared
from modules.ui_components import InputAccordion

from lib_negguide import presets, settings
from lib_negguide.schedule import CURVES, UNITS
from lib_negguide.webui import preset_files


def build(tab: str) -> Tuple[Any, Any]:
    """Components of one tab (``txt2img`` or ``img2img``): (enabled, settings as JSON). No side effects: called several times.

    ``javascript/negguide.js`` fills the editor's element, reads and writes the text box,
    and offers ``negguideSync(tab, value)`` for changes that come from Python.
    """
    with InputAccordion(bool(shared.opts.negguide_enabled), label="NegGuide", elem_id=f"negguide_{tab}") as enabled:
        gr.HTML(_editor(tab), elem_id=f"negguide_{tab}_editor")
        value = gr.Textbox(
            shared.opts.negguide_settings or "{}", label="NegGuide settings", elem_id=f"negguide_{tab}_json",
            elem_classes=["negguide-json"], lines=1, max_lines=1)
        value.change(
            fn=None, _js=f"(value) => {{ if (window.negguideSync) {{ negguideSync('{tab}', value); }} }}", inputs=[value])
    for component in (enabled, value):
        component.do_not_save_to_config = True  # else ui-config.json freezes today's defaults for ever
    return enabled, value


def _editor(tab: str) -> str:
    schema, names = (html.escape(json.dumps(data, ensure_ascii=False)) for data in (field_table(), preset_table()))
    return f'<div class="negguide-editor" data-tab="{tab}" data-schema="{schema}" data-presets="{names}"></div>'


def field_table() -> Dict[str, Any]:
    """Everything that the editor must know about the settings: their one table."""
    table: Dict[str, Any] = {"version": settings.SCHEMA_VERSION, "units": UNITS, "curves": CURVES, "combine": settings.COMBINE}
    for name, model in (("window", settings.Window), ("negative", settings.Negative), ("schedule", settings.Schedule),
                        ("settings", settings.Settings)):
        table[name] = [_plain(row) for row in settings.fields(model)]
    return table


def _plain(row: Dict[str, Any]) -> Dict[str, Any]:
    default = row["default"]
    return dict(row, default=default.dict() if hasattr(default, "dict") else default)


def preset_table() -> Dict[str, Any]:
    """Built-in windows with their fields, and the names of the saved presets."""
    return {"windows": {name: window.dict() for name, window in presets.WINDOWS.items()},
            "saved": preset_files.folder().names()}
