"""Performance profiles, scores and the rules that strike times out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from timetrial.scoring.held_out import apply_rules
from timetrial.scoring.profiles import credits, performance_ratios, profile_steps, scores
from timetrial.scoring.rules import Rules, ranking
from timetrial.scoring.table import Selection

INF = np.inf

times_strategy = arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(1e-3, 1e6) | st.just(INF)
)


def trapezoid(ratios: np.ndarray, r_max: float, points: int) -> np.ndarray:
    """The public code's definition, written out: profiles on a grid, integrated by the trapezoid rule."""
    taus = np.linspace(1.0, r_max, points)
    rho = (ratios[:, :, None] <= taus).sum(axis=1) / ratios.shape[1]
    return np.trapezoid(rho, taus, axis=1) / (r_max - 1)


def test_hand_computed_scores() -> None:
    # workload 1: ratios 1 and 2.5 -> credits 1 and 1/2; workload 2: 4 (nothing) and 1
    times = np.array([[10.0, 80.0], [25.0, 20.0]])
    ratios = performance_ratios(times)
    np.testing.assert_array_equal(ratios, [[1, 4], [2.5, 1]])
    np.testing.assert_allclose(scores(ratios, 4.0), [0.5, 0.75])


def test_a_workload_that_nobody_trains_counts_as_missed_by_all() -> None:
    ratios = performance_ratios(np.array([[10.0, INF], [INF, INF]]))
    np.testing.assert_array_equal(ratios, [[1, INF], [INF, INF]])
    np.testing.assert_allclose(scores(ratios, 4.0), [0.5, 0.0])


@given(times_strategy, st.sampled_from([2.0, 4.0]))
def test_the_grid_score_is_the_trapezoid(times: np.ndarray, r_max: float) -> None:
    ratios = performance_ratios(times)
    np.testing.assert_allclose(scores(ratios, r_max, grid=100), trapezoid(ratios, r_max, 100), atol=1e-12)


@given(times_strategy)
def test_the_exact_score_is_the_limit_of_the_grid(times: np.ndarray) -> None:
    ratios = performance_ratios(times)
    for points in (100, 1000, 10_000):
        assert np.abs(scores(ratios, 4.0) - scores(ratios, 4.0, grid=points)).max() <= 0.5 / (points - 1) + 1e-12


@pytest.mark.parametrize("ratio", [1.0, 1.0 + 3 / 99, 4.0, np.nextafter(4.0, 5), INF])
def test_credits_at_the_edges(ratio: float) -> None:
    expected = trapezoid(np.array([[ratio]]), 4.0, 100)[0]
    assert credits(np.array([ratio]), 4.0, grid=100)[0] == pytest.approx(expected, abs=1e-15)
    assert credits(np.array([ratio]), 4.0)[0] == pytest.approx(max(0.0, (4 - ratio) / 3), abs=1e-15)


@given(times_strategy)
def test_the_exact_score_is_the_area_below_the_profile(times: np.ndarray) -> None:
    for ratios, score in zip(performance_ratios(times), scores(performance_ratios(times), 4.0), strict=True):
        taus, heights = profile_steps(ratios, 4.0)
        assert taus[0] == 1.0
        assert taus[-1] == 4.0
        assert (np.diff(heights) >= 0).all()
        assert (np.diff(taus) * heights[:-1]).sum() / 3 == pytest.approx(score, abs=1e-12)


@given(times_strategy, st.data())
def test_scores_are_free_of_units_and_of_order(times: np.ndarray, data: st.DataObject) -> None:
    ours = scores(performance_ratios(apply_rules(times, times.shape[1], (), 4.0)), 4.0)
    assert ((ours >= 0) & (ours <= 1)).all()
    factors = data.draw(arrays(np.float64, times.shape[1], elements=st.sampled_from([0.25, 1.0, 8.0, 1024.0])))
    scaled = scores(performance_ratios(apply_rules(times * factors, times.shape[1], (), 4.0)), 4.0)
    np.testing.assert_array_equal(scaled, ours)
    rows = data.draw(st.permutations(range(len(times))))
    columns = data.draw(st.permutations(range(times.shape[1])))
    shuffled = times[rows][:, columns]
    np.testing.assert_allclose(scores(performance_ratios(shuffled), 4.0), ours[rows], atol=1e-12)


def test_held_out_rules_in_their_order() -> None:
    # columns: base, its variant. Rows: sound; base missed; base too slow; variant missed; variant too slow
    times = np.array([[10.0, 10.0], [INF, 1.0], [41.0, 10.0], [10.0, INF], [10.0, 41.0]])
    counted = apply_rules(times, 1, (0,), 4.0)
    # the second row does not train the base, so its 1 s on the variant is no yardstick for the others
    np.testing.assert_array_equal(counted, [[10.0], [INF], [INF], [INF], [INF]])
    np.testing.assert_array_equal(times[1], [INF, 1.0])  # the input is left alone


def test_a_variant_guards_its_own_base_only() -> None:
    times = np.array([[10.0, 20.0, INF], [10.0, 20.0, 5.0]])
    np.testing.assert_array_equal(apply_rules(times, 2, (1,), 4.0), [[10.0, INF], [10.0, 20.0]])


def test_the_yardstick_of_a_slow_base_still_counts_on_its_variant() -> None:
    # the rules ask who trains the base before they ask how fast: 41 s is a miss, but set the pace on the variant
    times = np.array([[10.0, 41.0], [41.0, 10.0]])
    np.testing.assert_array_equal(apply_rules(times, 1, (0,), 4.0), [[INF], [INF]])


def test_four_times_the_fastest_is_not_too_slow() -> None:
    np.testing.assert_array_equal(apply_rules(np.array([[10.0], [40.0]]), 1, (), 4.0), [[10.0], [40.0]])


def test_nan_counts_as_a_miss() -> None:
    np.testing.assert_array_equal(apply_rules(np.array([[np.nan], [40.0]]), 1, (), 4.0), [[INF], [40.0]])


def test_leaving_a_workload_out_is_scoring_without_it() -> None:
    rules = Rules(selection=Selection(bases=("a", "b"), variants=("b2",), base_of=(1,)), r_max=4.0)
    medians = np.array([[10.0, 30.0, 5.0], [20.0, 20.0, INF]])
    np.testing.assert_allclose(rules.without_workload(1, medians), [1.0, 2 / 3])
    np.testing.assert_allclose(rules.without_workload(0, medians), [1.0, 0.0])


def test_ranking_breaks_ties_by_name() -> None:
    assert ranking(np.array([0.5, 0.9, 0.5]), ["b", "c", "a"]) == (1, 2, 0)
