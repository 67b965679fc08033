"""Endpoints about settings: their form, and what a schedule does."""

from __future__ import annotations

from typing import Any, Dict

from fastapi import Body

from lib_negguide import __version__, hosts
from lib_negguide.errors import SettingsError
from lib_negguide.plan import GuidancePlan, StepInfo
from lib_negguide.schedule import reference_sigmas
from lib_negguide.settings import SCHEMA_VERSION, Settings
from lib_negguide.webui.api.answers import refusing


def version() -> Dict[str, Any]:
    """Versions of NegGuide and of its settings' form, and the host it runs in."""
    return {"version": __version__, "settings": SCHEMA_VERSION, "host": hosts.detect()}


def schema() -> Dict[str, Any]:
    """JSON schema of the API's object."""
    return Settings.schema()


def schedule(settings: Any = Body({}), steps: int = Body(20), hires: bool = Body(False)) -> Dict[str, Any]:
    """Strength of every negative at each of ``steps`` even steps of a whole run: the picture of a schedule."""
    with refusing():
        if not 1 <= steps <= 1000:
            raise SettingsError("steps", steps, "a whole number from 1 to 1000")
        sigmas = reference_sigmas(steps)
        plan = GuidancePlan.build(Settings.parse(settings).schedule(hires), sigmas)
    calls = [plan.at(StepInfo(sigma, number)) for number, sigma in enumerate(sigmas)]
    return {
        "sigmas": sigmas,
        "terms": [{"name": term.name, "strengths": [call.strengths[index] for call in calls]}
                  for index, term in enumerate(plan.terms)],
        "extra_evaluations": [call.extra_evaluations for call in calls],
    }
