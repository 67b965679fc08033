"""Auto-DNP in the host's progress; interrupted, skipped, failing: nothing stays behind."""

import json
import time

import pytest

from tests.webui.client import same
from tests.webui.dnp import DNP, RED, STEPS, captions, colours, fresh, seen, with_calls  # noqa: F401 (a fixture for all)
from tests.webui.test_failures import in_background
from tests.webui.test_img2img import start_image

# Progress, interrupt, skip.


def progress(host):
    return host.get("/sdapi/v1/progress?skip_current_image=true").json()


def wait_for(host, condition, timeout=120):

    end = time.monotonic() + timeout
    while time.monotonic() < end:
        now = progress(host)
        if condition(now["state"], now["textinfo"] or ""):
            return now
        time.sleep(0.01)
    raise TimeoutError("the job never came to that")


def in_negative_picture(state, textinfo):
    return "diffusion-negative" in textinfo and state["sampling_step"] >= 5


def in_own_picture(state, textinfo):
    return state["job_count"] and "diffusion-negative" not in textinfo and state["job_no"] > 0 and state["sampling_step"] >= 5


@pytest.mark.parametrize("fields, jobs", [({}, 2), ({"n_iter": 2}, 4), ({"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}, 3)], ids=str)
def test_progress_counts_both(host, fields, jobs):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(80 + jobs), steps=80, **fields)
    first = wait_for(host, in_negative_picture)
    assert first["state"]["job_count"] == jobs and first["state"]["job_no"] == 0 and first["progress"] < 1 / jobs + 0.02
    second = wait_for(host, in_own_picture)
    assert second["state"]["job_count"] == jobs and not second["textinfo"]
    host.api.interrupt()
    waiting()
    assert progress(host)["state"]["job_count"] == 0 and not progress(host)["textinfo"]


def test_the_preview_shows_the_picture_that_forms(host):
    """First the negative one, then the own one."""
    import base64
    import io

    import numpy as np
    from PIL import Image

    def preview(condition):
        wait_for(host, condition)
        image = host.get("/sdapi/v1/progress").json()["current_image"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB"))[..., 0].mean()

    fields = {"prompt": RED, "seed": fresh(86), "steps": 80, "cfg_scale": 5}
    host.post("/sdapi/v1/options", live_previews_enable=True, show_progress_every_n_steps=1, show_progress_type="Full",
              live_preview_content="Combined")
    try:
        waiting = in_background(host.txt2img, DNP, **fields)
        first = preview(lambda state, text: "diffusion-negative" in text and state["sampling_step"] >= 50)
        second = preview(lambda state, text: in_own_picture(state, text) and state["sampling_step"] >= 50)
        shot = waiting()
    finally:
        host.post("/sdapi/v1/options", live_previews_enable=False, show_progress_every_n_steps=-1)
    negative, own = host.txt2img({"dns": {}}, **fields).pixels[0][..., 0].mean(), shot.pixels[0][..., 0].mean()
    assert abs(negative - own) > 10, "the two are too like to tell them apart"
    assert abs(first - negative) < abs(first - own)
    assert abs(second - own) < abs(second - negative)


def test_progress_of_a_cached_run(host):
    host.txt2img(DNP, prompt=RED, seed=fresh(85), steps=80)
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(85), steps=80)
    now = wait_for(host, lambda state, _: state["job_count"] and state["sampling_step"] >= 3)  # the last job's step stays in a host at rest
    assert now["state"]["job_count"] == 1
    waiting()


def pictures(host):
    """Pictures of every kind."""
    shots = [host.txt2img(settings, prompt=RED, negative_prompt="blue", seed=90) for settings in (None, {}, DNP, {"dns": {}})]
    return [shot.pixels[0].tobytes() for shot in shots], [shot.infotexts for shot in shots]


@pytest.fixture(scope="module")
def as_ever(host):
    return pictures(host)


@pytest.fixture
def nothing_stays_behind(host, as_ever):
    yield
    assert pictures(host) == as_ever
    assert progress(host)["state"]["job_count"] == 0


def test_interrupt_in_the_negative_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(91), steps=80, n_iter=2)
    wait_for(host, in_negative_picture)
    host.api.interrupt()
    answer = waiting()
    assert not answer.images
    _, calls = with_calls(host, host.txt2img, DNP, prompt=RED, seed=fresh(91), steps=80)
    assert calls == 160, "a half-made picture was kept"


def test_interrupt_in_the_own_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(92), steps=80, n_iter=2)
    wait_for(host, in_own_picture)
    host.api.interrupt()
    shot = waiting()
    assert len(shot.pixels) <= 2 and len(shot.calls()) < 80 and len(captions(shot)) == 2


def test_skip_in_the_negative_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(93), steps=80)
    wait_for(host, in_negative_picture)
    host.api.skip()
    shot = waiting()
    assert same(shot, host.txt2img(prompt=RED, seed=fresh(93), steps=80))
    assert "without the caption" in shot.notes and "NegGuide caption" not in shot.infotexts[0]


