"""NegGuide's own HTTP endpoints.

They serve the page's editor as well as API users, so they exist without ``--api`` too,
and ask for the same proof of identity as the host: ``--api-auth``, or the page's login.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.utils import get_parameterless_sub_dependant

from lib_negguide.webui import editor
from lib_negguide.webui.api.access import identified
from lib_negguide.webui.api.answers import Route, checked
from lib_negguide.webui.api.attention import get_attention
from lib_negguide.webui.api.downloads import cancel_download, download_state, published_files, start_download
from lib_negguide.webui.api.negatives import caption, captioners, dns
from lib_negguide.webui.api.pictures import adapters, get_image, put_image
from lib_negguide.webui.api.presets import delete_preset, list_presets, save_preset
from lib_negguide.webui.api.schedules import schedule, schema, version
from lib_negguide.webui.api.workbench import (
    delete_run,
    get_run,
    get_run_file,
    interrupt_workbench,
    list_runs,
    read_infotext,
    skip_workbench,
    workbench,
    workbench_fields,
    workbench_state,
)
from lib_negguide.webui.forms import CaptionForm, DnsForm, ScheduleForm, described
from lib_negguide.workbench.form import Form

ROOT = "/negguide/v1"

CHECKED = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img")
"""The host's own endpoints whose requests carry NegGuide's settings."""


def add(_demo: Any, app: FastAPI) -> None:
    """Add the endpoints to the host's server."""
    router = APIRouter(route_class=Route)
    for path, method, endpoint, form in (
        ("/version", "GET", version, None),
        ("/schema", "GET", schema, None),
        ("/fields", "GET", editor.tables, None),
        ("/presets", "GET", list_presets, None),
        ("/presets", "POST", save_preset, None),
        ("/presets/{name}", "DELETE", delete_preset, None),
        ("/schedule", "POST", schedule, ScheduleForm),
        ("/captioners", "GET", captioners, None),
        ("/caption", "POST", caption, CaptionForm),
        ("/dns", "POST", dns, DnsForm),
        ("/adapters", "GET", adapters, None),
        ("/adapters/published", "GET", published_files, None),
        ("/adapters/download", "POST", start_download, None),
        ("/adapters/download", "GET", download_state, None),
        ("/adapters/download", "DELETE", cancel_download, None),
        ("/images", "POST", put_image, None),
        ("/images/{name}", "GET", get_image, None),
        ("/workbench", "POST", workbench, Form),
        ("/workbench/fields", "GET", workbench_fields, None),
        ("/workbench/state", "GET", workbench_state, None),
        ("/workbench/interrupt", "POST", interrupt_workbench, None),
        ("/workbench/skip", "POST", skip_workbench, None),
        ("/workbench/read", "POST", read_infotext, None),
        ("/workbench/runs", "GET", list_runs, None),
        ("/workbench/runs/{identity}", "GET", get_run, None),
        ("/workbench/runs/{identity}", "DELETE", delete_run, None),
        ("/workbench/runs/{identity}/files/{name}", "GET", get_run_file, None),
        ("/workbench/runs/{identity}/attention/{cell}", "GET", get_attention, None),
    ):
        router.add_api_route(ROOT + path, endpoint, methods=[method], dependencies=[Depends(identified)],
                             openapi_extra=described(form) if form else None)
    app.include_router(router)
    for route in app.routes:
        if getattr(route, "path", None) in CHECKED:
            route.dependant.dependencies.append(get_parameterless_sub_dependant(depends=Depends(checked), path=route.path))
