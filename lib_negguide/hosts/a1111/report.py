"""How A1111 is told that something went otherwise than asked.

The host logs and swallows exceptions of scripts and callbacks, and then makes a picture
as if nothing had happened. So a refusal is put where the host itself trips over it.
"""

from __future__ import annotations

import logging
from typing import List

import gradio as gr
from fastapi import HTTPException

from lib_negguide.errors import HostError, NegGuideError
from lib_negguide.said import said

NOTE = "NegGuide note"
"""Key of ``extra_generation_params``; reaches the API's ``info`` and the infotext."""

ATTRIBUTE = "negguide_notes"
"""Of a ``p``."""

log = logging.getLogger("NegGuide")


def tell(p, text: str) -> None:
    """One message, once: under the picture in the page, in the console, in the API's ``info`` and the infotext."""
    notes = p.extra_generation_params.get(NOTE)
    if notes and text in notes.split("; "):
        return
    p.extra_generation_params[NOTE] = f"{notes}; {text}" if notes else str(text)
    setattr(p, ATTRIBUTE, [*notes_of(p), text])
    p.comment(f"NegGuide: {text}")
    log.warning(text)


def notes_of(p) -> List[str]:
    """All that :func:`tell` said, one by one."""
    return getattr(p, ATTRIBUTE, [])


def answer(p, error: Exception) -> Exception:
    """What to raise for ``error``: over the API an HTTP answer (4xx for what the request can mend), in the page itself."""
    if not isinstance(error, NegGuideError):
        log.error("internal error", exc_info=error)
        error = HostError(said("NegGuide: internal error, no picture is made: {}", f"{type(error).__name__}: {error}"))
        status = 500
    else:
        status = 422
    if p.is_api:
        answered = HTTPException(status_code=status, detail=str(error))
        answered.__cause__ = error
        return answered
    gr.Warning(str(error))  # X/Y/Z plot leaves a failing cell blank, without a word
    return error


def refuse(p, error: Exception) -> None:
    """Before sampling: make the host's own next step, ``p.init``, raise ``error``; nothing else is changed."""
    raised = answer(p, error)

    def init(*_args, **_kwargs):
        raise raised

    init.negguide_refusal = True
    p.init = init


def take_back_refusal(p) -> None:
    """For a request object that is used again (loopback)."""
    if getattr(p.__dict__.get("init"), "negguide_refusal", False):
        del p.__dict__["init"]


class Refused:
    """During sampling: stands where a tensor should, and raises the error as soon as the host looks at it."""

    def __init__(self, error: Exception):
        self._error = error

    def __getattr__(self, name: str):
        raise self._error
