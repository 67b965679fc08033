"""What the endpoints answer when they cannot do what was asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Iterator

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lib_negguide.dns import Interrupted
from lib_negguide.errors import NegGuideError, SettingsError
from lib_negguide.said import Said, of_error
from lib_negguide.webui import dnp_asked, removal_asked
from lib_negguide.webui.request import TITLE, parsed


class Refusal(HTTPException):
    """An error in words. NegGuide's own endpoints answer it as ``{"detail": text, "words": parts}`` (:class:`lib_negguide.said.Said`)."""

    def __init__(self, status_code: int, error: Exception):
        text = of_error(error)
        super().__init__(status_code, detail=str(text))
        self.words = text.parts if isinstance(text, Said) else [str(text)]


class Route(APIRoute):
    """An endpoint that refuses in its own words, whatever the host makes of exceptions."""

    def get_route_handler(self) -> Callable:
        handler = super().get_route_handler()

        async def answered(request: Request) -> Any:
            try:
                return await handler(request)
            except Refusal as refusal:
                return JSONResponse({"detail": refusal.detail, "words": refusal.words}, status_code=refusal.status_code)

        return answered


@contextmanager
def refusing() -> Iterator[None]:
    """Errors in words: 409 when the user ended the job, 422 for all else, a missing captioner too, as in the host's own endpoints."""
    try:
        yield
    except Interrupted as error:
        raise Refusal(409, error) from error
    except NegGuideError as error:
        raise Refusal(422, error) from error


async def checked(request: Request) -> None:
    """For the host's own endpoints: 422 for bad settings at once, before the request waits for its turn and before a
    selectable script hides the error."""
    try:
        body = await request.json()
    except ValueError:  # no body: the host says so
        return
    if not isinstance(body, dict):
        return
    asked = body.get("alwayson_scripts")
    with refusing():
        for script in (dnp_asked, removal_asked):
            if str(body.get("script_name")).lower() == script.TITLE.lower():
                script.parsed(body.get("script_args"))
        for name, script in asked.items() if isinstance(asked, dict) else ():
            if name.lower() == TITLE.lower():
                if not isinstance(script, dict):
                    raise SettingsError(f"alwayson_scripts.{name}", script, 'an object: {"args": [settings]}')
                parsed(script.get("args", []))
