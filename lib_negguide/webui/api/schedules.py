"""Endpoints about settings: their form, and what a schedule does."""

from __future__ import annotations

from typing import Any, Dict

from fastapi import Body

from lib_negguide import __version__, hosts
from lib_negguide.plan import GuidancePlan, StepInfo
from lib_negguide.schedule import reference_sigmas
from lib_negguide.settings import SCHEMA_VERSION, Settings
from lib_negguide.webui.api.answers import refusing
from lib_negguide.webui.forms import ScheduleForm


def version() -> Dict[str, Any]:
    """Versions of NegGuide and of its settings' form, and the host it runs in."""
    return {"version": __version__, "settings": SCHEMA_VERSION, "host": hosts.detect()}


def schema() -> Dict[str, Any]:
    """JSON schema of the API's object."""
    return Settings.schema()


def schedule(body: Any = Body({})) -> Dict[str, Any]:
    """Strength of every negative at each of ``steps`` even steps of a whole run: the picture of a schedule."""
    with refusing():
        form = ScheduleForm.parse(body)
        sigmas = reference_sigmas(form.steps)
        plan = GuidancePlan.build(form.settings.schedule(form.hires), sigmas)
    calls = [plan.at(StepInfo(sigma, number)) for number, sigma in enumerate(sigmas)]
    return {
        "sigmas": sigmas,
        "terms": [{"name": term.name, "strengths": [call.strengths[index] for call in calls]}
                  for index, term in enumerate(plan.terms)],
        "extra_evaluations": [call.extra_evaluations for call in calls],
    }
