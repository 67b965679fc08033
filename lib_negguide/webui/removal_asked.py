"""What the script "Removal strip" is asked for: the page's components, or the API's one object; and the columns that follow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from lib_negguide.errors import SettingsError
from lib_negguide.schedule import UNITS
from lib_negguide.settings import Model, Removal, Settings, fields, parsed_as, pydantic

TITLE = "Removal strip"
"""Name of the script, in the page's list and as the API's ``script_name`` (there in any case)."""

FULL, LOOP, EXHAUSTIVE = NAMED = ("full", "loop", "exhaustive")
"""Columns that are no window of their own."""

EVERYWHERE, REGION = WHERE = ("everywhere", "region")

MOST = 12
"""Columns in one strip."""

_NUMBER = r"(\d+\.?\d*|\.\d+)?"
_WINDOW = re.compile(rf"\s*{_NUMBER}\s*[-–]\s*{_NUMBER}\s*")


class Asked(Model):
    """The fields of the script, in the order of the page's components."""

    text: str = pydantic.Field(
        "", title="Remove", allowed="a text", help="What is to go: glasses. Empty: as in the accordion's section on removal.")
    columns: str = pydantic.Field(
        "full, 0.2-, 0.35-, -0.33, -0.5, loop", title="Columns",
        allowed="1 to 12 of full, loop, exhaustive and start-stop, with commas between",
        help="full: the whole run. start-stop: a window, of which either end may be left out. loop: until it is gone, as the accordion's "
             "section says. exhaustive: the search of Ban et al., several samplings. First comes the picture as it is.")
    unit: str = pydantic.Field(
        "fraction", title="Unit of the windows", choices=UNITS,
        help="fraction: of the run, 0 to 1. step: of its steps. sigma: the noise level.")
    where: str = pydantic.Field(
        EVERYWHERE, title="Windows act", choices=WHERE,
        help="everywhere: as an ordinary negative prompt of strength 1, as in the paper. region: with the accordion's strength and region.")

    def check(self) -> None:
        """Rules that the kinds of the fields do not tell; raises :class:`SettingsError`."""
        for name in ("unit", "where"):
            if getattr(self, name) not in row(name)["choices"]:
                raise SettingsError(name, getattr(self, name), row(name)["allowed"])
        names = self.names()
        if not 1 <= len(names) <= MOST:
            raise SettingsError("columns", self.columns, row("columns")["allowed"])
        for name in names:
            if name not in NAMED:
                self._window(name).check("columns.")

    def names(self) -> List[str]:
        """The columns as they were written."""
        return [name.strip() for name in self.columns.split(",") if name.strip()]

    def strip(self, accordion: Settings) -> List[Column]:
        """What to make, the picture as it is first; raises :class:`SettingsError`."""
        base = accordion if accordion.enabled else Settings()
        plain = base.copy(update={"remove": None})
        plain = plain.copy(update={"enabled": plain != Settings()})  # nothing of the accordion's: a picture of the host's own
        text = self.text.strip() or (base.remove.text if base.remove is not None else "")
        if not text:
            raise SettingsError("text", self.text, "what is to go, here or in the accordion's section on removal")
        own = (base.remove or Removal(text=text)).copy(update={"text": text})
        columns = [Column("as it is", plain)]
        for name in self.names():
            removal = self._removal(name, own)
            made = plain.copy(update={"enabled": True, "remove": removal})
            columns.append(Column(self._title(name, own), Settings.parse(made.to_dict())))  # its rules beside the accordion's
        return columns

    def _window(self, name: str, text: str = "it") -> Removal:
        """A window as an ordinary negative."""
        ends = _WINDOW.fullmatch("-" if name == FULL else name)
        if ends is None or not (name == FULL or any(ends.groups())):
            raise SettingsError("columns", name, row("columns")["allowed"])
        start, stop = (None if end is None else float(end) for end in ends.groups())
        return Removal(text=text, weight=1.0, search="window", region="everywhere", start=start, stop=stop, unit=self.unit)

    def _removal(self, name: str, own: Removal) -> Removal:
        if name in (LOOP, EXHAUSTIVE):
            return own.copy(update={"search": name})
        window = self._window(name, own.text)
        if self.where == EVERYWHERE:
            return window
        return own.copy(update={"search": "window", "start": window.start, "stop": window.stop, "unit": window.unit})

    def _title(self, name: str, own: Removal) -> str:
        if name in NAMED:
            return {FULL: "whole run", LOOP: "loop: until gone", EXHAUSTIVE: "exhaustive"}[name]
        window = self._window(name)
        sign = "σ " if self.unit == "sigma" else "step " if self.unit == "step" else ""
        ends = [f"{word} {sign}{end:g}" for word, end in (("from", window.start), ("to", window.stop)) if end is not None]
        return " ".join(ends)


@dataclass(frozen=True)
class Column:
    """One column of the strip: its heading and NegGuide's settings for it."""

    title: str
    settings: Settings


def row(name: str) -> Dict[str, Any]:
    """The table's row of a field."""
    return next(one for one in fields(Asked) if one["name"] == name)


def parsed(args: Optional[Sequence[Any]]) -> Asked:
    """The script's arguments: the page's values, or the API's one object; raises :class:`SettingsError`."""
    known = list(Asked.__fields__)
    if not isinstance(args, (list, tuple)) or not args or not (isinstance(args[0], dict) or len(args) >= len(known)):
        raise SettingsError("script_args", args, "a list with one object, whose fields are " + ", ".join(known))
    data = args[0] if isinstance(args[0], dict) else dict(zip(known, args))
    if isinstance(data.get("columns"), list):
        data = {**data, "columns": ", ".join(map(str, data["columns"]))}
    asked = parsed_as(Asked, data)
    asked.check()
    return asked
