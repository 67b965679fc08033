"""The embedded host makes the host's pictures: same seed, sampler and schedule, to one level of 255.

Not to the bit: the networks are the same, but the host's attention and convolutions are called in other ways and round
differently.
"""

import numpy as np
import pytest

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.webui.client import DEFAULTS

WINDOW = {"negatives": [{"text": "glasses", "start": 5.8, "stop": 1.6}]}
TWO = {"negatives": [{"text": "glasses", "start": 5.8, "stop": 1.6}, {"text": "hat", "weight": 0.6, "start": 0.2, "stop": 0.8, "unit": "fraction"}]}
LONG = ", ".join(["a portrait of a person with glasses and a hat"] * 12)


@pytest.fixture(scope="module")
def embedded(request):
    return EmbeddedHost.load(request.config.getoption("--standin-model") or world.model())


def check(host, embedded, settings=None, negative="mustache", **changes):
    fields = {**DEFAULTS, "steps": 12, "cfg_scale": 4, "sampler_name": "Euler", "negative_prompt": negative, **changes}
    if fields["sampler_name"] == "DDIM":
        fields["eta"] = 0  # the client asks for 1
    shot = host.txt2img(settings, **fields)
    result = embedded.sample(
        [fields["prompt"]], [fields["seed"]], Settings.parse(settings or {"enabled": False}), negative_prompts=negative,
        steps=fields["steps"], cfg_scale=fields["cfg_scale"], size=(64, 64), sampler=fields["sampler_name"],
        scheduler=fields.get("scheduler", "automatic"))
    assert np.abs(shot.pixels[0].astype(int) - np.asarray(result.pil()[0])).max() <= 1
    if settings:
        calls = shot.calls()
        assert [call["sigma"] for call in calls] == pytest.approx([call.sigma for call in result.trace.calls], rel=1e-3)
        assert [call["strengths"] for call in calls] == [pytest.approx(call.strengths) for call in result.trace.calls]


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM"])
@pytest.mark.parametrize("settings", [None, WINDOW], ids=["stock", "window"])
def test_samplers(host, embedded, sampler, settings):
    check(host, embedded, settings, sampler_name=sampler)


@pytest.mark.parametrize("scheduler", ["Karras", "Exponential", "SGM Uniform"])
def test_schedulers(host, embedded, scheduler):
    check(host, embedded, WINDOW, scheduler=scheduler)


@pytest.mark.parametrize("combine", ["join", "branches", "perp-neg"])
def test_ways_to_combine(host, embedded, combine):
    check(host, embedded, {**TWO, "combine": combine})


@pytest.mark.parametrize("fields", [{"negative": LONG}, {"negative": LONG, "prompt": LONG}, {"negative": ""}], ids=["negative", "both", "none"])
def test_lengths_of_prompts(host, embedded, fields):
    check(host, embedded, TWO, **fields)


@pytest.mark.parametrize("prompt", ["a (portrait:1.4) of a [person], ((hat))", "a portrait BREAK of a person", r"a \(portrait\), (of a", "a: b) ]c"])
def test_prompt_syntax(host, embedded, prompt):
    check(host, embedded, {"negatives": [{"text": "(glasses:1.5)", "start": 5.8}]}, "(hat)", prompt=prompt)
