"""Scoring pools from end to end: hand-computed pools, missing pieces, views, and the plain-data form."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from timetrial.errors import UnknownNameError, UserError
from timetrial.records.history import TrialHistory
from timetrial.scoring.score import score_histories, scored_metrics
from timetrial.scoring.views import instances
from timetrial.suite import Suite

INF = np.inf
Pool = Callable[..., list[TrialHistory]]

FULL = {
    "adam": {"apple": [10, 12, 11], "apple_sour": [10, 10, 10], "pear": [20, 20, 20], "plum": [5, 5, None]},
    "sgd": {"apple": [22, 20, 24], "apple_sour": [30, 30, 30], "pear": [10, 10, 10], "plum": [10, None, None]},
}


@pytest.fixture(scope="module")
def report(make_pool: Pool, suite: Suite):
    return score_histories(make_pool(FULL), suite, resamples=2000)


def test_hand_computed_pool(report) -> None:
    np.testing.assert_array_equal(report.times, [[11, 20, 5, 10], [22, 10, INF, 30]])
    # adam: ratios 1, 2, 1; sgd: 2, 1, missed. A ratio of 2 is worth (4 - 2) / 3
    np.testing.assert_allclose(report.scores, [(1 + 2 / 3 + 1) / 3, (2 / 3 + 1) / 3])
    assert report.submissions == ("adam", "sgd")
    assert report.order == (0, 1)
    assert report.notes == ()
    # plum: sgd missed it, which counts as its budget of 100 s
    assert report.speedups[0, 1] == pytest.approx((22 / 11 * 10 / 20 * 100 / 5) ** (1 / 3))
    assert report.reference == "adam"


def test_a_variant_that_is_missed_strikes_its_base_out(make_pool: Pool, suite: Suite) -> None:
    pool = make_pool({**FULL, "sgd": {**FULL["sgd"], "apple_sour": [None, None, 30]}})
    report = score_histories(pool, suite, resamples=0)
    np.testing.assert_array_equal(report.counted_times[:, 0], [11, INF])
    assert report.times[1, 0] == 22


def test_a_workload_nobody_recorded_is_left_out_with_a_note(make_pool: Pool, suite: Suite) -> None:
    pool = [trial for trial in make_pool(FULL) if trial.workload != "plum"]
    report = score_histories(pool, suite, resamples=0)
    assert report.workloads == ("apple", "pear")
    assert "no submission has a record of plum" in report.notes[0]
    kept = score_histories(pool, suite, workloads=["apple", "pear", "plum"], resamples=0)
    np.testing.assert_allclose(kept.scores, report.scores * 2 / 3)


def test_a_workload_one_submission_lacks_counts_as_missed(make_pool: Pool, suite: Suite) -> None:
    pool = make_pool({"adam": FULL["adam"], "sgd": {"pear": [10, 10, 10]}})
    report = score_histories(pool, suite, resamples=0)
    np.testing.assert_array_equal(report.times[1], [INF, 10, INF, INF])
    assert report.notes == (
        "sgd: 0 of 3 studies recorded on apple, plum, apple_sour; missing ones count as not reached",
    )


def test_workloads_can_be_chosen(make_pool: Pool, suite: Suite) -> None:
    report = score_histories(make_pool(FULL), suite, workloads=["pear"], resamples=0)
    np.testing.assert_allclose(report.scores, [2 / 3, 1])
    assert report.held_out == ()
    with pytest.raises(UserError, match="held-out variant"):
        score_histories(make_pool(FULL), suite, workloads=["apple_sour"])
    with pytest.raises(UnknownNameError, match="did you mean 'apple'"):
        score_histories(make_pool(FULL), suite, workloads=["aple"])


def test_missing_studies_are_misses_unless_compat_or_fewer_are_meant(make_pool: Pool, suite: Suite) -> None:
    pool = make_pool({"adam": {"pear": [20]}, "sgd": {"pear": [10, 30]}})
    times = {
        "exact": score_histories(pool, suite, resamples=0),
        "compat": score_histories(pool, suite, compat=True, resamples=0),
        "two": score_histories(pool, suite, studies=2, resamples=0),
        "one": score_histories(pool, suite, studies=1, resamples=0),
    }
    medians = {name: report.times[:, 0].tolist() for name, report in times.items()}
    assert medians == {"exact": [INF, 30], "compat": [20, 20], "two": [INF, 20], "one": [20, 10]}


def test_more_studies_than_the_ruleset_all_count_with_a_note(make_pool: Pool, suite: Suite) -> None:
    report = score_histories(make_pool({"adam": {"pear": [10, 20, 30, 40, 50]}}), suite, resamples=0)
    assert report.times[0, 0] == 30
    assert any("5 studies were recorded, the ruleset asks for 3" in note for note in report.notes)


def test_trials_beyond_the_ruleset_do_not_count(make_history, suite: Suite) -> None:
    trials = [make_history([(40 - 10 * i, 0.1)], workload="pear", trial=i) for i in (1, 2, 3)]
    exact = score_histories(trials, suite, studies=1, resamples=0)
    assert exact.times[0, 0] == 20
    assert any("grants 2 trials a study" in note and "(1 left out)" in note for note in exact.notes)
    assert score_histories(trials, suite, compat=True, resamples=0).times[0, 0] == 10
    assert score_histories(trials, suite, studies=1, trials=3, resamples=0).times[0, 0] == 10


def test_the_self_tuning_ruleset_has_its_own_budget(make_history, suite: Suite) -> None:
    trials = [make_history([(120, 0.1)], workload="pear", study=study) for study in range(3)]
    assert score_histories(trials, suite, resamples=0).times[0, 0] == INF
    report = score_histories(trials, suite, ruleset="self", resamples=0)
    assert report.times[0, 0] == 120
    assert report.budget_fractions[0, 0] == pytest.approx(0.8)


def test_mistakes_are_told(make_pool: Pool, suite: Suite) -> None:
    pool = make_pool(FULL)
    with pytest.raises(UserError, match="nothing to score"):
        score_histories([], suite)
    with pytest.raises(UserError, match="are the same trial of adam"):
        score_histories([*pool, replace(pool[0])], suite)
    with pytest.raises(UnknownNameError, match="ruleset"):
        score_histories(pool, suite, ruleset="both")
    with pytest.raises(UnknownNameError, match="submission 'lion'"):
        score_histories(pool, suite, reference="lion")
    with pytest.raises(UserError, match="at least 1000 resamples"):
        score_histories(pool, suite, resamples=10)


def test_a_trial_without_the_metric_is_named(make_pool: Pool, suite: Suite) -> None:
    pool = make_pool(FULL)
    pool[0] = replace(pool[0], metrics={})
    report = score_histories(pool, suite, resamples=0, warnings=["from the reader"])
    assert report.warnings[0] == "from the reader"
    assert str(pool[0].path) in report.warnings[1]
    assert "validation/accuracy" in report.warnings[1]


def test_order_of_histories_does_not_matter(make_pool: Pool, suite: Suite, report) -> None:
    pool = make_pool(FULL)
    again = score_histories(pool[::-1], suite, resamples=2000)
    assert again.to_json() == report.to_json()


def test_a_common_factor_on_a_workload_changes_no_score(make_pool: Pool, suite: Suite, report) -> None:
    pool = [replace(trial, times=trial.times * 2) if trial.workload == "pear" else trial for trial in make_pool(FULL)]
    again = score_histories(pool, suite, resamples=2000)
    np.testing.assert_array_equal(again.scores, report.scores)
    np.testing.assert_allclose(again.uncertainty.scores["corrected"].low, report.uncertainty.scores["corrected"].low)


def test_uncertainty_is_coherent(report) -> None:
    known = report.uncertainty
    for intervals in (*known.scores.values(), *known.times.values(), *known.speedups.values()):
        assert (intervals.low <= intervals.high).all()
    np.testing.assert_allclose(known.beats + known.beats.T, 1.0)
    np.testing.assert_array_equal(np.diag(known.beats), 0.5)
    assert 0.8 < known.beats[0, 1] < 0.95  # a resample of plum misses in 7 of 27 cases, and then sgd may win
    np.testing.assert_array_equal(np.diag(known.speedups["corrected"].low), 1.0)


def test_equal_submissions_cannot_be_told_apart(make_pool: Pool, suite: Suite) -> None:
    times = {"apple": [10, 12, 11], "pear": [20, 22, 19], "plum": [5, 6, 7]}
    slow = {name: [9.0 * time for time in row] for name, row in times.items()}
    pool = make_pool({"one": times, "two": {name: row[::-1] for name, row in times.items()}, "slow": slow})
    report = score_histories(pool, suite, resamples=2000)
    assert report.groups == (("one", "two"),)
    one, two = report.submissions.index("one"), report.submissions.index("two")
    assert 0.3 < report.uncertainty.beats[one, two] < 0.7


def test_one_study_gives_no_intervals_and_says_so(make_pool: Pool, suite: Suite) -> None:
    report = score_histories(make_pool({"adam": {"pear": [20]}}), suite, studies=1)
    assert report.uncertainty is None
    assert report.groups == ()
    assert any("nothing can be said about uncertainty" in note for note in report.notes)


def test_sensitivity(report) -> None:
    np.testing.assert_allclose(report.sensitivity.without_workload["plum"], [5 / 6, 5 / 6])
    np.testing.assert_allclose(report.sensitivity.without_submission["adam"], [np.nan, 2 / 3])


def test_tuning_cost_is_the_sum_over_trials(make_history, suite: Suite) -> None:
    trials = [
        make_history([(10, 0.9), (30, 0.1)], workload="pear", trial=1),  # 30 s to the target
        make_history([(10, 0.9), (80, 0.9)], workload="pear", trial=2),  # misses after 80 s
    ]
    report = score_histories(trials, suite, studies=1, resamples=0)
    assert report.tuning_costs.tolist() == [[110]]


def test_instances_are_races(report) -> None:
    rows = {(row.workload, row.study, row.submission): row for row in instances(report.table)}
    assert len(rows) == 2 * 4 * 3
    won, lost = rows["apple", 1, "adam"], rows["apple", 1, "sgd"]
    assert (won.seconds, won.rank, won.ratio, won.trial) == (12, 1, 1, 1)
    assert (lost.seconds, lost.rank, lost.ratio) == (20, 2, pytest.approx(20 / 12))
    missed = rows["plum", 2, "sgd"]
    assert (missed.seconds, missed.rank, missed.ratio, missed.trial) == (INF, 1, INF, -1)


def test_profiles_by_time_and_by_steps(report) -> None:
    taus, heights = report.profile("sgd")
    np.testing.assert_allclose(taus, [1, 2, 4])
    np.testing.assert_allclose(heights, [1 / 3, 2 / 3, 2 / 3])
    taus, heights = report.profile("adam", by_steps=True)  # every crossing is at step 2
    np.testing.assert_allclose(heights, 1.0)


def test_plain_data_is_json_without_infinities(report) -> None:
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    first, second = data["submissions"]
    assert (first["rank"], first["submission"]) == (1, "adam")
    assert second["workloads"]["plum"]["seconds"] is None
    assert second["workloads"]["plum"]["study_seconds"] == [10, None, None]
    low, high = first["score_intervals"]["corrected"]
    assert 0 <= low <= first["score"] <= high <= 1
    (pair,) = data["pairs"]
    assert (pair["submission"], pair["against"]) == ("adam", "sgd")
    assert pair["probability_better"] == report.uncertainty.beats[0, 1]


def test_scored_metrics_of_a_suite(suite: Suite) -> None:
    assert scored_metrics(suite)["pear"] == ("validation/loss", "test/loss")
    assert set(scored_metrics(suite)) == {"apple", "pear", "plum", "apple_sour"}
