"""Resampling and intervals: against exact distributions, textbook values and their own invariances."""

import numpy as np
import pytest
from scipy import stats

from timetrial.scoring.bootstrap import (
    Intervals,
    acceleration,
    bias_corrected_intervals,
    jackknife_medians,
    percentile_intervals,
    resample_corrected,
    resample_medians,
)
from timetrial.scoring.uncertainty import groups_not_told_apart

INF = np.inf


def resample(values, resamples=20_000, *, corrected=False, present=None, seed=0) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    present = np.ones(values.shape, dtype=bool) if present is None else np.array(present)
    rng = np.random.default_rng(seed)
    if corrected:
        return resample_corrected(values, present, resamples, rng)[0]
    return resample_medians(values, present, resamples, rng)


def test_plain_resamples_of_three_have_their_exact_distribution() -> None:
    medians = resample([[[1.0, 2.0, 3.0]]])[:, 0, 0]
    shares = [(medians == value).mean() for value in (1, 2, 3)]
    # at least two of three draws at the lowest: (1 + 3 * 2) / 27
    np.testing.assert_allclose(shares, [7 / 27, 13 / 27, 7 / 27], atol=0.01)


def test_misses_are_resampled_too() -> None:
    medians = resample([[[1.0, INF, INF]]])[:, 0, 0]
    assert np.isinf(medians).mean() == pytest.approx(20 / 27, abs=0.01)


@pytest.mark.parametrize("corrected", [False, True])
def test_only_present_studies_are_drawn(corrected: bool) -> None:
    medians = resample(
        [[[7.0, 1e9, 7.0]], [[INF, INF, INF]]],
        present=[[[True, False, True]], [[False, False, False]]],
        corrected=corrected,
    )
    np.testing.assert_allclose(medians[:, 0, 0], 7.0)
    assert np.isinf(medians[:, 1, 0]).all()


def test_submissions_share_the_draws() -> None:
    medians = resample([[[1.0, 2.0, 3.0]], [[10.0, 20.0, 30.0]]], 500)
    np.testing.assert_array_equal(medians[:, 1], 10 * medians[:, 0])


def test_workloads_do_not_share_the_draws() -> None:
    medians = resample([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]], 5000)[:, 0]
    assert np.corrcoef(medians.T)[0, 1] == pytest.approx(0.0, abs=0.05)


def test_same_seed_same_resamples() -> None:
    values = [[[1.0, 2.0, 3.0]]]
    np.testing.assert_array_equal(resample(values, 700), resample(values, 700))
    assert not np.array_equal(resample(values, 700), resample(values, 700, seed=1))


def test_corrected_resamples_are_centred_and_wider() -> None:
    logs = np.array([[[0.1, 0.2, 0.3, 0.4, 0.5]]])
    plain = np.log(resample(np.exp(logs)))[:, 0, 0]
    corrected = np.log(resample(np.exp(logs), corrected=True))[:, 0, 0]
    assert np.median(corrected) == pytest.approx(0.3, abs=0.02)
    assert np.subtract(*np.quantile(corrected, [0.975, 0.025])) > np.subtract(*np.quantile(plain, [0.975, 0.025]))


def test_corrected_resamples_leave_identical_studies_alone() -> None:
    np.testing.assert_allclose(resample([[[5.0, 5.0, 5.0]]], 500, corrected=True), 5.0)


def test_a_single_success_borrows_the_pools_spread() -> None:
    cells = [[1.0, 1.1, 1.2], [1.0, 1.1, 1.3], [1.0, 1.2, 1.1], [5.0, INF, INF]]
    medians = resample([cells], corrected=True)[:, 0, 3]
    assert len(np.unique(medians[np.isfinite(medians)])) > 1000


def test_corrected_intervals_of_a_median_cover_at_least_nominally() -> None:
    rng = np.random.default_rng(7)
    for studies in (3, 5):
        pools = np.exp(9 + 0.1 * rng.standard_normal((400, 1, studies)))
        medians = resample(pools, 2000, corrected=True)
        interval = percentile_intervals(medians)
        covered = ((interval.low <= np.exp(9)) & (np.exp(9) <= interval.high)).mean()
        assert 0.93 <= covered <= 0.995  # SD of a share of 400: 0.011; measured on 2,000: 0.968 and 0.985


def test_percentile_interval_takes_order_statistics() -> None:
    interval = percentile_intervals(np.random.default_rng(0).permutation(np.arange(1001.0)))
    assert (interval.low, interval.high) == (25, 975)


def test_bias_corrected_interval_is_the_percentile_one_without_bias_and_skew() -> None:
    values = np.arange(-5000.0, 5001.0)
    interval = bias_corrected_intervals(values, np.array(0.0))
    assert (interval.low, interval.high) == (-4750, 4750)


def test_bca_interval_equals_scipys() -> None:
    data = np.random.default_rng(1).lognormal(size=25)
    seed = np.random.default_rng(2)
    result = stats.bootstrap((data,), np.mean, n_resamples=20_000, method="BCa", rng=seed)
    estimate = data.mean()
    left_out = np.array([np.delete(data, i).mean() for i in range(len(data))])
    interval = bias_corrected_intervals(result.bootstrap_distribution, np.array(estimate), acceleration(left_out))
    np.testing.assert_allclose(
        [interval.low, interval.high],
        [result.confidence_interval.low, result.confidence_interval.high],
        rtol=2e-3,
    )


def test_bias_corrected_interval_copes_with_infinities() -> None:
    mixed = np.array([1.0] * 500 + [INF] * 500)
    interval = bias_corrected_intervals(mixed, np.array(1.0))
    assert interval.low == 1.0
    all_missed = bias_corrected_intervals(np.full(1000, INF), np.array(INF))
    assert (all_missed.low, all_missed.high) == (INF, INF)


def test_acceleration_is_free_of_scale_and_zero_for_symmetry() -> None:
    skewed = np.array([1.0, 2.0, 9.0])
    assert acceleration(skewed) == pytest.approx(float(acceleration(1e-9 * skewed)))
    assert acceleration(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.0)
    assert acceleration(np.array([4.0, 4.0, 4.0])) == 0.0


def test_jackknife_leaves_each_present_study_out() -> None:
    values = np.array([[[1.0, 2.0, 4.0]]])
    np.testing.assert_array_equal(jackknife_medians(values, np.ones((1, 1, 3), bool))[:, 0, 0], [3.0, 2.5, 1.5])
    one_missing = np.array([[[True, True, False]]])
    np.testing.assert_array_equal(jackknife_medians(values, one_missing)[:, 0, 0], [2.0, 1.0, np.nan])


def test_groups_are_maximal_runs_without_a_clear_difference() -> None:
    # ranking 0 1 2 3; only 0 and 2, 0 and 3, 1 and 3 differ clearly: 0-1, 1-2 and 2-3 are all groups
    low = np.full((4, 4), -1.0)
    for better, worse in [(0, 2), (0, 3), (1, 3)]:
        low[better, worse] = 0.1
    differences = Intervals(low, -low.T)
    assert groups_not_told_apart(differences, [0, 1, 2, 3]) == ((0, 1), (1, 2), (2, 3))
    assert groups_not_told_apart(Intervals(np.full((4, 4), -1.0), np.ones((4, 4))), [2, 0, 1, 3]) == ((2, 0, 1, 3),)
    clear = np.where(np.triu(np.ones((4, 4)), 1) > 0, 0.1, -0.3)
    assert groups_not_told_apart(Intervals(clear, -clear.T), [0, 1, 2, 3]) == ()
