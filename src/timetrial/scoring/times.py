"""Time to target: per trial, per study (the fastest trial) and per workload (the median over studies).

Infinity means that a target was not reached. Times are seconds of submission time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timetrial.records.history import TrialHistory
from timetrial.suite import SuiteWorkload

Floats = NDArray[np.float64]
Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class TrialTimes:
    """What one trial came to."""

    trial: int
    seconds: float
    """Submission time at the first evaluation that reached the validation target."""
    steps: float
    """Fewest steps at an evaluation that reached it."""
    test_seconds: float
    """As `seconds`, for the test target."""
    spent: float
    """What the trial cost: `seconds`, or the time of its last evaluation if it missed."""
    index: int = 0
    """Which evaluation it was, counted from 0; only the public code's selection asks."""


def trial_times(history: TrialHistory, workload: SuiteWorkload, budget: float) -> TrialTimes:
    """Find a trial's first crossings, in order of submission time.

    An evaluation counts when its metric and its time are finite, 0 < time <= `budget` (seconds), and the metric is
    at or beyond the target (non-strict; spec: protocol.md, section 9). Rows may be in any order.
    """
    with np.errstate(invalid="ignore"):
        on_time = np.isfinite(history.times) & (history.times > 0) & (history.times <= budget)
    reached = _reached(history, workload, "validation") & on_time
    seconds = _least(history.times[reached])
    known_steps = reached & (history.steps >= 0)
    return TrialTimes(
        trial=history.trial,
        seconds=seconds,
        steps=_least(history.steps[known_steps]),
        test_seconds=_least(history.times[_reached(history, workload, "test") & on_time]),
        spent=seconds if np.isfinite(seconds) else float(history.times[on_time].max(initial=0.0)),
    )


def fastest(trials: Sequence[TrialTimes]) -> TrialTimes:
    """The trial that counts for a study: the fastest to the validation target (spec: protocol.md, section 8)."""
    return min(trials, key=lambda trial: trial.seconds)


def median_over_studies(values: Floats, present: NDArray[np.bool_] | None = None) -> Floats:
    """Median along the last axis, as numpy's: the mean of the middle two for an even count.

    Without `present` every slot counts. With it only those do, a NaN among them makes the median NaN, and no study
    at all makes it NaN.
    """
    if present is None:
        ordered = np.sort(values, axis=-1)
        count = values.shape[-1]
        return _mean(ordered[..., (count - 1) // 2], ordered[..., count // 2])
    ordered = np.sort(np.where(present, values, np.nan), axis=-1)  # sorts NaN last, beyond infinity
    counts = present.sum(axis=-1)
    low = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(counts // 2, values.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    spoilt = (np.isnan(values) & present).any(axis=-1) | (counts == 0)
    return np.where(spoilt, np.nan, _mean(low, high))


def _reached(history: TrialHistory, workload: SuiteWorkload, split: Split) -> NDArray[np.bool_]:
    target = workload.validation_target if split == "validation" else workload.test_target
    values = history.metrics.get(f"{split}/{workload.metric}")
    if values is None or target is None:
        return np.zeros(len(history.times), dtype=np.bool_)
    reached = values <= target if workload.direction == "minimize" else values >= target
    return np.asarray(reached & np.isfinite(values), dtype=np.bool_)


def _least(values: NDArray[np.float64] | NDArray[np.int64]) -> float:
    return float(values.min()) if len(values) else np.inf


def _mean(low: Floats, high: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # broken logs: huge times, and infinities of both signs
        return np.asarray((low + high) / 2)
