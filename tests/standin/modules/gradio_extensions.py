"""Scripts hear of every component of the page: before it is made and after."""

import gradio as gr
from modules import script_callbacks, scripts

_original = gr.components.IOComponent.__init__


def _init(self, *args, **kwargs):
    kwargs.pop("tooltip", None)
    script_callbacks.before_component_callback(self, **kwargs)
    if scripts.scripts_current is not None:
        scripts.scripts_current.component_event("before", self, **kwargs)
    _original(self, *args, **kwargs)
    script_callbacks.after_component_callback(self, **kwargs)
    if scripts.scripts_current is not None:
        scripts.scripts_current.component_event("after", self, **kwargs)


gr.components.IOComponent.__init__ = _init
