"""What one request asks of NegGuide: the page's two components, or the API's one object."""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Settings

TITLE = "NegGuide"
"""Name of the script, in the page and in the API's ``alwayson_scripts`` (there in any case)."""

AXES = "negguide_axes"
"""Attribute of an X/Y/Z cell's ``p``: axis name to a change of settings."""

SWITCH = "Enabled"
"""The axis that switches NegGuide on and off."""

REMOVE = "Remove"
"""The axis that says what is to be removed; the names of those that say how begin with it."""

GIVEN = "negguide_settings"
"""Attribute of a ``p`` on which a script has put whole settings: they count instead of the page's or the API's."""


def settings_of(p, args: Sequence[Any]) -> Settings:
    """The validated settings of a request; raises :class:`SettingsError`.

    ``args`` is the page's (enabled, JSON text) or the API's (object,); in the object
    ``enabled`` defaults to true. Axes of an X/Y/Z plot are applied on top.
    """
    if hasattr(p, GIVEN):
        return getattr(p, GIVEN)
    changes: Dict[str, Callable[[Settings], Settings]] = getattr(p, AXES, {})
    if args and args[0] is False and not changes:  # off: a half-typed schedule in the page does not matter
        return Settings(enabled=False)
    settings = parsed(args)
    for change in changes.values():
        settings = change(settings)
    return settings


def idle_axes(p) -> bool:
    """Has a plot set something of NegGuide for this cell, but not whether it is on?"""
    changes = getattr(p, AXES, {})
    return bool(changes) and SWITCH not in changes


def idle_removal(p, settings: Settings) -> bool:
    """Has a plot set how something is removed for this cell, but nobody what?"""
    changes = getattr(p, AXES, {})
    return settings.remove is None and REMOVE not in changes and any(name.startswith(REMOVE + " ") for name in changes)


def parsed(args: Sequence[Any]) -> Settings:
    """The settings in a script's arguments, of which the API may send only the first; raises :class:`SettingsError`."""
    if not isinstance(args, (list, tuple)):
        raise SettingsError("args", args, "a list with one object of NegGuide's settings")
    enabled, value = (*args, *(False, "{}")[len(args):])[:2]
    if isinstance(enabled, dict):
        return Settings.parse(enabled)
    if not isinstance(enabled, bool):
        raise SettingsError("args[0]", enabled, "an object with NegGuide's settings, or true or false")
    if not isinstance(value, (str, dict)):
        raise SettingsError("args[1]", value, "an object with NegGuide's settings, or its JSON text")
    return Settings.parse(value).copy(update={"enabled": enabled})
