"""Callbacks that scripts register: ``on_NAME(fn)``; the host calls ``NAME_callback(…)``.

An exception in a callback is reported on the console and swallowed.
"""

import inspect
from dataclasses import dataclass
from typing import Any

from modules import errors

NAMES = ("app_started", "before_reload", "model_loaded", "ui_tabs", "ui_settings", "before_image_saved", "image_saved",
         "extra_noise", "cfg_denoiser", "cfg_denoised", "cfg_after_cfg", "before_component", "after_component",
         "image_grid", "infotext_pasted", "script_unloaded", "before_ui", "list_optimizers", "list_unets")


@dataclass
class CFGDenoiserParams:
    """x, image_cond, sigma: all rows of the batch, those of the prompt first; text_cond, text_uncond: the conditions."""

    x: Any
    image_cond: Any
    sigma: Any
    sampling_step: int
    total_sampling_steps: int
    text_cond: Any
    text_uncond: Any
    denoiser: Any = None


@dataclass
class CFGDenoisedParams:
    """x: the model's answer for all rows; ``inner_model(x, sigma, cond=…)`` asks it again."""

    x: Any
    sampling_step: int
    total_sampling_steps: int
    inner_model: Any


@dataclass
class AfterCFGCallbackParams:
    x: Any
    sampling_step: int
    total_sampling_steps: int


@dataclass
class ScriptCallback:
    script: str
    callback: Any
    name: str = None


callback_map = {"callbacks_" + name: [] for name in NAMES}


def clear_callbacks():
    for callbacks in callback_map.values():
        callbacks.clear()


def remove_current_script_callbacks():
    """All callbacks that the calling file registered."""
    filename = inspect.stack()[1].filename
    for callbacks in callback_map.values():
        callbacks[:] = [entry for entry in callbacks if entry.script != filename]


def remove_callbacks_for_function(function):
    for callbacks in callback_map.values():
        callbacks[:] = [entry for entry in callbacks if entry.callback is not function]


def _registrar(name):
    def register(callback, *, name=None):
        callback_map["callbacks_" + event].append(ScriptCallback(inspect.stack()[1].filename, callback, name))

    event = name
    return register


def _caller(name):
    def call(*args, **kwargs):
        answers = []
        for entry in list(callback_map["callbacks_" + name]):
            try:
                answers += entry.callback(*args, **kwargs) or [] if name == "ui_tabs" else [entry.callback(*args, **kwargs)]
            except Exception:
                errors.report(f"Error executing callback {name} for {entry.script}", exc_info=True)
        return answers

    return call


for _name in NAMES:
    globals()["on_" + _name] = _registrar(_name)
    globals()[_name + "_callback"] = _caller(_name)
