"""What every model of settings shares: strict values, the table of its fields, and errors in the table's words."""

from __future__ import annotations

import sys
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


def is_number(value: Any) -> bool:
    """Finite, and not too large for a float (JSON has whole numbers of any length)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_whole(value: Any) -> bool:
    return is_number(value) and value == int(value)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_text(value: Any) -> bool:
    """A text that can be written: JSON also has halves of characters (lone surrogates)."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


class Number(float):
    """A float within a list: pydantic has no validators of a field for what is two levels down."""

    @classmethod
    def __get_validators__(cls):
        yield cls._checked

    @classmethod
    def _checked(cls, value):
        if not is_number(value):
            raise ValueError("not a number")
        return float(value)

    @classmethod
    def __modify_schema__(cls, schema):
        schema["type"] = "number"


class Model(pydantic.BaseModel):
    """Base of what is asked for in JSON; unknown fields are refused, and so are values of another kind."""

    class Config:
        extra = "forbid"
        allow_mutation = False

    @pydantic.validator("*", pre=True, each_item=True, allow_reuse=True)
    def _of_its_kind(cls, value, field):
        """Pydantic would turn a text, a boolean, a broken number or an empty list into what the field wants."""
        if value is not None and not _is_kind(value, field.type_):
            raise ValueError("of another kind")
        return value


def _is_kind(value: Any, kind: Any) -> bool:
    kinds = ((bool, is_flag), (int, is_whole), (float, is_number), (str, is_text), (Model, lambda one: isinstance(one, (dict, Model))))
    told = [is_one for base, is_one in kinds if isinstance(kind, type) and issubclass(kind, base)]  # a range makes it a subclass
    return not told or told[0](value)


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
