"""What a trace tells of a removal, and where a removal is a term of the plan."""

import json

import pytest

from lib_negguide.plan import GuidancePlan, StepInfo, StepPlan, joins
from lib_negguide.settings import Schedule, Settings
from lib_negguide.trace import RemovalCall, Trace

STEP = StepPlan((((), 1.0),), branches=((0, 1.0),), strengths=(1.0,))


def trace(*calls, pictures=2):
    """Calls as (strengths, predicted) or ``None`` for outside the bounds."""
    made = Trace(("mustache",), removed="hat", pictures=pictures)
    for call in calls:
        own = None
        if call is not None:
            strengths, predicted = call
            own = RemovalCall(strengths, tuple(0.123456 if p else None for p in predicted), tuple(0.25 * bool(s) for s in strengths), predicted)
        made.record(2.0, STEP, own)
    return made


def test_evaluations_are_each_pictures_own():
    made = trace(None, ((2.0, 2.0), (True, True)), ((2.0, 0.0), (False, True)), ((0.0, 0.0), (False, False)))
    assert [call.extra_evaluations for call in made.calls] == [1, 2, 1.5, 1]
    assert (made.extra_of(0), made.extra_of(1)) == (5, 6) and made.extra_evaluations == 5.5


def test_the_summary_tells_each_picture():
    made = trace(None, ((2.0, 0.0), (True, True)), ((1.0, 0.0), (True, False)), None)
    assert made.summary() == [
        "mustache: calls 1-4 of 4, σ 2 to 2, strength 1",
        "hat removed in picture 1: calls 2-3 of 4, σ 2 to 2, strength 1 to 2, in 25% of the picture, 6 extra evaluations",
        "hat removed in picture 2: never, it was not there at 1 looks"]
    assert trace(None, None).summary()[1:] == ["hat removed: never, no call was in its bounds"]
    assert trace(((1.0,), (True,)), pictures=1).summary()[1].startswith("hat removed: calls 1 of 1")


def test_batches_are_joined():
    first, second = trace(None, ((2.0, 2.0), (True, True))), trace(None, None, pictures=1)
    whole = Trace.joined([first, second])
    assert whole.calls[0].removal is None and whole.calls[1].removal.strengths == (2.0, 2.0, 0.0)
    assert whole.pictures == 3 and [whole.extra_of(picture) for picture in range(3)] == [3, 3, 2]
    assert whole.calls[1].extra_evaluations == pytest.approx(1 + 2 / 3)
    assert whole.removing(0) == [1] and whole.removing(2) == []


def test_json():
    told = json.loads(json.dumps(trace(None, ((2.0, 0.0), (True, False))).to_dict()))
    assert told["removed"] == "hat" and "removal" not in told["calls"][0]
    assert told["calls"][1]["removal"] == {"strengths": [2.0, 0.0], "presence": [0.1235, None], "shares": [0.25, 0.0],
                                           "predicted": [True, False]}
    assert "removed" not in Trace(("mustache",)).to_dict()


@pytest.mark.parametrize(("fields", "term"), [
    ({"search": "window", "region": "everywhere"}, True), ({"search": "window"}, False), ({"region": "everywhere"}, False), ({}, False)])
def test_a_window_in_the_whole_picture_is_an_ordinary_negative(fields, term):
    remove = Settings.parse({"remove": {"text": "hat", "start": 5.0, "stop": 2.0, "weight": 3.0, **fields}}).remove
    plan = GuidancePlan.build(Schedule(), (), box_is_empty=True, remove=remove)
    assert joins(remove) is term and [one.name for one in plan.terms] == ["hat"] * term
    if term:
        assert plan.at(StepInfo(3.0)).uncond == (((0,), 3.0), ((), -2.0))
        assert plan.at(StepInfo(6.0)).uncond == (((), 1.0),)


def test_the_removals_text_stands_behind_what_acts_already():
    plan = GuidancePlan.build(Settings.parse({"negatives": [{"text": "blurry"}]}), ())
    assert plan.texts((0, 1), ["ugly", ""], also="hat") == ["ugly, blurry, hat", "blurry, hat"]
    assert plan.texts((), ["ugly", ""], also="hat") == ["hat", "hat"]
