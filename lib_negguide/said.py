"""Texts with values in them, said so that a page can say them in another language.

A translation knows the text with a place for each value, ``from step {}``; who only needs the English reads the string itself.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List


class Said(str):
    """An English text that remembers ``parts``: its template and the values that were put in, which may be such texts themselves."""

    parts: List[Any]


def said(template: str, *values: Any) -> Said:
    """``said("from {} to {}", 1, 5)`` is the string "from 1 to 5". Each ``{}`` of the template takes one value."""
    made = Said(template.format(*values) if values else template)
    made.parts = [template, *(value.parts if isinstance(value, Said) else str(value) for value in values)]
    return made


def parts(texts: Iterable[str]) -> Dict[str, List[Any]]:
    """Of all texts that have parts, JSON-ready: {English text: [template, values…]}."""
    return {str(text): text.parts for text in texts if isinstance(text, Said)}


def of_error(error: Exception) -> str:
    """An error's text, with its parts where it has any."""
    return error.args[0] if error.args and isinstance(error.args[0], Said) else str(error)
