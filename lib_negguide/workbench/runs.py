"""Runs of the workbench on disk: a folder each, with ``run.json``, the cells' pictures, ``sheet.png`` and a thumbnail."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from lib_negguide.errors import NegGuideError
from lib_negguide.workbench import attention
from lib_negguide.workbench.outcome import FAILED, RUNNING, Made
from lib_negguide.workbench.sheet import sheet
from lib_negguide.workbench.strips import GUIDED

LIMIT = 50
"""Runs that are kept; the oldest go first."""
THUMBNAIL = 160
"""Pixels of the longer side."""

_IDENTITY = re.compile(r"[0-9]{8}-[0-9]{6}(-[0-9]+)?")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(png|jpg|json)")


class NoSuchRun(NegGuideError):
    """There is no run, or no file of it, of that name."""


class Folder:
    """One run's files."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def write(self, run: Dict[str, Any]) -> None:
        """``run.json``, whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = self.path / "run.json.part"
        part.write_text(json.dumps(run, ensure_ascii=False), "utf-8")
        os.replace(part, self.path / "run.json")

    def add(self, row: Dict[str, Any], made: Made) -> None:
        """A cell's picture, with its infotext, its previews, and its attention."""
        from PIL.PngImagePlugin import PngInfo

        self.path.mkdir(parents=True, exist_ok=True)
        texts = PngInfo()
        if row["infotext"]:
            texts.add_text("parameters", row["infotext"])
        made.image.save(self.path / row["file"], pnginfo=texts)
        for preview, (_, image) in zip(row["previews"], made.previews):
            image.save(self.path / preview["file"])
        if row["attention"]:
            attention.write(self.path, row, made.attention, made.image)

    def finish(self, run: Dict[str, Any]) -> None:
        """The sheet and the thumbnail, where there is a picture, and the run's last word."""
        if run["cells"]:
            names = [row["name"] for row in run["cells"]]
            files = {row["name"]: row["file"] for row in run["cells"]}
            sheet(run, lambda name: self.image(files[name])).save(self.path / "sheet.png")
            small = self.image(files[GUIDED if GUIDED in names else names[len(names) // 2]]).convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            small.save(self.path / "thumbnail.jpg", quality=85)
        self.write(run)

    def read(self) -> Dict[str, Any]:
        return json.loads((self.path / "run.json").read_text("utf-8"))

    def image(self, file: str) -> Any:
        from PIL import Image

        with Image.open(self.path / file) as image:
            image.load()
        return image


class Runs:
    """All runs of a data folder, newest last by name."""

    def __init__(self, folder: Path, limit: int = LIMIT):
        self.folder, self.limit, self._lock = Path(folder), limit, threading.Lock()

    def new(self) -> str:
        """The identity of a run that begins now; its folder is made."""
        with self._lock:
            base = identity = time.strftime("%Y%m%d-%H%M%S")
            number = 2
            while (self.folder / identity).exists():
                identity, number = f"{base}-{number}", number + 1
            (self.folder / identity).mkdir(parents=True)
            return identity

    def of(self, identity: str) -> Folder:
        """Raises :class:`NoSuchRun`."""
        if not isinstance(identity, str) or not _IDENTITY.fullmatch(identity) or not (self.folder / identity / "run.json").is_file():
            raise NoSuchRun(f"NegGuide: there is no run {identity!r}")
        return Folder(self.folder / identity)

    def at(self, identity: str) -> Folder:
        """The folder of a run that has just begun."""
        return Folder(self.folder / identity)

    def file(self, identity: str, name: str) -> Path:
        """A file of a run; raises :class:`NoSuchRun`."""
        path = self.of(identity).path / name
        if not _FILE.fullmatch(name) or not path.is_file():
            raise NoSuchRun(f"NegGuide: the run {identity} has no file {name!r}")
        return path

    def listed(self) -> List[Dict[str, Any]]:
        """The runs, newest first, in short; those that cannot be read are left out."""
        found = []
        for identity in self._names():
            try:
                run = self.of(identity).read()
                form = run["form"]
                found.append({"id": identity, "created": run["created"], "state": run["state"], "strip": form["strip"],
                              "prompt": form["prompt"], "negative": form["negative"] or run["caption"], "seed": form["seed"],
                              "cells": len(run["cells"]), "thumbnail": (self.folder / identity / "thumbnail.jpg").is_file()})
            except (NegGuideError, OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def delete(self, identity: str) -> None:
        """Raises :class:`NoSuchRun`."""
        shutil.rmtree(self.of(identity).path)

    def make_room(self, keep: str = "") -> None:
        """Delete the oldest beyond the limit, but not the run ``keep``."""
        for identity in self._names()[self.limit:]:
            if identity != keep:
                shutil.rmtree(self.folder / identity, ignore_errors=True)

    def mend(self, running: Optional[str] = None) -> None:
        """Runs that a crash has left at work, all but ``running``, have failed."""
        for identity in self._names():
            try:
                run = self.of(identity).read()
                if run["state"] == RUNNING and identity != running:
                    self.of(identity).finish({**run, "state": FAILED, "error": "the WebUI ended before the run did"})
            except (NegGuideError, OSError, ValueError, KeyError, TypeError):
                continue

    def _names(self) -> List[str]:
        if not self.folder.is_dir():
            return []
        names = [path.name for path in self.folder.iterdir() if _IDENTITY.fullmatch(path.name)]
        return sorted(names, key=_order, reverse=True)


def _order(identity: str):
    day, second, *number = identity.split("-")
    return day, second, int(number[0]) if number else 1
