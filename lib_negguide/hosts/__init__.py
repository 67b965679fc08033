"""Hosts: each adapter is the only place that knows its host's denoiser."""

from __future__ import annotations

import importlib.util

from lib_negguide.errors import HostError


def detect() -> str:
    """The WebUI around us, told by its features: ``a1111``; raises :class:`HostError` for one without an adapter.

    Only asks which modules exist; imports none of them.
    """
    if importlib.util.find_spec("modules") is None:
        raise HostError("NegGuide: no WebUI around; use python -m lib_negguide")
    if importlib.util.find_spec("modules_forge") is not None:
        raise HostError("NegGuide: WebUIs of the Forge family are not supported yet; AUTOMATIC1111 1.10 is")
    if importlib.util.find_spec("modules.sd_samplers_cfg_denoiser") is None:
        raise HostError("NegGuide: this WebUI is too old, it has no CFG denoiser module; AUTOMATIC1111 1.10 is supported")
    return "a1111"
