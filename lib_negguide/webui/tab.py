"""The NegGuide tab: a place that ``javascript/negguide_tab.js`` fills, and the host's own way to send a picture elsewhere.

What the page shows comes from the fields of :class:`lib_negguide.workbench.form.Form`; what it does goes over ``/negguide/v1/workbench``.
"""

from __future__ import annotations

import html
import json
from typing import Any, List, Tuple

import gradio as gr
from modules import infotext_utils, sd_samplers, sd_schedulers

from lib_negguide.errors import NegGuideError
from lib_negguide.hosts.a1111 import interrogator
from lib_negguide.settings import fields
from lib_negguide.webui import editor, workbench_run
from lib_negguide.workbench.form import FORMULAS, Form, defaults

TITLE, IDENTITY = "NegGuide", "negguide"

TARGETS = ("txt2img", "img2img", "inpaint")


def add() -> List[Tuple[Any, str, str]]:
    """The tab, for ``on_ui_tabs``."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.HTML(container(), elem_id="negguide_tab_page")
        with gr.Group(elem_id="negguide_tab_send", elem_classes=["negguide-json"]):
            picked = gr.Textbox("", label="picked", elem_id="negguide_tab_picked")
            ready = gr.Textbox("", label="ready", elem_id="negguide_tab_ready")
            infotext = gr.Textbox("", label="infotext", elem_id="negguide_tab_infotext", lines=2)
            image = gr.Image(label="picture", type="pil", elem_id="negguide_tab_image", interactive=False)
            picked.change(take, inputs=[picked], outputs=[image, infotext, ready], show_progress=False)
            for target in TARGETS:
                button = gr.Button(f"Send to {target}", elem_id=f"negguide_tab_to_{target}")
                # The host has no place for texts called inpaint: its paste looks there for a script that does not exist.
                texts = "img2img" if target == "inpaint" else target
                for name, source in ((texts, {"source_text_component": infotext}), (target, {"source_image_component": image})):
                    infotext_utils.register_paste_params_button(infotext_utils.ParamBinding(paste_button=button, tabname=name, **source))
        for component in (picked, ready, infotext):
            component.do_not_save_to_config = True
    return [(page, TITLE, IDENTITY)]


def take(picked: str) -> Tuple[Any, str, str]:
    """The picture and infotext of ``RUN/CELL#number``, and that it is there."""
    identity, _, name = picked.partition("#")[0].partition("/")
    try:
        folder = workbench_run.runs().of(identity)
        row = next(row for row in folder.read()["cells"] if row["name"] == name)
        return folder.image(row["file"]), row["infotext"], picked
    except (NegGuideError, OSError, StopIteration):
        return None, "", picked


def container() -> str:
    """The empty place with what the script needs to know."""
    data = {"fields": _json(fields(Form)), "defaults": _json(defaults()), "formulas": _json(FORMULAS),
            "captioners": _json([name for name in (*editor.CAPTIONERS, *interrogator.folders()) if name != "text"]),
            "samplers": _json([one.name for one in sd_samplers.visible_samplers()]),
            "schedulers": _json([one.label for one in sd_schedulers.schedulers])}
    attributes = " ".join(f'data-{name}="{html.escape(value, quote=True)}"' for name, value in data.items())
    return f'<div class="negguide-editor negguide-tab" {attributes}></div>'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=lambda model: model.dict(exclude_defaults=True))
