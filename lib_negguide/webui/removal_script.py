"""The selectable script "Removal strip", in txt2img and img2img: one thing removed in several ways, side by side, to choose from.

What else the accordion says counts in every column. In the API: ``"script_name": "removal strip"`` with
``"script_args": [{...}]``, one object with the fields of :class:`lib_negguide.webui.removal_asked.Asked`; ``columns`` may be a
list there. The first picture is the sheet; then come, for each picture of the request, the picture as it is and one a column,
each with an infotext that makes it again.
"""

from __future__ import annotations

import gradio as gr
from modules import scripts

from lib_negguide.errors import NegGuideError
from lib_negguide.hosts.a1111.report import answer
from lib_negguide.webui import removal_asked, removal_run
from lib_negguide.webui.removal_asked import row


class RemovalStripScript(scripts.Script):
    """One object a tab, shared by all its generations; it keeps nothing of them."""

    def title(self):
        return removal_asked.TITLE

    def ui(self, is_img2img):
        tab = "img2img" if is_img2img else "txt2img"
        with gr.Row():
            text = gr.Textbox(**_labels("text"), placeholder="glasses", lines=1, elem_id=f"negguide_{tab}_strip_text")
        columns = gr.Textbox(**_labels("columns"), lines=1, elem_id=f"negguide_{tab}_strip_columns")
        with gr.Row():
            unit, where = (gr.Radio(**_labels(name), choices=list(row(name)["choices"]), elem_id=f"negguide_{tab}_strip_{name}")
                           for name in ("unit", "where"))
        components = [text, columns, unit, where]
        for component in components:
            component.do_not_save_to_config = True  # else ui-config.json freezes today's defaults for ever
        return components

    def run(self, p, *args):
        try:
            return removal_run.run(p, removal_asked.parsed(args))
        except NegGuideError as error:
            raise answer(p, error) from error


def _labels(name: str) -> dict:
    return {"label": row(name)["title"], "info": row(name)["help"], "value": row(name)["default"]}
