"""What every model of settings shares: strict values, the table of its fields, and errors in the table's words."""

from __future__ import annotations

import math
from typing import Any, Dict, List

try:  # hosts have either major version; the v1 interface is in both
    import pydantic.v1 as pydantic
except ImportError:
    import pydantic

from lib_negguide.errors import SettingsError


def choice(*names: str):
    """A validator: the field's value must be one of its ``choices``."""

    def check(cls, value, field):
        if value not in field.field_info.extra["choices"]:
            raise ValueError("not a choice")
        return value

    return pydantic.validator(*names, allow_reuse=True)(check)


def only(wanted, *names: str):
    """A validator: pydantic would turn a text, a boolean or a broken number into what the field wants; ``wanted(value)`` says no."""

    def check(cls, value):
        if value is not None and not wanted(value):
            raise ValueError("of another kind")
        return value

    return pydantic.validator(*names, pre=True, allow_reuse=True)(check)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    return is_number(value) and value == int(value)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


class Model(pydantic.BaseModel):
    """Base of what is asked for in JSON; unknown fields are refused."""

    class Config:
        extra = "forbid"
        allow_mutation = False


def parsed_as(model, data: Any):
    """The object as a ``model``; raises :class:`SettingsError` with path, value and what is allowed. Rules between fields: ``check``."""
    try:
        return model.parse_obj(data)
    except pydantic.ValidationError as error:
        raise _explained(model, data, error) from None


def fields(model) -> List[Dict[str, Any]]:
    """The field table of a model: name, title, help, default, allowed and, where they exist, choices, range, step."""
    table = []
    for name, field in model.__fields__.items():
        info = field.field_info
        low = info.gt if info.ge is None else info.ge
        row = {"name": name, "title": info.title, "help": info.extra["help"], "default": field.default,
               "choices": info.extra.get("choices"), "min": low, "max": info.le, "step": info.extra.get("step")}
        row["allowed"] = info.extra.get("allowed") or "one of " + ", ".join(info.extra["choices"])
        table.append(row)
    return table


def _explained(model, data: Any, error) -> SettingsError:
    """The first of pydantic's complaints as a :class:`SettingsError` in the table's words."""
    first = error.errors()[0]
    path, value, allowed = "", data, ""
    for key in first["loc"]:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            path += ("." if path else "") + str(key)
            if model is not None and key in model.__fields__:
                field = model.__fields__[key]
                allowed = next(row["allowed"] for row in fields(model) if row["name"] == key)
                model = field.type_ if isinstance(field.type_, type) and issubclass(field.type_, Model) else None
            elif first["type"] == "value_error.extra":
                allowed = "unknown field; known are " + ", ".join(model.__fields__)
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
    if first["type"] == "value_error.missing":
        allowed = f"required: {allowed}"
    return SettingsError(path, value, allowed)
