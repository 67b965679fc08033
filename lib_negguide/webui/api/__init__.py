"""NegGuide's own HTTP endpoints.

They serve the page's editor as well as API users, so they exist without ``--api`` too,
and ask for the same proof of identity as the host: ``--api-auth``, or the page's login.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.utils import get_parameterless_sub_dependant

from lib_negguide.webui import editor
from lib_negguide.webui.api.access import identified
from lib_negguide.webui.api.answers import checked
from lib_negguide.webui.api.presets import delete_preset, list_presets, save_preset
from lib_negguide.webui.api.schedules import schedule, schema, version

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
        app.add_api_route(ROOT + path, endpoint, methods=[method], dependencies=[Depends(identified)])
    for route in app.routes:
        if getattr(route, "path", None) in CHECKED:
            route.dependant.dependencies.append(get_parameterless_sub_dependant(depends=Depends(checked), path=route.path))