def test_skip_in_the_own_picture(host, nothing_stays_behind):
    waiting = in_background(host.txt2img, DNP, prompt=RED, seed=fresh(94), steps=80, n_iter=2)
    wait_for(host, in_own_picture)
    host.api.skip()
    shot = waiting()
    assert (shot.pixels[-1] == host.txt2img(DNP, prompt=RED, seed=fresh(94) + 1, steps=80).pixels[0]).all()


# What is left alone, and what goes wrong.


@pytest.mark.parametrize("fields", [{}, {"n_iter": 2}, {"override_settings": {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 5}},
                                    {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6}, {"prompt": "a red circle <lora:contrast:1>"}], ids=str)
def test_a_nested_generation_changes_nothing(host, fields):
    """Neither of the request's fields nor of anything global: seeds are fixed, as the host would, and our own run is noted."""
    host.txt2img(DNP, **{"prompt": RED, "seed": fresh(100 + len(str(fields))), **fields})
    assert set(seen(host)["changed"]) <= {"p.negguide_run", "p.subseed"}
    host.img2img(start_image(), DNP, prompt=RED, seed=fresh(200))
    assert set(seen(host)["changed"]) <= {"p.negguide_run", "p.subseed"}


def test_networks_act_in_both(host):
    """The stand-in's one network; the real host says that it has none of that name."""
    fields = {"prompt": "a red circle <lora:contrast:2>", "seed": fresh(101)}
    shot = host.txt2img(DNP, **fields)
    assert f"red {int(host.txt2img({'dns': {}}, **fields).pixels[0][..., 0].mean())} " in captions(shot)[0]
    assert same(shot, host.txt2img(negative_prompt=captions(shot)[0], **fields))
    assert same(host.txt2img(prompt=RED), host.txt2img({"enabled": False}, prompt=RED))


@pytest.mark.parametrize("place", ["nested", "caption"])
def test_an_exception_inside(host, place, nothing_stays_behind):
    scripts = {**host.scripts(DNP), "Saboteur": {"args": [place, 0]}}
    answer = host.post("/sdapi/v1/txt2img", prompt=RED, seed=fresh(110) + len(place), steps=3, width=64, height=64, alwayson_scripts=scripts)
    assert answer.status_code == 500 and "images" not in answer.json()
    assert "NegGuide: internal error, no picture is made: ZeroDivisionError: sabotage" in answer.text
    assert not set(seen(host)["changed"]) - {"p.negguide_run", "p.subseed", "p.init"}


def test_a_captioner_that_is_not_there(host, nothing_stays_behind):
    before = seen(host)["calls"]
    answer = host.refused({"dnp": {"captioner": "/no/such/folder"}}, prompt=RED, seed=fresh(111))
    assert answer.status_code == 422 and "/no/such/folder" in answer.json()["detail"]
    assert seen(host)["calls"] == before, "it was noticed only after sampling"


@pytest.mark.parametrize("dnp", [{"scores": True}, {"keep_better": True}, {"samples": 2, "several": "best"}], ids=json.dumps)
def test_clip_that_is_not_there(host, dnp):
    before = seen(host)["calls"]
    answer = host.refused({"dnp": {"captioner": "colours", "steps": 1, **dnp}}, prompt=RED, seed=fresh(112))
    assert answer.status_code == 422 and "CLIP" in answer.json()["detail"]
    assert seen(host)["calls"] == before


def test_scale_0_of_the_host_is_refused(host):
    answer = host.refused(DNP, cfg_scale=0)
    assert answer.status_code == 422 and "cfg_scale" in answer.json()["detail"]


def test_disabled_does_no_work(host):
    shot, calls = with_calls(host, host.txt2img, {**DNP, "enabled": False}, prompt=RED, seed=fresh(113))
    assert calls == STEPS and same(shot, host.txt2img(prompt=RED, seed=fresh(113)))
    assert "NegGuide" not in shot.infotexts[0]
