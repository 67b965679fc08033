"""The workbench's endpoints in a host: strips, runs, interrupt and skip, what an infotext says."""

import base64
import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.webui.client import DEFAULTS

ROOT = "/negguide/v1/workbench"
ASKED = {"prompt": "a portrait of a person", "negative": "glasses", "steps": 4, "width": 64, "height": 64, "cfg_scale": 5, "seed": 3,
         "sampler_name": "Euler"}


def post(host, **fields):
    answer = host.post(ROOT, **{**ASKED, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def wait(host, identity):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        state = host.get(ROOT + "/state").json()
        if state["state"] != "running":
            return host.get(f"{ROOT}/runs/{identity}").json()
        time.sleep(0.05)
    raise TimeoutError(state)


@pytest.fixture(scope="module")
def formulas(host):
    return post(host, strip="formulas")


def test_the_cells_are_the_hosts_own_pictures(host, formulas):
    """Sampled once each, and to the bit what txt2img makes under the same settings."""
    assert formulas["state"] == "done" and formulas["error"] == ""
    cells = {row["name"]: row for row in formulas["cells"]}
    assert list(cells) == ["plain", "stock", "window", "branches", "perp-neg", "loop"]
    asked = {**DEFAULTS, **{name: ASKED[name] for name in ("prompt", "steps", "width", "height", "cfg_scale", "seed", "sampler_name")}}
    for name, more in (("plain", {}), ("stock", {"negative_prompt": "glasses"}), ("branches", {"negguide": cells["branches"]["settings"]})):
        shot = host.txt2img(more.pop("negguide", None), **{**asked, **more})
        assert np.array_equal(shot.pixels[0], pixels(formulas["pictures"][name])), name
    assert cells["plain"]["distance"] is None and all(cells[name]["distance"] > 0 for name in ("stock", "window", "branches", "perp-neg"))
    assert [call["extra_evaluations"] for call in cells["branches"]["trace"]["calls"]] == [1] * 4
    assert cells["loop"]["trace"]["removed"] == "glasses" and "remove" in cells["loop"]["infotext"]
    assert "NegGuide" not in cells["plain"]["infotext"] and "NegGuide schedule" in cells["window"]["infotext"]


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_directions_and_previews_change_no_picture(host, sampler):
    asked = {"strip": "formulas", "formulas": ["branches"], "sampler_name": sampler}
    bare, seen = post(host, **asked), post(host, **asked, norms=True, previews=2)
    for row in seen["cells"]:
        assert seen["pictures"][row["name"]] == bare["pictures"][row["name"]] or np.array_equal(
            pixels(seen["pictures"][row["name"]]), pixels(bare["pictures"][row["name"]]))
        norms = [call["norms"] for call in row["trace"]["calls"]]
        assert len(norms) >= 3 and all(0 < one["p"] < 2 and 0 < one["n"] < 2 for one in norms)
        assert len(row["previews"]) >= 1
        for preview in row["previews"]:
            assert host.get(f"{ROOT}/runs/{seen['id']}/files/{preview['file']}").status_code == 200
    plain, branches = ([call["norms"]["p"] for call in row["trace"]["calls"]] for row in seen["cells"])
    assert plain[0] == pytest.approx(branches[0], rel=0.02), "the same noise, the same directions"


def test_a_run_is_kept_and_can_be_deleted(host, formulas):
    identity = formulas["id"]
    assert identity in [row["id"] for row in host.get(ROOT + "/runs").json()["runs"]]
    for name, kind in (("sheet.png", "image/png"), ("plain.png", "image/png"), ("thumbnail.jpg", "image/jpeg"), ("report.html", "text/html")):
        answer = host.get(f"{ROOT}/runs/{identity}/files/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind), name
    assert host.get(f"{ROOT}/runs/{identity}/files/nothing.png").status_code == 404
    gone = post(host, strip="weights", weights=[1], steps=1)["id"]
    import requests

    assert requests.delete(f"{host.url}{ROOT}/runs/{gone}", timeout=60).status_code == 200
    assert host.get(f"{ROOT}/runs/{gone}").status_code == 404


def test_removal(host):
    """To the bit what txt2img makes with the same settings; the presence is in the trace."""
    run = post(host, strip="removal", steps=6)
    plain, loop, anchor = run["cells"]
    assert [row["name"] for row in run["cells"]] == ["plain", "loop", "anchor"] and anchor["settings"]["remove"]["anchor"]
    asked = {**DEFAULTS, **{name: ASKED[name] for name in ("prompt", "width", "height", "cfg_scale", "seed", "sampler_name")}, "steps": 6}
    for row in (loop, anchor):
        assert np.array_equal(host.txt2img(row["settings"], **asked).pixels[0], pixels(run["pictures"][row["name"]])), row["name"]
        seen = [call["removal"]["presence"][0] for call in row["trace"]["calls"] if "removal" in call]
        assert row["trace"]["removed"] == "glasses" and any(isinstance(one, float) for one in seen)
    assert "removal" not in str(plain["trace"])


def test_the_four_pictures(host):
    run = post(host, strip="four", caption="a hat", steps=3)
    assert [row["name"] for row in run["cells"]] == ["plain", "dns", "only", "guided"] and run["caption"] == "a hat"
    assert "NegGuide schedule" in run["cells"][1]["infotext"] or run["cells"][1]["infotext"] == ""


@pytest.mark.parametrize(("fields", "field"), [
    ({"negative": ""}, "negative"), ({"sampler_name": "x"}, "sampler_name"), ({"scheduler": "x"}, "scheduler"), ({"weights": [3]}, "weights"),
    ({"wait": 1}, "wait"), ({"more": 1}, "more")])
def test_a_refusal_names_field_and_what_is_allowed(host, fields, field):
    answer = host.post(ROOT, **{**ASKED, **fields})
    assert answer.status_code == 422 and f"NegGuide: {field} = " in answer.json()["detail"]


def test_in_the_background_with_skip_and_interrupt(host):
    identity = host.post(ROOT, **{**ASKED, "strip": "weights", "steps": 150, "wait": False}).json()["id"]
    assert host.post(ROOT, **ASKED).status_code == 409
    host.wait_for_step(2)
    host.post(ROOT + "/skip")
    end = time.monotonic() + 60
    while host.get(ROOT + "/state").json()["doing"] == "NegGuide: without the negative" and time.monotonic() < end:
        time.sleep(0.02)
    host.post(ROOT + "/interrupt")
    run = wait(host, identity)
    assert run["state"] == "interrupted" and run["notes"][0] == "skipped: without the negative" and len(run["cells"]) < 6
    after = post(host, strip="weights", weights=[1], steps=2)
    assert after["state"] == "done" and len(after["cells"]) == 2, "neither flag stays"


def test_what_an_infotext_says(host, formulas):
    infotext = next(row["infotext"] for row in formulas["cells"] if row["name"] == "window")
    form = host.post(ROOT + "/read", infotext=infotext).json()["form"]
    assert {name: form[name] for name in ASKED} == ASKED and form["window"] == {"start": 5.8, "stop": 1.6}
    form = host.post(ROOT + "/read", image=formulas["pictures"]["stock"]).json()["form"]
    assert (form["negative"], form["seed"]) == ("glasses", 3) and "window" not in form
    assert host.post(ROOT + "/read", infotext="").status_code == host.post(ROOT + "/read", image="x").status_code == 422


@pytest.mark.parametrize(("settings", "asked", "form", "noted"), [
    ({"negatives": [{"text": "hat", "start": 5, "curve": "linear down"}]}, {}, {"negative": "hat", "window": {"start": 5, "curve": "linear down"}}, ""),
    ({"negatives": [{"text": "hat"}, {"text": "beard"}], "combine": "perp-neg"}, {"negative_prompt": "fog"},
     {"strip": "formulas", "negative": "hat", "formulas": ["stock", "window", "perp-neg"], "negative_prompt": "fog"}, "beard"),
    ({"remove": {"text": "glasses"}}, {}, {"strip": "removal", "negative": "glasses"}, ""),
    ({"dnp": {"captioner": "text", "text": "a green ring"}}, {}, {"strip": "four", "caption": "a green ring", "captioner": "auto"}, ""),
    ({"box": {"start": 2.8}}, {"negative_prompt": "hat"}, {"negative": "hat", "window": {"start": 2.8}}, "")],
    ids=["window", "branches", "removal", "caption", "box"])
def test_a_picture_of_txt2img_keeps_what_negguide_did(host, settings, asked, form, noted):
    infotext = host.txt2img(settings, steps=2, **asked).infotexts[0]
    told = host.post(ROOT + "/read", infotext=infotext).json()
    assert {name: told["form"].get(name) for name in form} == form
    assert noted in "".join(told["notes"]) and bool(told["notes"]) == bool(noted)
