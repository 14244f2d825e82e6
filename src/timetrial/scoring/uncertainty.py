"""Intervals for every score, time and speed-up; who beats whom; who cannot be told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.bootstrap import (
    Intervals,
    acceleration,
    bias_corrected_intervals,
    jackknife_medians,
    percentile_intervals,
    resample_corrected,
    resample_medians,
)
from timetrial.scoring.rules import Rules
from timetrial.scoring.table import StudyTable

Floats = NDArray[np.float64]
Method = Literal["corrected", "percentile", "bca"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """95 % intervals by method. `corrected` is the one to report; docs/scoring.md has the coverage of each."""

    scores: Mapping[Method, Intervals]
    """Shape (submissions,)."""
    times: Mapping[Method, Intervals]
    """Median seconds to target, shape (submissions, workloads)."""
    speedups: Mapping[Method, Intervals]
    """Row against column: [a, b] is the mean time of b over that of a. Shape (submissions, submissions)."""
    score_differences: Intervals
    """Row less column, corrected. Shape (submissions, submissions)."""
    beats: Floats
    """Share of corrected resamples in which the row's score is above the column's; ties count half."""


def estimate_uncertainty(
    table: StudyTable,
    rules: Rules,
    mean_log_times: Callable[[Floats], Floats],
    *,
    resamples: int,
    seed: int,
) -> Uncertainty:
    """Resample studies and compute everything anew in each resample.

    `mean_log_times` maps medians (..., submissions, workloads) to the mean log time of each submission, from which
    the geometric-mean speed-up of any over any other follows.
    """
    values = np.where(np.isnan(table.seconds), np.inf, table.seconds)
    present = np.ones(values.shape, dtype=np.bool_) if table.counted is None else table.counted
    estimates = np.nan_to_num(table.medians(values), nan=np.inf, posinf=np.inf)
    plain_rng, corrected_rng = np.random.default_rng(seed).spawn(2)
    plain = resample_medians(values, present, resamples, plain_rng)
    corrected, unscaled = resample_corrected(values, present, resamples, corrected_rng)

    def speedups(medians: Floats) -> Floats:
        return pairwise_speedups(mean_log_times(medians))

    def bca(statistic: Callable[[Floats], Floats], resampled: Floats) -> Intervals:
        skew = _acceleration(statistic, values, present, estimates)
        return bias_corrected_intervals(resampled, statistic(estimates), skew)

    def intervals(statistic: Callable[[Floats], Floats], smooth: Floats) -> dict[Method, Intervals]:
        resampled = statistic(plain)
        return {
            "corrected": percentile_intervals(smooth),
            "percentile": percentile_intervals(resampled),
            "bca": bca(statistic, resampled),
        }

    scores = rules.scores(corrected)
    differences = scores[:, :, None] - scores[:, None, :]
    return Uncertainty(
        scores=intervals(rules.scores, scores),
        times=_time_intervals(plain, corrected, values, present, estimates),
        speedups=intervals(speedups, speedups(unscaled)),
        score_differences=percentile_intervals(differences),
        beats=(differences > 0).mean(axis=0) + (differences == 0).mean(axis=0) / 2,
    )


def pairwise_speedups(mean_logs: Floats) -> Floats:
    """Speed-up of each over each: [..., a, b] is how many times faster a is than b, in geometric mean."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(mean_logs[..., None, :] - mean_logs[..., :, None]))


def groups_not_told_apart(differences: Intervals, order: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Runs of neighbours in the ranking within which no score difference has an interval that excludes zero.

    Only maximal runs of two or more are returned; they can overlap. Pairs are judged one by one at 95 %, without a
    correction for their number.
    """
    apart = (differences.low > 0) | (differences.high < 0)
    runs: list[tuple[int, ...]] = []
    end = 0
    for start in range(len(order)):
        stop = start + 1
        while stop < len(order) and not apart[order[stop], list(order[start:stop])].any():
            stop += 1
        if stop > end and stop - start > 1:
            runs.append(tuple(order[start:stop]))
        end = max(end, stop)
    return tuple(runs)


def _time_intervals(
    plain: Floats, corrected: Floats, values: Floats, present: NDArray[np.bool_], estimates: Floats
) -> dict[Method, Intervals]:
    return {
        "corrected": percentile_intervals(corrected),
        "percentile": percentile_intervals(plain),
        "bca": bias_corrected_intervals(plain, estimates, acceleration(jackknife_medians(values, present))),
    }


def _acceleration(
    statistic: Callable[[Floats], Floats], values: Floats, present: NDArray[np.bool_], estimates: Floats
) -> Floats:
    """BCa's acceleration of a statistic of all medians, leaving one study of one cell out at a time."""
    left_out = jackknife_medians(values, present)
    medians = np.broadcast_to(estimates, (*left_out.shape, *estimates.shape)).copy()
    for study, submission, workload in np.ndindex(left_out.shape):
        medians[study, submission, workload, submission, workload] = left_out[study, submission, workload]
    jackknifed = statistic(np.where(np.isnan(medians), np.inf, medians))
    dropped = np.isnan(left_out).reshape(*left_out.shape, *[1] * (jackknifed.ndim - 3))
    return acceleration(np.where(dropped, np.nan, jackknifed), samples=(1, 2))
