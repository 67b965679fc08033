"""The selectable script "Diffusion-negative prompting", in txt2img and img2img.

In the page it adds to what NegGuide's accordion says, whose windows, negatives and auto-DNP settings count when it is on.
In the API: ``"script_name": "diffusion-negative prompting"`` with ``"script_args": [{...}]``, one object with the fields
of :class:`lib_negguide.webui.dnp_asked.Asked`; ``captions`` may be a list there. Captions come back in ``info`` under
``extra_generation_params`` / ``NegGuide DNP``.
"""

from __future__ import annotations

import html
import json
from typing import Any, List

import gradio as gr
from modules import scripts
from modules.infotext_utils import parse_generation_parameters

from lib_negguide.hosts.a1111 import interrogator
from lib_negguide.webui import dnp_asked, dnp_run, editor, infotext
from lib_negguide.webui.dnp_asked import AUTO, BY_HAND, FOUR, HINTS, MODES, line, row


class DnpScript(scripts.Script):
    """One object a tab, shared by all its generations; it keeps nothing of them."""

    def title(self):
        return dnp_asked.TITLE

    def ui(self, is_img2img):
        tab = "img2img" if is_img2img else "txt2img"
        first = row("mode")["default"]
        mode = gr.Radio(label=row("mode")["title"], choices=list(MODES), value=first, elem_id=f"negguide_{tab}_dnp_mode")
        hint = gr.HTML(_hint(first), elem_id=f"negguide_{tab}_dnp_hint")
        with gr.Group(visible=False, elem_id=f"negguide_{tab}_by_hand") as by_hand:
            captions = gr.Textbox(
                **_labels("captions"), lines=3, placeholder="4711: a red circle on grey", elem_id=f"negguide_{tab}_dnp_captions")
            with gr.Row():
                take = gr.Button("Take the captions of the last run", size="sm", elem_id=f"negguide_{tab}_dnp_take")
                clear = gr.Button("Empty the box", size="sm", elem_id=f"negguide_{tab}_dnp_clear")
        captioner = gr.Dropdown(
            **_labels("captioner"), choices=[*editor.CAPTIONERS, *interrogator.folders()], value="", allow_custom_value=True,
            elem_id=f"negguide_{tab}_dnp_captioner")
        with gr.Row():
            show = gr.Checkbox(label=row("show")["title"], value=True, elem_id=f"negguide_{tab}_dnp_show")
            scores = gr.Checkbox(label=row("scores")["title"], value=False, elem_id=f"negguide_{tab}_dnp_scores")
        mode.change(_for_mode, inputs=[mode], outputs=[hint, by_hand, captioner, show, scores], show_progress=False)
        clear.click(lambda: "", inputs=[], outputs=[captions], show_progress=False)
        self._fill_from_runs(tab, mode, captions, take)
        components = [mode, captions, captioner, show, scores]
        for component in components:
            component.do_not_save_to_config = True  # else ui-config.json freezes today's defaults for ever
        return components

    def run(self, p, *args):
        return dnp_run.run(p, dnp_asked.parsed(args))

    def _fill_from_runs(self, tab: str, mode: Any, captions: Any, take: Any) -> None:
        """Fill the captions box from what the page knows of the last run: on the button, and by itself while it is empty.

        ``generation_info`` is not shown, but as an input its value comes along; that of ``html_info`` changes after each run.
        """
        shown: List[Any] = []

        def wire(on: Any) -> None:
            take.click(captions_of, inputs=[on.component], outputs=[captions], show_progress=False)
            if shown:
                shown[-1].change(_by_itself, inputs=[mode, captions, on.component], outputs=[captions], show_progress=False)

        self.on_after_component(lambda on: shown.append(on.component), elem_id=f"html_info_{tab}")
        self.on_after_component(wire, elem_id=f"generation_info_{tab}")


def _hint(mode: str) -> str:
    return f"<p class='negguide-hint'>{html.escape(HINTS[mode])}</p>"


def _for_mode(mode: str) -> List[Any]:
    """The hint, and which components count: the captions box, captioner, show, scores."""
    captioned = (AUTO, BY_HAND, FOUR)
    return [_hint(mode), *(gr.update(visible=mode in modes) for modes in ((BY_HAND,), captioned, (AUTO,), captioned))]


def _labels(name: str) -> dict:
    return {"label": row(name)["title"], "info": row(name)["help"]}


def _by_itself(mode: str, captions: str, info: str) -> Any:
    return captions_of(info) if mode == BY_HAND and not captions.strip() else gr.update()


def captions_of(info: str) -> str:
    """``seed: caption`` of each picture of a run, one a line, from the page's JSON about it; "" where there is none."""
    try:
        about = json.loads(info)
    except (TypeError, ValueError):
        return ""
    told = (about.get("extra_generation_params") or {}).get(infotext.DNP) or {}
    lines = {one["seed"]: one["caption"] for one in told.get("pictures", ())}
    if not lines:  # a host that shows less of it
        for text in about.get("infotexts", ())[about.get("index_of_first_image", 0):]:
            params = parse_generation_parameters(text)
            if infotext.CAPTION in params:
                lines.setdefault(params.get("Seed"), params[infotext.CAPTION])
    return "\n".join(line(seed, caption) for seed, caption in lines.items())
