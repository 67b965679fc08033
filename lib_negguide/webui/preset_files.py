"""Where saved presets live: in the host's data folder, which updates of the extension leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import List

from modules import paths_internal, shared

from lib_negguide.errors import SettingsError
from lib_negguide.presets import WINDOWS, PresetFolder, with_window
from lib_negguide.settings import Settings


def folder() -> PresetFolder:
    """The folder named in the settings page, by default ``negguide/presets`` in the host's data folder."""
    named = shared.opts.negguide_presets.strip()
    return PresetFolder(Path(named) if named else Path(paths_internal.data_path) / "negguide" / "presets")


def names() -> list:
    """Names that an X/Y/Z axis can take: built-in windows, then saved presets."""
    return list(WINDOWS) + folder().names()


def texts() -> List[str]:
    """All that is saved, presets and the accordion's defaults, as texts: who looks for references finds them there."""
    files = folder().folder.glob("*.json")
    return [*(path.read_text("utf-8", errors="replace") for path in files), shared.opts.negguide_settings]


def apply(settings: Settings, name: str) -> Settings:
    """A built-in window on the box and every negative, or a saved preset in place of everything but ``enabled``.

    Raises :class:`SettingsError` for an unknown name.
    """
    if name in WINDOWS:
        return with_window(settings, name)
    if name not in names():
        raise SettingsError("preset", name, "one of " + ", ".join(names()))
    return folder().load(name).copy(update={"enabled": settings.enabled})
