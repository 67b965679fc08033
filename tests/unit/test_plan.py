import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_negguide.plan import GuidancePlan, StepInfo, joined
from lib_negguide.schedule import reference_sigmas
from lib_negguide.settings import Settings

RUN = reference_sigmas(30)
STRENGTHS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0]) | st.floats(0, 2), max_size=5)


def plan(box_is_empty=True, **settings):
    return GuidancePlan.build(Settings.parse(settings), RUN, box_is_empty)


@pytest.mark.parametrize("strengths, mix", [
    ([], [((), 1.0)]),
    ([0.0], [((), 1.0)]),
    ([1.0], [((0,), 1.0)]),
    ([0.25], [((0,), 0.25), ((), 0.75)]),
    ([2.0], [((0,), 2.0), ((), -1.0)]),
    ([1.0, 1.0], [((0, 1), 1.0)]),
    ([1.0, 0.0], [((0,), 1.0)]),
    ([0.5, 1.0], [((1,), 0.5), ((0, 1), 0.5)]),
    ([1.0, 0.25, 0.5], [((0,), 0.5), ((0, 2), 0.25), ((0, 1, 2), 0.25)]),
])
def test_joined_by_table(strengths, mix):
    assert list(joined(strengths)) == mix


@given(STRENGTHS)
def test_joined_coefficients_sum_to_one(strengths):
    assert sum(a for _, a in joined(strengths)) == pytest.approx(1.0)


@given(STRENGTHS)
def test_joined_gives_each_negative_its_strength(strengths):
    """If a joined text were the sum of its parts, each negative would count with exactly its strength."""
    for index, strength in enumerate(strengths):
        assert sum(a for subset, a in joined(strengths) if index in subset) == pytest.approx(strength)


@given(st.lists(st.floats(0, 2), min_size=2, max_size=4), st.integers(0, 3), st.floats(-1e-6, 1e-6))
def test_joined_is_continuous(strengths, index, change):
    moved = list(strengths)
    index %= len(moved)
    moved[index] = min(max(moved[index] + change, 0.0), 2.0)
    before, after = dict(joined(strengths)), dict(joined(moved))
    for subset in before.keys() | after.keys():
        assert before.get(subset, 0.0) == pytest.approx(after.get(subset, 0.0), abs=1e-5)


def test_outside_every_window_the_uncond_is_the_empty_prompt():
    p = plan(negatives=[{"text": "mustache", "start": 5, "stop": 15, "unit": "step"}])
    acting = [p.at(StepInfo(sigma)).uncond == (((0,), 1.0),) for sigma in RUN]
    assert acting == [5 <= call < 15 for call in range(30)]
    assert all(p.at(StepInfo(s)).uncond == (((), 1.0),) for s, on in zip(RUN, acting) if not on)


def test_nothing_asked_is_the_ordinary_negative_prompt():
    p = plan(box_is_empty=False)
    assert all(p.at(StepInfo(sigma)).uncond == (((0,), 1.0),) for sigma in RUN)
    assert p.texts((0,), ["ugly", ""]) == ["ugly", ""]


def test_texts_join_per_picture_and_skip_what_is_empty():
    p = plan(box_is_empty=False, negatives=[{"text": "hat"}, {"text": " "}, {"text": "glasses"}])
    assert [t.name for t in p.terms] == ["negative prompt", "hat", "glasses"]
    assert p.texts((0, 1, 2), ["ugly", ""]) == ["ugly, hat, glasses", "hat, glasses"]
    assert p.texts((), ["ugly", ""]) == ["", ""]


def test_branches_are_asked_for_only_where_they_act():
    windows = [{"text": "a", "start": 5, "stop": 10, "unit": "step"}, {"text": "b", "stop": 3, "unit": "step"}]
    p = plan(combine="branches", negatives=windows)
    extra = [p.at(StepInfo(sigma)).extra_evaluations for sigma in RUN]
    assert extra == [1 if call < 3 or 5 <= call < 10 else 0 for call in range(30)]
    assert all(p.at(StepInfo(sigma)).uncond == (((), 1.0),) for sigma in RUN)
    assert p.subsets() == [(), (0,), (1,)]


def test_perp_neg_is_said():
    assert plan(combine="perp-neg", negatives=[{"text": "a"}]).at(StepInfo(3.0)).perp
    assert not plan(combine="branches", negatives=[{"text": "a"}]).at(StepInfo(3.0)).perp


WINDOWS = st.fixed_dictionaries({
    "text": st.sampled_from(["a", "b", "c"]),
    "start": st.none() | st.integers(0, 30), "weight": st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    "curve": st.sampled_from(["constant", "linear up", "linear down", "cosine"]), "unit": st.just("step"),
})


@given(st.lists(WINDOWS, max_size=3))
def test_every_text_that_a_call_needs_is_known_before_the_run(negatives):
    p = plan(negatives=negatives)
    known = set(p.subsets())
    for sigma in RUN:
        assert {subset for subset, _ in p.at(StepInfo(sigma)).uncond} <= known
