"""Endpoints for saved settings."""

from __future__ import annotations

from typing import Any, Dict

from fastapi import Body

from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111 import images
from lib_negguide.settings import Settings
from lib_negguide.webui import editor, preset_files
from lib_negguide.webui.api.answers import refusing


def list_presets() -> Dict[str, Any]:
    """Built-in windows and saved presets by name; of a damaged file the error in its place."""
    folder = preset_files.folder()
    saved: Dict[str, Any] = {}
    for name in folder.names():
        try:
            saved[name] = folder.load(name).to_dict()
        except SettingsError as error:
            saved[name] = {"error": str(error)}
    return {"windows": editor.window_presets(), "saved": saved}


def save_preset(name: Any = Body(), settings: Any = Body()) -> Dict[str, Any]:
    """Save settings under a name, or replace them."""
    with refusing():
        preset_files.folder().save(name, images.by_reference(Settings.parse(settings)))
    return list_presets()


def delete_preset(name: str) -> Dict[str, Any]:
    """Delete a saved preset."""
    with refusing():
        preset_files.folder().delete(name)
    return list_presets()
