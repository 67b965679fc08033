"""What windows do to pictures, counted by the judge: few pictures and steps, wide margins.

`python -m lib_negguide bench windows` measures the same with 500 pictures a point and 30 steps.
"""

import pytest

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.world.judge import Judge

PICTURES, STEPS = 32, 12


@pytest.fixture(scope="module")
def shown():
    """A function of a window that gives (pictures with glasses, portraits, mean change of a pixel against no negative)."""
    host, judge, found = EmbeddedHost.load(world.model()), Judge.load(), {}

    def images(settings):
        return host.sample([world.PROMPT] * PICTURES, range(500, 500 + PICTURES), Settings.parse(settings), steps=STEPS,
                           cfg_scale=world.GUIDANCE, size=world.SIZE, batch_size=PICTURES).images

    plain = images({})

    def count(combine="join", **window):
        key = (combine, *window.items())
        if key not in found:
            made = images({"negatives": [{"text": "glasses", **window}], "combine": combine})
            verdicts = judge(made)
            found[key] = (sum(verdict.glasses for verdict in verdicts), sum(verdict.kind == "portrait" for verdict in verdicts),
                          255 * (made - plain).abs().mean().item())
        return found[key]

    count.plain = sum(verdict.glasses for verdict in judge(plain))
    return count


def test_the_prompt_alone_leaves_it_open(shown):
    assert PICTURES // 5 <= shown.plain <= PICTURES * 4 // 5


def test_the_whole_run_removes(shown):
    glasses, persons, _ = shown()
    assert glasses <= shown.plain // 2 and persons >= PICTURES - 1


def test_a_window_removes_nearly_as_much_and_changes_less(shown):
    glasses, persons, change = shown(start=9.0, stop=1.6)
    assert glasses <= shown()[0] + 4 and persons >= PICTURES - 1
    assert change < 0.8 * shown()[2]


def test_the_end_of_the_run_is_not_needed(shown):
    assert shown(stop=1.6)[0] <= shown()[0] + 2


def test_too_late_removes_nothing(shown):
    glasses, _, change = shown(start=0.8)
    assert glasses >= shown.plain - 2
    assert change < 0.3 * shown()[2]


def test_perp_neg_removes_and_keeps_the_person(shown):
    glasses, persons, _ = shown(combine="perp-neg")
    assert glasses <= shown.plain // 2 and persons >= PICTURES - 1
