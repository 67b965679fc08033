"""Registers NegGuide with the host. Called each time the host (re)loads its scripts: it forgets all callbacks before."""

from __future__ import annotations

from modules import script_callbacks

from lib_negguide.hosts.a1111 import denoiser, observing
from lib_negguide.webui import api, options, tab, xyz


def register() -> None:
    """Register everything that is not the script itself."""
    script_callbacks.on_ui_settings(options.add, name="negguide")
    script_callbacks.on_before_ui(xyz.add, name="negguide")
    script_callbacks.on_ui_tabs(tab.add, name="negguide")
    script_callbacks.on_app_started(api.add, name="negguide")
    script_callbacks.on_script_unloaded(options.release, name="negguide")
    script_callbacks.on_cfg_denoiser(observing.on_cfg_denoiser, name="negguide-observing")
    script_callbacks.on_cfg_denoised(observing.before, name="negguide-observing-before")
    script_callbacks.on_cfg_denoiser(denoiser.on_cfg_denoiser, name="negguide")
    script_callbacks.on_cfg_denoised(denoiser.on_cfg_denoised, name="negguide")
    script_callbacks.on_cfg_denoised(observing.after, name="negguide-observing-after")
    script_callbacks.on_cfg_after_cfg(denoiser.on_cfg_after_cfg, name="negguide")
