"""For tests only: makes NegGuide fail inside, once, at a model call that a request names.

    "alwayson_scripts": {"Saboteur": {"args": ["GuidancePlan.at", 2]}}
"""

import importlib

import gradio as gr
from modules import scripts

PLACES = {"GuidancePlan.at": ("lib_negguide.plan", "GuidancePlan", "at"),
          "GuidancePlan.build": ("lib_negguide.plan", "GuidancePlan", "build"),
          "GuidancePlan.texts": ("lib_negguide.plan", "GuidancePlan", "texts")}


def fail_once(place, countdown):
    """The next ``countdown`` calls pass, the one after them raises and puts everything back."""
    module, owner, name = PLACES[place]
    owner = getattr(importlib.import_module(module), owner)
    original = vars(owner)[name]
    left = [countdown]

    def sabotaged(*args, **kwargs):
        if left[0] == 0:
            setattr(owner, name, original)
            raise ZeroDivisionError("sabotage")
        left[0] -= 1
        return original.__get__(None, owner)(*args[1:], **kwargs) if isinstance(original, classmethod) else original(*args, **kwargs)

    setattr(owner, name, classmethod(sabotaged) if isinstance(original, classmethod) else sabotaged)


class Saboteur(scripts.Script):
    def title(self):
        return "Saboteur"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox("", visible=False), gr.Number(0, visible=False)]

    def process(self, p, place, countdown):
        if place:
            fail_once(place, int(countdown))
