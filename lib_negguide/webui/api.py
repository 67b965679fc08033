"""NegGuide's own HTTP endpoints: schema, version, presets, and what a schedule does.

They serve the page's editor as well as API users, so they exist without ``--api`` too,
and ask for the same proof of identity as the host: ``--api-auth``, or the page's login.
"""

from __future__ import annotations

from secrets import compare_digest
from typing import Any, Dict

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from modules import shared

from lib_negguide import __version__, hosts
from lib_negguide.errors import SettingsError
from lib_negguide.plan import GuidancePlan, StepInfo
from lib_negguide.schedule import reference_sigmas
from lib_negguide.settings import SCHEMA_VERSION, Settings
from lib_negguide.webui import editor, preset_files
from lib_negguide.webui.request import TITLE, parsed

ROOT = "/negguide/v1"

CHECKED = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img")
"""The host's own endpoints whose requests carry NegGuide's settings."""


def add(_demo: Any, app: FastAPI) -> None:
    """Add the endpoints to the host's server."""
    for path, method, endpoint in (
        ("/version", "GET", version),
        ("/schema", "GET", schema),
        ("/fields", "GET", editor.tables),
        ("/presets", "GET", list_presets),
        ("/presets", "POST", save_preset),
        ("/presets/{name}", "DELETE", delete_preset),
        ("/schedule", "POST", schedule),
    ):
        app.add_api_route(ROOT + path, endpoint, methods=[method], dependencies=[Depends(_identified)])
    for route in app.routes:
        if getattr(route, "path", None) in CHECKED:
            route.dependant.dependencies.append(get_parameterless_sub_dependant(depends=Depends(_checked), path=route.path))


async def _checked(request: Request) -> None:
    """422 for bad settings at once, before the request waits for its turn and before a selectable script hides the error."""
    try:
        body = await request.json()
    except ValueError:  # no body: the host says so
        return
    asked = body.get("alwayson_scripts") if isinstance(body, dict) else None
    for name, script in asked.items() if isinstance(asked, dict) else ():
        if name.lower() == TITLE.lower() and isinstance(script, dict) and script.get("args"):
            try:
                parsed(script["args"])
            except SettingsError as error:
                raise _unprocessable(error)


def version() -> Dict[str, Any]:
    """Versions of NegGuide and of its settings' form, and the host it runs in."""
    return {"version": __version__, "settings": SCHEMA_VERSION, "host": hosts.detect()}


def schema() -> Dict[str, Any]:
    """JSON schema of the API's object."""
    return Settings.schema()


def list_presets() -> Dict[str, Any]:
    """Built-in windows and saved presets by name; of a damaged file the error in its place."""
    folder = preset_files.folder()
    saved: Dict[str, Any] = {}
    for name in folder.names():
        try:
            saved[name] = folder.load(name).to_dict()
        except SettingsError as error:
            saved[name] = {"error": str(error)}
    return {"windows": editor.window_presets(), "saved": saved}


def save_preset(name: Any = Body(), settings: Any = Body()) -> Dict[str, Any]:
    """Save settings under a name, or replace them."""
    try:
        preset_files.folder().save(name, Settings.parse(settings))
    except SettingsError as error:
        raise _unprocessable(error)
    return list_presets()


def delete_preset(name: str) -> Dict[str, Any]:
    """Delete a saved preset."""
    try:
        preset_files.folder().delete(name)
    except SettingsError as error:
        raise _unprocessable(error)
    return list_presets()


def schedule(settings: Any = Body({}), steps: int = Body(20), hires: bool = Body(False)) -> Dict[str, Any]:
    """Strength of every negative at each of ``steps`` even steps of a whole run: the picture of a schedule."""
    try:
        if not 1 <= steps <= 1000:
            raise SettingsError("steps", steps, "a whole number from 1 to 1000")
        sigmas = reference_sigmas(steps)
        plan = GuidancePlan.build(Settings.parse(settings).schedule(hires), sigmas)
    except SettingsError as error:
        raise _unprocessable(error)
    calls = [plan.at(StepInfo(sigma, number)) for number, sigma in enumerate(sigmas)]
    return {
        "sigmas": sigmas,
        "terms": [{"name": term.name, "strengths": [call.strengths[index] for call in calls]}
                  for index, term in enumerate(plan.terms)],
        "extra_evaluations": [call.extra_evaluations for call in calls],
    }


def _unprocessable(error: SettingsError) -> HTTPException:
    return HTTPException(status_code=422, detail=str(error))


async def _identified(request: Request) -> None:
    """401 unless the caller is known by ``--api-auth``, by the page's login, or neither is in use."""
    known = dict(pair.split(":") for pair in (shared.cmd_opts.api_auth or "").split(",") if pair)
    login = getattr(request.app, "auth", None)
    if not known and login is None:
        return
    cookies = request.cookies
    token = cookies.get("access-token") or cookies.get("access-token-unsecure")
    if login is not None and request.app.tokens.get(token) is not None:
        return
    given: HTTPBasicCredentials = await HTTPBasic(auto_error=False)(request)
    if known and given and given.username in known and compare_digest(
            given.password.encode(), known[given.username].encode()):
        return
    raise HTTPException(status_code=401, detail="Incorrect username or password", headers={"WWW-Authenticate": "Basic"})
