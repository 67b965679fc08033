"""Named windows that carry what is known, and a folder of the user's own settings.

A *window preset* sets start, stop, curve and weight of a negative; a *saved preset*
is a whole settings object in a JSON file of the user's folder.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Dict, List

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Settings, Window

WINDOWS: Dict[str, Window] = {
    "from the start": Window(),
    # Critical steps of 30 (Ban et al., 2406.02965): nouns about 5, adjectives about 10.
    "noun (σ ≤ 5.8)": Window(start=5.8),
    "adjective (σ ≤ 2.8)": Window(start=2.8),
    # Their benchmark's window, steps 5 to 15 of 30.
    "Ban et al. window (σ 5.8 → 1.6)": Window(start=5.8, stop=1.6),
    # The last third of the plain schedule, where only detail is left to change.
    "skip the last part": Window(stop=0.7),
}

_NAME = re.compile(r"[^\x00-\x1f/\\:*?\"<>|.][^\x00-\x1f/\\:*?\"<>|]{0,79}")


def window(name: str) -> Window:
    """The window preset of that name; raises :class:`SettingsError` listing the names."""
    if name not in WINDOWS:
        raise SettingsError("preset", name, "one of " + ", ".join(WINDOWS))
    return WINDOWS[name]


def with_window(settings: Settings, name: str) -> Settings:
    """``settings`` with the window preset on the box and on every negative."""
    preset = window(name)
    return settings.map_windows(lambda old: old.copy(update=preset.dict()))


class PresetFolder:
    """The user's saved settings: one ``NAME.json`` each, in a folder that updates leave alone."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def names(self) -> List[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def load(self, name: str) -> Settings:
        """Raises :class:`SettingsError` where there is no such preset or its content is not allowed."""
        path = self._path(name)
        if not path.is_file():
            raise SettingsError("preset", name, "one of " + (", ".join(self.names()) or "(none is saved)"))
        return Settings.parse(path.read_text("utf-8"))

    def save(self, name: str, settings: Settings) -> None:
        """Written whole or not at all."""
        path = self._path(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(settings.to_dict(), ensure_ascii=False, indent=1), "utf-8")
        os.replace(part, path)

    def delete(self, name: str) -> None:
        path = self._path(name)
        if not path.is_file():
            raise SettingsError("preset", name, "one of " + (", ".join(self.names()) or "(none is saved)"))
        path.unlink()

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in WINDOWS:
            raise SettingsError("preset", name, "a file name of at most 80 characters, not that of a built-in preset")
        return self.folder / f"{name}.json"
