"""Axes for the X/Y/Z plot. A cell's ``p`` is a shallow copy: an axis notes its change on it, for ``before_process``."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from modules import scripts

from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111.report import answer
from lib_negguide.schedule import CURVES
from lib_negguide.settings import Settings
from lib_negguide.webui import preset_files
from lib_negguide.webui.request import AXES

PREFIX = "[NegGuide] "


def add() -> None:
    """Add the axes to the host's plot script, once."""
    for data in scripts.scripts_data:
        if data.script_class.__module__ in ("xyz_grid.py", "scripts.xyz_grid"):
            known = {option.label for option in data.module.axis_options}
            data.module.axis_options += [axis for axis in _axes(data.module.AxisOption) if axis.label not in known]


Change = Callable[[Settings, Any], Settings]


def _axes(option: Callable) -> List[Any]:
    def axis(name: str, kind: type, change: Change, **kwargs) -> Any:
        return option(PREFIX + name, kind, _apply(name, change), confirm=_confirm(change), **kwargs)

    return [
        axis("Enabled", str, _enabled, choices=lambda: ["True", "False"]),
        axis("Start", str, _end("start")),
        axis("Stop", str, _end("stop")),
        axis("Weight", float, _window("weight")),
        axis("Curve", str, _window("curve"), choices=lambda: [curve for curve in CURVES if curve != "points"]),
        axis("Preset", str, preset_files.apply, choices=preset_files.names),
    ]


def _apply(name: str, change: Change) -> Callable:
    def apply(p, value, _values) -> None:
        changes = dict(getattr(p, AXES, {}))
        changes[name] = lambda settings: change(settings, value)
        # A preset sets whole windows: it comes first, the finer axes after it.
        setattr(p, AXES, dict(sorted(changes.items(), key=lambda item: item[0] != "Preset")))
    return apply


def _confirm(change: Change) -> Callable:
    """Refuse a bad value before any cell is made: a failing cell would only be left blank."""

    def confirm(p, values) -> None:
        for value in values:
            try:
                change(Settings(), value)
            except SettingsError as error:
                raise answer(p, error) from None
    return confirm


def _enabled(settings: Settings, value: str) -> Settings:
    if value.strip().lower() not in ("true", "false"):
        raise SettingsError("enabled", value, "true or false")
    return settings.copy(update={"enabled": value.strip().lower() == "true"})


def _end(field: str) -> Callable[[Settings, str], Settings]:
    """Start or stop, in each window's own unit; ``none`` leaves that end open."""

    def change(settings: Settings, value: str) -> Settings:
        number: Optional[float] = None
        if value.strip().lower() != "none":
            try:
                number = float(value)
            except ValueError:
                raise SettingsError(field, value, "a number from 0, or none") from None
        return _window(field)(settings, number)

    return change


def _window(field: str) -> Callable[[Settings, Any], Settings]:
    """A field of the box and of every negative, validated as if it had been sent."""

    def change(settings: Settings, value: Any) -> Settings:
        changed = settings.map_windows(lambda window: window.copy(update={field: value}))
        return Settings.parse(changed.dict())

    return change
