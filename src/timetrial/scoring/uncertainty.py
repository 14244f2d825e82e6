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
    pool = _Pool(values, present, np.nan_to_num(table.medians(values), nan=np.inf, posinf=np.inf))
    plain_rng, corrected_rng = np.random.default_rng(seed).spawn(2)
    plain = resample_medians(values, present, resamples, plain_rng)
    corrected, unscaled = resample_corrected(values, present, resamples, corrected_rng)
    scores = rules.scores(corrected)
    count = len(table.submissions)
    return Uncertainty(
        scores={
            "corrected": percentile_intervals(scores),
            **_plain_intervals(rules.scores(plain), rules.scores(pool.medians), pool.jackknifed(rules.scores)),
        },
        times=_time_intervals(plain, corrected, pool),
        speedups=_speedup_intervals(mean_log_times, plain, unscaled, pool),
        score_differences=_stacked([percentile_intervals(scores[:, [a]] - scores) for a in range(count)]),
        beats=np.stack([_share_above(scores[:, [a]], scores) for a in range(count)]),
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


@dataclass(frozen=True, eq=False)
class _Pool:
    """Study times of a pool, which of them are present, and their medians."""

    values: Floats
    present: NDArray[np.bool_]
    medians: Floats

    def jackknifed(self, statistic: Callable[[Floats], Floats]) -> Floats:
        """A statistic of all medians, one study of one cell left out: (studies, submissions, workloads, ...)."""
        left_out = jackknife_medians(self.values, self.present)
        medians = np.broadcast_to(self.medians, (*left_out.shape, *self.medians.shape)).copy()
        for cell in np.ndindex(left_out.shape):
            medians[(*cell, *cell[1:])] = left_out[cell]
        result = statistic(np.where(np.isnan(medians), np.inf, medians))
        dropped = np.isnan(left_out).reshape(*left_out.shape, *[1] * (result.ndim - left_out.ndim))
        return np.where(dropped, np.nan, result)


def _plain_intervals(resampled: Floats, estimates: Floats, jackknifed: Floats) -> dict[Method, Intervals]:
    skew = acceleration(jackknifed, samples=(1, 2))
    return {
        "percentile": percentile_intervals(resampled),
        "bca": bias_corrected_intervals(resampled, estimates, skew),
    }


def _time_intervals(plain: Floats, corrected: Floats, pool: _Pool) -> dict[Method, Intervals]:
    skew = acceleration(jackknife_medians(pool.values, pool.present))
    return {
        "corrected": percentile_intervals(corrected),
        "percentile": percentile_intervals(plain),
        "bca": bias_corrected_intervals(plain, pool.medians, skew),
    }


def _speedup_intervals(
    mean_log_times: Callable[[Floats], Floats], plain: Floats, unscaled: Floats, pool: _Pool
) -> dict[Method, Intervals]:
    """Intervals of all pairs, one row at a time: a hundred submissions would not fit into memory at once."""
    smooth, resampled, estimates = (mean_log_times(medians) for medians in (unscaled, plain, pool.medians))
    jackknifed = pool.jackknifed(mean_log_times)
    rows: dict[Method, list[Intervals]] = {"corrected": [], "percentile": [], "bca": []}
    for a in range(len(estimates)):
        row = {
            "corrected": percentile_intervals(_speedup_row(smooth, a)),
            **_plain_intervals(_speedup_row(resampled, a), _speedup_row(estimates, a), _speedup_row(jackknifed, a)),
        }
        for method, intervals in rows.items():
            intervals.append(row[method])
    return {method: _stacked(intervals) for method, intervals in rows.items()}


def _speedup_row(mean_logs: Floats, a: int) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(mean_logs - mean_logs[..., [a]]))


def _share_above(scores: Floats, others: Floats) -> Floats:
    return np.asarray((scores > others).mean(axis=0) + (scores == others).mean(axis=0) / 2)


def _stacked(rows: Sequence[Intervals]) -> Intervals:
    return Intervals(np.stack([row.low for row in rows]), np.stack([row.high for row in rows]))
