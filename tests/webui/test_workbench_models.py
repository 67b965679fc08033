"""Strips with other models than the small world's, where the host has them, and with AND: the host's own pictures, with traces."""

import numpy as np
import pytest

from tests.webui.client import DEFAULTS
from tests.webui.test_models import KINDS
from tests.webui.test_workbench import ASKED, pixels, post

TEXT = "a portrait of a person AND a red hat :0.6"


@pytest.fixture
def model(host, request):
    """The host's model, changed and put back."""
    names = [name for name in host.models() if KINDS[request.param] in name.lower()]
    if not names:
        pytest.skip(f"this host has no model with {KINDS[request.param]!r} in its name")
    before = host.get("/sdapi/v1/options").json()["sd_model_checkpoint"]
    host.post("/sdapi/v1/options", sd_model_checkpoint=names[0])
    yield names[0]
    host.post("/sdapi/v1/options", sd_model_checkpoint=before)


def checked(host, run, prompt):
    """Each picture is to the bit what txt2img makes; directions were seen at each call."""
    asked = {**DEFAULTS, **{name: ASKED[name] for name in ("steps", "width", "height", "cfg_scale", "seed", "sampler_name")}, "prompt": prompt}
    assert run["state"] == "done" and run["notes"] == []
    for row in run["cells"]:
        given = row["settings"] if row["settings"].get("enabled", True) else None
        shot = host.txt2img(given, **{**asked, "negative_prompt": row["negative_prompt"]})
        assert np.array_equal(shot.pixels[0], pixels(run["pictures"][row["name"]])), row["name"]
        norms = [call["norms"] for call in row["trace"]["calls"]]
        assert len(norms) >= 4 and all(one["p"] > 0 and one["n"] > 0 for one in norms)
        assert len(row["previews"]) == 1
    return [row["distance"] for row in run["cells"][1:]]


@pytest.mark.parametrize("model", ["sdxl", "v"], indirect=True)
def test_other_models(host, model):
    run = post(host, strip="formulas", formulas=["stock", "branches", "perp-neg", "loop"], norms=True, previews=1)
    assert model.split(".")[0] in run["model"]
    assert all(one > 0 for one in checked(host, run, ASKED["prompt"])[:3])


def test_a_prompt_of_several_parts(host):
    run = post(host, strip="formulas", formulas=["stock", "branches", "perp-neg", "loop"], norms=True, previews=1, prompt=TEXT)
    assert all(one > 0 for one in checked(host, run, TEXT)[:3])
    grid = post(host, strip="windows", points=[0, 0.5, 1], prompt=TEXT)
    assert len(grid["cells"]) == 4 and all(row["distance"] > 0 for row in grid["cells"][1:])
