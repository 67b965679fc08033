"""What NegGuide raises when it cannot do what was asked."""

from __future__ import annotations

from typing import Any

from lib_negguide.said import said


class NegGuideError(Exception):
    """Base of everything that is raised on purpose; its text is meant for users."""


class SettingsError(NegGuideError, ValueError):
    """A setting has a value that is not allowed.

    Attributes: ``field`` (dotted path as in the API, e.g. ``negatives[0].weight``),
    ``value`` (as given) and ``allowed`` (in words). The same words serve the page,
    the console, the command line and the API's 4xx answer.
    """

    def __init__(self, field: str, value: Any, allowed: str):
        self.field, self.value, self.allowed = field, value, allowed
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(said("NegGuide: {} = {} is not allowed; {}", field, shown, said(allowed)))


class HostError(NegGuideError, RuntimeError):
    """The host (or another extension in it) keeps NegGuide from acting as asked."""


class ModelError(NegGuideError, ValueError):
    """A checkpoint cannot be read or is not of a supported kind."""


class CaptionerError(NegGuideError, RuntimeError):
    """A captioner cannot be had or fails; the text says what is missing and where it belongs."""
