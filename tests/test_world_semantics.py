"""The small model does what prompts and negatives say: few pictures and steps, wide margins.

`python -m tests.world.evaluate` measures the same with 500 pictures and 30 steps.
"""

import pytest

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from tests.world.judge import Judge, Verdict

PICTURES = 24
STEPS = 12


@pytest.fixture(scope="module")
def seen():
    """A function of prompt and negative that gives the verdicts of 24 seeds."""
    host, judge = EmbeddedHost.load(world.model()), Judge.load()

    def sample(prompt: str, negative: str = "") -> list[Verdict]:
        images = host.sample(
            [prompt] * PICTURES,
            range(PICTURES),
            negative_prompts=negative,
            steps=STEPS,
            cfg_scale=world.GUIDANCE,
            size=world.SIZE,
            batch_size=PICTURES,
        ).images
        return judge(images)

    return sample


@pytest.mark.parametrize("name", ["glasses", "mustache", "hat"])
def test_what_is_asked_for_is_there(seen, name: str) -> None:
    prompt = f"a portrait of a person with {name if name == 'glasses' else f'a {name}'}"
    assert sum(verdict.satisfies(prompt) for verdict in seen(prompt)) >= PICTURES - 3


def test_a_negative_removes_and_the_person_stays(seen) -> None:
    prompt = "a portrait of a person"
    plain, without = seen(prompt), seen(prompt, "mustache")
    assert sum(verdict.mustache for verdict in plain) >= PICTURES // 5
    assert sum(verdict.mustache for verdict in without) <= 3
    assert all(verdict.kind == "portrait" for verdict in plain + without)


def test_the_classic_failure(seen) -> None:
    """Naming what shall be absent brings it."""
    prompt = "a portrait of a person"
    plain, named = seen(prompt), seen(f"{prompt} without mustache")
    assert sum(verdict.mustache for verdict in named) > sum(verdict.mustache for verdict in plain)


@pytest.mark.parametrize("prompt", ["a red circle", "a blue ring", "a yellow triangle"])
def test_a_shape_has_its_colour(seen, prompt: str) -> None:
    assert sum(verdict.satisfies(prompt) for verdict in seen(prompt)) >= PICTURES - 3
