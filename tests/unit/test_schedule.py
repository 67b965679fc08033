import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_negguide import schedule
from lib_negguide.schedule import CURVES, curve_value, inside, progress, reference_sigmas, strength, to_sigma

RUN = reference_sigmas(30)
# Runs whose levels lie at least a thousandth apart, which is finer than any schedule: five digits tell them apart.
RUNS = st.lists(st.integers(0, 6000), min_size=2, max_size=60, unique=True).map(
    lambda ks: [0.03 * math.exp(k / 1000) for k in sorted(ks, reverse=True)])


def test_reference_matches_the_published_noise_levels():
    # Sigma at steps 5, 10, 15 of 30 under the plain schedule (methods: 5.8, 2.8, 1.5) and the ends of SD1.
    assert [round(RUN[k], 1) for k in (5, 10, 15)] == [5.8, 2.8, 1.5]
    assert RUN[0] == pytest.approx(14.6146, abs=1e-3) and RUN[-1] == pytest.approx(0.0292, abs=1e-3)


@given(RUNS, st.data())
def test_a_step_boundary_lies_before_exactly_that_step(sigmas, data):
    step = data.draw(st.integers(0, len(sigmas)))
    start = to_sigma(step, "step", sigmas)
    assert [inside(s, start, None) for s in sigmas] == [i >= step for i in range(len(sigmas))]
    assert [inside(s, None, start) for s in sigmas] == [i < step for i in range(len(sigmas))]


@given(RUNS, st.floats(0, 1), st.floats(0, 1))
def test_fractions_keep_their_order_as_sigmas(sigmas, a, b):
    first, second = (to_sigma(f, "fraction", sigmas) for f in sorted((a, b)))
    assert first >= second


def test_units_agree():
    for k in range(31):
        assert to_sigma(k, "step", RUN) == to_sigma(k / 30, "fraction", RUN)
    assert to_sigma(5.8, "sigma", ()) == 5.8
    assert to_sigma(None, "step", RUN) is None and to_sigma(0, "step", RUN) > RUN[0]
    assert to_sigma(99, "step", RUN) == 0.0


def test_a_trailing_zero_is_no_noise_level():
    assert to_sigma(10, "step", RUN + (0.0,)) == to_sigma(10, "step", RUN)


def test_one_step_runs():
    assert to_sigma(0.4, "step", [14.6]) is not None
    assert to_sigma(1, "step", [14.6]) == 0.0


@given(st.floats(1e-3, 100), st.floats(1e-3, 100))
def test_progress_rises_as_sigma_falls(a, b):
    low, high = sorted((a, b))
    assert 0.0 <= progress(high) <= progress(low) <= 1.0


def test_progress_is_even_on_the_plain_schedule():
    assert [progress(s) for s in RUN] == pytest.approx([k / 29 for k in range(30)], abs=1e-6)
    assert progress(math.inf) == 0.0 and progress(0.0) == 1.0


def test_window_is_half_open_as_in_limited_interval_guidance():
    assert inside(5.8, 5.8, 1.6) and not inside(1.6, 5.8, 1.6)
    assert not inside(5.81, 5.8, 1.6) and inside(1e9, None, 1.6) and inside(1e-9, 5.8, None)
    assert not inside(2.0, 2.0, 2.0)


@given(st.floats(0.03, 14.6), st.sampled_from(CURVES), st.floats(0, 2))
def test_nothing_acts_outside_its_window(sigma, curve, weight):
    points = [(0.0, 1.0), (1.0, 0.5)]
    value = strength(sigma, 5.8, 1.6, weight, curve, points)
    assert 0.0 <= value <= weight
    if not 1.6 < sigma <= 5.8:
        assert value == 0.0


def test_curves_at_the_ends_and_the_middle():
    ends = {c: [curve_value(c, x, [(0.2, 0.3), (0.8, 0.9)]) for x in (0, 0.5, 1)] for c in CURVES}
    assert ends["constant"] == [1, 1, 1]
    assert ends["linear up"] == [0, 0.5, 1] and ends["linear down"] == [1, 0.5, 0]
    assert ends["cosine"] == pytest.approx([1, 0.5, 0])
    assert ends["points"] == pytest.approx([0.3, 0.6, 0.9])
    with pytest.raises(ValueError, match="wavy"):
        curve_value("wavy", 0.5)


def test_a_curve_spans_its_own_window():
    assert strength(5.8, 5.8, 1.6, curve="linear down") == 1.0
    assert strength(1.6001, 5.8, 1.6, curve="linear down") == pytest.approx(0.0, abs=1e-3)
    assert strength(RUN[-1], None, None, curve="linear up") == pytest.approx(1.0, abs=1e-3)


def test_curve_names_are_all_handled():
    assert all(isinstance(schedule.curve_value(c, 0.3, [(0, 1)]), float) for c in CURVES)
