"""What the public scoring code does differently, for scores that must equal the published ones.

Sources: spec: protocol.md, sections 9 and 12. Each difference has its own sentence in docs/scoring.md. Here are those
that concern times; the 100-point trapezoid is in `profiles.py`, the treatment of torn rows in `records/`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timetrial.records.history import TrialHistory
from timetrial.scoring.times import TrialTimes
from timetrial.suite import SuiteWorkload


def trial_times_compat(history: TrialHistory, workload: SuiteWorkload) -> TrialTimes:
    """Find a trial's first crossings by row, whatever the rows' times say.

    No budget is applied, an infinite metric can reach a target, and a crossing may carry any time, even NaN.
    """
    seconds, index = _first_row(history, workload, "validation", workload.validation_target)
    test_seconds, _ = _first_row(history, workload, "test", workload.test_target)
    times = history.times[np.isfinite(history.times)]
    reached = index >= 0
    return TrialTimes(
        trial=history.trial,
        seconds=seconds,
        steps=float(history.steps[index]) if reached else np.inf,
        test_seconds=test_seconds,
        spent=seconds if np.isfinite(seconds) else float(times.max(initial=0.0)),
        index=index if reached else len(history.times),
    )


def fastest_compat(trials: Sequence[TrialTimes]) -> TrialTimes:
    """The trial that counts for a study: the smallest evaluation INDEX among those that reach the target.

    Ties go to the first row. The rules' text asks for the fastest time (spec: protocol.md, section 12, pitfall 5).
    """
    reached = [trial for trial in trials if not np.isposinf(trial.seconds)]
    return min(reached, key=lambda trial: trial.index) if reached else trials[0]


def _first_row(
    history: TrialHistory, workload: SuiteWorkload, split: str, target: float | None
) -> tuple[float, int]:
    values = history.metrics.get(f"{split}/{workload.metric}")
    if values is None or target is None:
        return np.inf, -1
    reached = values <= target if workload.direction == "minimize" else values >= target
    if not reached.any():
        return np.inf, -1
    index = int(reached.argmax())
    return float(history.times[index]), index
