"""Attention in the workbench of a host: what the embedded host sees, the rows of a prompt's parts, as PNG; no hook stays."""

import io

import pytest
from PIL import Image

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.hosts.embedded.observing import Observing
from lib_negguide.settings import Settings
from tests.webui.test_models import model  # noqa: F401
from tests.webui.test_workbench import ASKED, ROOT, post


@pytest.fixture(autouse=True)
def no_hooks_stay(host):
    yield
    if host.has_script("Saboteur"):
        assert host.get("/saboteur/seen").json()["hooks"] == 0


def told(host, run, name="plain"):
    row = next(row for row in run["cells"] if row["name"] == name)
    return host.get(f"{ROOT}/runs/{run['id']}/files/{row['attention']['file']}").json()


def words(found):
    """{side:word: strengths} of the first resolution."""
    return {f"{word['side']}:{word['word']}": word["strengths"] for word in found["resolutions"][0]["words"]}


@pytest.fixture(scope="module")
def formulas(host):
    return post(host, strip="formulas", formulas=["stock", "window", "branches"], attention=True)


@pytest.mark.parametrize("name", ["plain", "stock", "window", "branches"])
def test_as_the_embedded_host(host, request, formulas, name):
    row = next(row for row in formulas["cells"] if row["name"] == name)
    seen = Observing(EmbeddedHost.load(request.config.getoption("--standin-model") or world.model()).model, "", 0, "glasses")
    seen.sample([ASKED["prompt"]], [3], Settings.parse(row["settings"]), negative_prompts=row["negative_prompt"], steps=4, cfg_scale=5,
                size=(64, 64), sampler="Euler")
    found = told(host, formulas, name)
    assert found["calls"] == seen.history.calls == [0, 1, 2, 3] and found["all"] == 4
    assert found["r_t"] == pytest.approx(seen.history.ratios, rel=5e-3)
    assert [call["r_t"] for call in row["trace"]["calls"]] == pytest.approx(found["r_t"], rel=1e-3)
    assert [tuple(one["size"]) for one in found["resolutions"]] == seen.history.sizes()
    for one in found["resolutions"]:
        for word, own in zip(one["words"], seen.history.of(tuple(one["size"]))):
            assert (word["side"], word["word"]) == (own.side, own.name)
            assert word["strengths"] == pytest.approx(own.strengths, rel=5e-3)


def test_a_negative_that_acts_is_seen_otherwise(host, formulas):
    plain, stock = (words(told(host, formulas, name)) for name in ("plain", "stock"))
    assert plain["prompt:person"][0] == pytest.approx(stock["prompt:person"][0], rel=1e-3)
    assert abs(plain["negative:glasses"][0] / stock["negative:glasses"][0] - 1) > 2e-3, "both alike: the first test could not fail"


def test_parts_of_a_prompt_have_rows_of_their_own(host, formulas):
    run = post(host, strip="weights", weights=[1], prompt=ASKED["prompt"] + " :1 AND a red circle :0", attention=True)
    parts, alone = words(told(host, run)), words(told(host, formulas))
    assert list(parts) == ["prompt:portrait", "prompt:person", "prompt 2:red", "prompt 2:circle", "negative:glasses"]
    for name in alone:
        assert parts[name] == pytest.approx(alone[name], rel=1e-2)


def test_prompt_editing(host):
    """Words that are not said at a call have no attention there."""
    run = post(host, strip="weights", weights=[1], negative="[glasses:hat:2]", attention=True)
    found = words(told(host, run))
    assert [bool(value) for value in found["negative:glasses"]] == [True, True, True, False]
    assert [bool(value) for value in found["negative:hat"]] == [False, False, False, True]


def test_a_removal_that_keeps_the_rest_is_seen_once(host):
    run = post(host, strip="removal", steps=6, attention=True, norms=True)
    for name in ("loop", "anchor"):
        row = next(row for row in run["cells"] if row["name"] == name)
        assert told(host, run, name)["calls"] == list(range(6))
        assert all("r_t" in call and "norms" in call for call in row["trace"]["calls"])


def test_pictures_are_the_same_and_nothing_is_kept_when_off(host, formulas):
    bare = post(host, strip="formulas", formulas=["stock", "window", "branches"])
    assert bare["pictures"]["window"] == formulas["pictures"]["window"]
    for row in bare["cells"]:
        assert row["attention"] is None and not any("r_t" in call for call in row["trace"].get("calls", ()))
    assert host.get(f"{ROOT}/runs/{bare['id']}/attention/plain").status_code == 422


def test_heat_maps_as_a_picture(host, formulas):
    address = f"{ROOT}/runs/{formulas['id']}/attention/plain"
    whole, two = (host.get(address + asked) for asked in ("", "?words=person&words=negative:glasses&size=4x4&calls=1,3&colours=call"))
    for answer in (whole, two):
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(two.content)).width < Image.open(io.BytesIO(whole.content)).width
    for asked, field in (("?words=dog", "words"), ("?size=x", "size"), ("?size=5x5", "size"), ("?calls=a", "calls"), ("?calls=9", "calls"),
                         ("?colours=x", "colours")):
        answer = host.get(address + asked)
        assert answer.status_code == 422 and f"NegGuide: {field} = " in answer.json()["detail"], asked
    assert host.get(address + "x").status_code == host.get(f"{ROOT}/runs/20200101-000000/attention/plain").status_code == 404
    kept = formulas["cells"][0]["attention"]
    assert host.get(f"{ROOT}/runs/{formulas['id']}/files/{kept['sheet']}").headers["content-type"] == "image/png"


@pytest.mark.parametrize("model", ["sdxl", "v"], indirect=True)  # noqa: F811
def test_other_models(host, model):  # noqa: F811
    before = host.get("/sdapi/v1/options").json()["sd_model_checkpoint"]
    host.post("/sdapi/v1/options", **model)
    try:
        run = post(host, strip="weights", weights=[1], attention=True)
    finally:
        host.post("/sdapi/v1/options", sd_model_checkpoint=before)
    found = told(host, run, "weight-1")
    assert found["calls"] == [0, 1, 2, 3] and all(0.05 < value < 20 for value in found["r_t"])
    assert list(words(found)) == ["prompt:portrait", "prompt:person", "negative:glasses"] and run["notes"] == []
