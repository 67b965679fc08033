"""The accordion: an enabling toggle in its title, a hidden text box with the settings, a place for the editor."""

from __future__ import annotations

from typing import Any, Tuple

import gradio as gr
from modules import shared
from modules.ui_components import InputAccordion

from lib_negguide.hosts.a1111 import interrogator
from lib_negguide.webui.editor import editor_html


def build(tab: str) -> Tuple[Any, Any]:
    """Components of one tab (``txt2img`` or ``img2img``): (enabled, settings as JSON). No side effects: called several times.

    ``javascript/negguide.js`` fills the editor's element, reads and writes the text box,
    and offers ``negguideSync(tab, value)`` for changes that come from Python.
    """
    with InputAccordion(bool(shared.opts.negguide_enabled), label="NegGuide", elem_id=f"negguide_{tab}") as enabled:
        gr.HTML(editor_html(tab, interrogator.folders()), elem_id=f"negguide_{tab}_editor")
        value = gr.Textbox(
            shared.opts.negguide_settings or "{}", label="NegGuide settings", elem_id=f"negguide_{tab}_json",
            elem_classes=["negguide-json"], lines=1, max_lines=1)
        value.change(
            fn=None, _js=f"(value) => {{ if (window.negguideSync) {{ negguideSync('{tab}', value); }} }}", inputs=[value])
    for component in (enabled, value):
        component.do_not_save_to_config = True  # else ui-config.json freezes today's defaults for ever
    return enabled, value
