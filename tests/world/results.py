"""What a benchmark has measured: one JSON file that is written after each batch, so that it can be stopped and taken up again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict

from lib_negguide import world
from lib_negguide.errors import SettingsError


class Results:
    """Figures of pictures, by the key of each, in ``file``; of one ``setting``."""

    def __init__(self, file: Path, setting: Dict[str, Any]) -> None:
        self.file, self.setting = file, setting

    def load(self) -> Dict[str, Any]:
        """What is there already; raises :class:`SettingsError` where it is of another setting."""
        if not self.file.is_file():
            return {}
        data = json.loads(self.file.read_text("utf-8"))
        if data["setting"] != self.setting:
            raise SettingsError("--out", str(self.file.parent), "a folder without results of other settings; remove them or name another")
        return data["pictures"]

    def save(self, pictures: Dict[str, Any]) -> None:
        """In place of what was there, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps({"setting": self.setting, "pictures": pictures}), "utf-8")
        os.replace(part, self.file)


def name_of(model: str | Path | None) -> str:
    """A model's file (``None``: the small model) with what tells it from others of the same name."""
    path = Path(model or world.model())
    return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
