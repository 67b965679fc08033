"""Axes for the X/Y/Z plot. A cell's ``p`` is a shallow copy: an axis notes its change on it, for ``before_process``."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from modules import scripts

from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111.report import answer
from lib_negguide.schedule import CURVES
from lib_negguide.settings import DETECTORS, REGIONS, SEARCHES, USES, Dnp, ImagePrompt, Removal, Settings
from lib_negguide.webui import preset_files
from lib_negguide.webui.request import AXES, REMOVE, SWITCH

PREFIX = "[NegGuide] "

ORDER = {"Preset": -2, REMOVE: -1, "DNP": 1}
"""A preset sets whole windows: it comes first, then what is removed, the finer axes after it; last, whether there is a caption at all."""


def add() -> None:
    """Add the axes to the host's plot script, once."""
    for data in scripts.scripts_data:
        if data.script_class.__module__ in ("xyz_grid.py", "scripts.xyz_grid"):
            known = {option.label for option in data.module.axis_options}
            data.module.axis_options += [axis for axis in _axes(data.module.AxisOption) if axis.label not in known]


PROBE = Settings(dnp=Dnp(text="a caption"), images=[ImagePrompt(noise="fade")], remove=Removal(text="a thing"))
"""Settings in which a value can be tried; what else a cell needs is its own matter."""

Change = Callable[[Settings, Any], Settings]


def _axes(option: Callable) -> List[Any]:
    def axis(name: str, kind: type, change: Change, **kwargs) -> Any:
        return option(PREFIX + name, kind, _apply(name, change), confirm=_confirm(change), **kwargs)

    return [
        axis(SWITCH, str, _enabled, choices=lambda: ["True", "False"]),
        axis("Start", str, _number("start", _window)),
        axis("Stop", str, _number("stop", _window)),
        axis("Weight", float, _window("weight")),
        axis("Curve", str, _window("curve"), choices=lambda: [curve for curve in CURVES if curve != "points"]),
        axis("Image weight", float, _of_images("weight")),
        axis("Image start", str, _number("start", _of_images)),
        axis("Image stop", str, _number("stop", _of_images)),
        axis("Image subtract", float, _setting("image_subtract")),
        axis("Preset", str, preset_files.apply, choices=preset_files.names),
        axis("DNP", str, _dnp, choices=lambda: ["off", "auto"]),
        axis("DNP captioner", str, _of_dnp("captioner")),
        axis("DNP steps", float, _of_dnp("steps")),
        axis("DNP size", float, _of_dnp("size")),
        axis("DNP scale", float, _of_dnp("scale")),
        axis("DNP pictures", int, _of_dnp("samples")),
        axis("DNP use", str, _of_dnp("use"), choices=lambda: list(USES)),
        axis("DNP weight", float, _of_caption("weight")),
        axis("DNP start", str, _number("start", _of_caption)),
        axis("DNP stop", str, _number("stop", _of_caption)),
        axis(REMOVE, str, _remove),
        axis("Remove strength", float, _of_removal("weight")),
        axis("Remove start", str, _number("start", _of_removal)),
        axis("Remove stop", str, _number("stop", _of_removal)),
        axis("Remove detector", str, _of_removal("detector"), choices=lambda: list(DETECTORS)),
        axis("Remove search", str, _of_removal("search"), choices=lambda: list(SEARCHES)),
        axis("Remove region", str, _of_removal("region"), choices=lambda: list(REGIONS)),
        axis("Remove anchor", str, _anchor, choices=lambda: ["True", "False"]),
    ]


def _apply(name: str, change: Change) -> Callable:
    def apply(p, value, _values) -> None:
        changes = dict(getattr(p, AXES, {}))
        changes[name] = lambda settings: change(settings, value)
        setattr(p, AXES, dict(sorted(changes.items(), key=lambda item: ORDER.get(item[0], 0))))
    return apply


def _confirm(change: Change) -> Callable:
    """Refuse a bad value before any cell is made: a failing cell would only be left blank."""

    def confirm(p, values) -> None:
        for value in values:
            try:
                change(PROBE, value)
            except SettingsError as error:
                raise answer(p, error) from None
    return confirm


def _flag(field: str, value: str) -> bool:
    if value.strip().lower() not in ("true", "false"):
        raise SettingsError(field, value, "true or false")
    return value.strip().lower() == "true"


def _enabled(settings: Settings, value: str) -> Settings:
    return settings.copy(update={"enabled": _flag("enabled", value)})


def _number(field: str, of: Callable[[str], Change]) -> Change:
    """Start or stop of the windows that ``of`` changes, in each window's own unit; ``none`` leaves that end open."""

    def change(settings: Settings, value: str) -> Settings:
        number: Optional[float] = None
        if value.strip().lower() != "none":
            try:
                number = float(value)
            except ValueError:
                raise SettingsError(field, value, "a number from 0, or none") from None
        return of(field)(settings, number)

    return change


def _window(field: str) -> Change:
    """A field of the box and of every negative, validated as if it had been sent."""

    def change(settings: Settings, value: Any) -> Settings:
        changed = settings.map_windows(lambda window: window.copy(update={field: value}))
        return Settings.parse(changed.to_dict())

    return change


def _setting(field: str) -> Change:
    """A field of the settings themselves."""
    return lambda settings, value: Settings.parse({**settings.to_dict(), field: value})


def _of_images(field: str) -> Change:
    """A field of every picture's window."""

    def change(settings: Settings, value: Any) -> Settings:
        return Settings.parse({**settings.to_dict(), "images": [{**image.dict(), field: value} for image in settings.images]})

    return change


def _dnp(settings: Settings, value: str) -> Settings:
    if value.strip().lower() not in ("off", "auto"):
        raise SettingsError("dnp", value, "off or auto")
    return _with_dnp(settings, {} if value.strip().lower() == "auto" else None)


def _of_dnp(field: str) -> Callable[[Settings, Any], Settings]:
    """A field of auto-DNP, which it switches on."""
    return lambda settings, value: _with_dnp(settings, {field: value})


def _of_caption(field: str) -> Callable[[Settings, Any], Settings]:
    """A field of the caption's window; switches auto-DNP on."""

    def change(settings: Settings, value: Any) -> Settings:
        window = (settings.dnp or Dnp()).window.dict()
        return _with_dnp(settings, {"window": {**window, field: value}})

    return change


def _with_dnp(settings: Settings, fields: Optional[Dict[str, Any]]) -> Settings:
    """Auto-DNP with these fields, the others as they are; ``None`` switches it off. Validated as if it had been sent."""
    changed = None if fields is None else {**(settings.dnp or Dnp()).dict(), **fields}
    return Settings.parse({**settings.to_dict(), "dnp": changed})


def _remove(settings: Settings, value: str) -> Settings:
    """What is to go; ``off``: nothing."""
    if value.strip().lower() == "off":
        return settings.copy(update={"remove": None})
    return _with_removal(settings, {"text": value})


def _of_removal(field: str) -> Change:
    """A field of the removal, where there is one."""
    return lambda settings, value: settings if settings.remove is None else _with_removal(settings, {field: value})


def _anchor(settings: Settings, value: str) -> Settings:
    return _of_removal("anchor")(settings, _flag("remove.anchor", value))


def _with_removal(settings: Settings, fields: Dict[str, Any]) -> Settings:
    """The removal with these fields, the others as they are. Validated as if it had been sent."""
    before = {} if settings.remove is None else settings.remove.dict(exclude_defaults=True)
    return Settings.parse({**settings.to_dict(), "remove": {**before, **fields}})
