"""Time to target: hand-made trials, in exact and in compatible mode."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.scoring.compat import fastest_compat, trial_times_compat, with_stale_columns
from timetrial.scoring.times import TrialTimes, fastest, median_over_studies, trial_times
from timetrial.suite import Suite

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("evaluations", "exact", "compat"),
    [
        ([(10, 0.5), (20, 0.8), (30, 0.9)], 20, 20),  # the target itself reaches it
        ([(10, 0.5), (20, 0.79)], INF, INF),
        ([(10, 0.9), (20, 0.5), (30, 0.9)], 10, 10),  # the first crossing, though it is lost again
        ([], INF, INF),
        ([(10, NAN), (20, 0.9)], 20, 20),
        ([(10, NAN)], INF, INF),
        ([(10, INF), (20, 0.9)], 20, 10),  # an infinite accuracy is no accuracy
        ([(NAN, 0.9), (20, 0.9)], 20, NAN),  # an unknown time is no time
        ([(30, 0.9), (20, 0.9)], 20, 30),  # rows out of order
        ([(-5, 0.9), (20, 0.9)], 20, -5),
        ([(0, 0.9), (20, 0.9)], 20, 0),
        ([(10, 0.1), (100, 0.9)], 100, 100),  # at the budget
        ([(10, 0.1), (100.5, 0.9)], INF, 100.5),  # past it
    ],
)
def test_first_crossing(make_history, suite: Suite, evaluations, exact: float, compat: float) -> None:
    history, workload = make_history(evaluations), suite.workload("apple")
    assert trial_times(history, workload, 100.0).seconds == exact
    np.testing.assert_equal(trial_times_compat(history, workload).seconds, compat)


def test_direction_comes_from_the_suite(make_history, suite: Suite) -> None:
    history = make_history([(10, 0.9), (20, 0.5), (30, 0.1)], workload="pear")
    assert trial_times(history, suite.workload("pear"), 100.0).seconds == 20
    assert trial_times_compat(history, suite.workload("pear")).seconds == 20


def test_steps_test_target_and_cost(make_history, suite: Suite) -> None:
    history = make_history([(10, 0.5), (20, 0.8), (30, 0.9)], steps=[1, 70, 60], test=[0.6, 0.65, 0.7])
    times = trial_times(history, suite.workload("apple"), 100.0)
    assert (times.seconds, times.steps, times.test_seconds, times.spent) == (20, 60, 30, 20)


def test_a_trial_that_misses_costs_all_its_time_within_the_budget(make_history, suite: Suite) -> None:
    history = make_history([(10, 0.5), (90, 0.5), (120, 0.5)])
    assert trial_times(history, suite.workload("apple"), 100.0).spent == 90


def test_unknown_steps_do_not_count(make_history, suite: Suite) -> None:
    times = trial_times(make_history([(10, 0.9)], steps=[-1]), suite.workload("apple"), 100.0)
    assert (times.seconds, times.steps) == (10, INF)


def test_fastest_trial_is_not_the_one_with_the_fewest_evaluations(make_history, suite: Suite) -> None:
    slow = make_history([(40, 0.9)], trial=1)
    fast = make_history([(10, 0.1), (20, 0.9)], trial=2)
    workload = suite.workload("apple")
    assert fastest([trial_times(trial, workload, 100.0) for trial in (slow, fast)]).trial == 2
    assert fastest_compat([trial_times_compat(trial, workload) for trial in (slow, fast)]).trial == 1


def test_compat_breaks_ties_as_the_published_digits_do() -> None:
    for trials in itertools.permutations(range(1, 8)):
        rows = [TrialTimes(trial, 10.0 * trial, 1, INF, 0, index=3) for trial in trials[:5]]
        order = [5, 3, 4, 1, 2, 6, 7]
        assert fastest_compat(rows).trial == min(trials[:5], key=order.index)


def test_compat_prefers_no_trial_that_misses() -> None:
    missed = TrialTimes(5, INF, INF, INF, 0, index=0)
    assert fastest_compat([missed, TrialTimes(1, 30.0, 1, INF, 0, index=3)]).trial == 1
    assert fastest_compat([missed]).seconds == INF


def test_compat_gives_a_trial_without_the_metric_the_values_loaded_before(make_history, suite: Suite) -> None:
    full, bare = make_history([(10, 0.9)], trial=5), make_history([(7, 0.1)], trial=2)
    bare.metrics.clear()
    workload = suite.workload("apple")
    seconds = {t.trial: trial_times_compat(t, workload).seconds for t in with_stale_columns([bare, full])}
    assert seconds == {5: 10, 2: 7}
    assert trial_times_compat(bare, workload).seconds == INF


studies = st.lists(st.floats(1, 1e9) | st.just(INF), min_size=1, max_size=6)


@given(studies)
def test_median_is_numpys(values: list[float]) -> None:
    assert median_over_studies(np.array(values)) == np.median(values)


@given(studies, st.lists(st.booleans(), min_size=6, max_size=6))
def test_median_over_the_present(values: list[float], flags: list[bool]) -> None:
    present = np.array(flags[: len(values)])
    expected = np.median(np.array(values)[present]) if present.any() else NAN
    np.testing.assert_equal(float(median_over_studies(np.array(values), present)), float(expected))


def test_median_is_spoilt_by_nan_among_the_present_only() -> None:
    values = np.array([[1.0, NAN, 3.0], [1.0, NAN, 3.0]])
    present = np.array([[True, True, True], [True, False, True]])
    np.testing.assert_equal(median_over_studies(values, present), [NAN, 2.0])
