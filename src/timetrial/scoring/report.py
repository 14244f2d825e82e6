"""The result of scoring: numbers as arrays, and the same as plain data for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.bootstrap import Intervals
from timetrial.scoring.profiles import profile_steps
from timetrial.scoring.rules import Rules, ranking
from timetrial.scoring.table import StudyTable
from timetrial.scoring.uncertainty import Uncertainty, groups_not_told_apart
from timetrial.scoring.views import Sensitivity, instances

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreReport:
    """Everything that scoring a pool gives. Submissions and workloads are in the order of `table`.

    Times are seconds of submission time; infinity is a target not reached (null in `to_json`).
    """

    suite: str
    ruleset: str
    rules: Rules
    resamples: int
    seed: int
    reference: str
    table: StudyTable
    times: Floats
    """Median seconds to the validation target, (submissions, workloads), before any rule strikes one out."""
    counted_times: Floats
    """Those that enter the score, (submissions, base workloads): infinite where a rule strikes one out."""
    steps: Floats
    """Median fewest steps to the validation target, (submissions, workloads)."""
    test_times: Floats
    """Median seconds to the test target, (submissions, workloads)."""
    budget_fractions: Floats
    """`times` over the budget."""
    scores: Floats
    scores_by_steps: Floats
    """The same score with steps for seconds: hardware and implementation apart."""
    speedups: Floats
    """[a, b]: how many times faster a is than b, in geometric mean over the base workloads."""
    tuning_costs: Floats
    """Median seconds for all trials of a study, (submissions, workloads)."""
    sensitivity: Sensitivity
    uncertainty: Uncertainty | None
    """None when it was not asked for, or when a single study leaves nothing to resample."""
    notes: tuple[str, ...]
    """What the reader of these numbers must know: what was left out, what is missing."""
    warnings: tuple[str, ...]
    """What could not be read; each names a file."""

    @property
    def submissions(self) -> tuple[str, ...]:
        """Names, sorted."""
        return self.table.submissions

    @property
    def workloads(self) -> tuple[str, ...]:
        """Base workloads that are scored."""
        return self.table.selection.bases

    @property
    def held_out(self) -> tuple[str, ...]:
        """Held-out variants that guard them."""
        return self.table.selection.variants

    @property
    def order(self) -> tuple[int, ...]:
        """Positions of the submissions, best score first."""
        return ranking(self.scores, self.submissions)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Neighbours in the ranking that cannot be told apart at 95 %."""
        if self.uncertainty is None:
            return ()
        runs = groups_not_told_apart(self.uncertainty.score_differences, self.order)
        return tuple(tuple(self.submissions[i] for i in run) for run in runs)

    def profile(self, submission: str, *, by_steps: bool = False) -> tuple[Floats, Floats]:
        """A submission's performance profile as a step function: (τ of each jump, height from there on)."""
        ratios = self.rules.ratios(self.steps if by_steps else self.times)
        return profile_steps(ratios[self.submissions.index(submission)], self.rules.r_max)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; infinities and NaN become None."""
        return {
            "suite": self.suite,
            "ruleset": self.ruleset,
            "compat": self.rules.compat,
            "r_max": self.rules.r_max,
            "resamples": self.resamples if self.uncertainty else 0,
            "seed": self.seed,
            "reference": self.reference,
            "workloads": list(self.workloads),
            "held_out": list(self.held_out),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "submissions": [self._submission(i, rank) for rank, i in enumerate(self.order, start=1)],
            "groups_not_told_apart": [list(group) for group in self.groups],
            "pairs": self._pairs(),
            "sensitivity": {
                "without_workload": self._by_submission(self.sensitivity.without_workload),
                "without_submission": self._by_submission(self.sensitivity.without_submission),
            },
            "instances": [{key: _plain(value) for key, value in asdict(row).items()} for row in instances(self.table)],
        }

    def _submission(self, i: int, rank: int) -> dict[str, Any]:
        name = self.submissions[i]
        reference = self.submissions.index(self.reference)
        known = self.uncertainty
        return {
            "rank": rank,
            "submission": name,
            "score": _plain(self.scores[i]),
            "score_intervals": _ends(known.scores, (i,)) if known else None,
            "score_by_steps": _plain(self.scores_by_steps[i]),
            "speedup": _plain(self.speedups[i, reference]),
            "speedup_intervals": _ends(known.speedups, (i, reference)) if known else None,
            "profile": dict(zip(("tau", "rho"), map(_plain, self.profile(name)), strict=True)),
            "profile_by_steps": dict(zip(("tau", "rho"), map(_plain, self.profile(name, by_steps=True)), strict=True)),
            "workloads": {workload: self._cell(i, j) for j, workload in enumerate(self.table.selection.workloads)},
        }

    def _cell(self, i: int, j: int) -> dict[str, Any]:
        known = self.uncertainty
        base = j < len(self.workloads)
        return {
            "seconds": _plain(self.times[i, j]),
            "intervals": _ends(known.times, (i, j)) if known else None,
            "counts_in_score": bool(np.isfinite(self.counted_times[i, j])) if base else None,
            "steps": _plain(self.steps[i, j]),
            "test_seconds": _plain(self.test_times[i, j]),
            "budget_fraction": _plain(self.budget_fractions[i, j]),
            "tuning_seconds": _plain(self.tuning_costs[i, j]),
            "study_seconds": _plain(self.table.seconds[i, j]),
            "trials_recorded": self.table.trials[i, j].tolist(),
        }

    def _pairs(self) -> list[dict[str, Any]]:
        order = self.order
        rows = []
        for place, a in enumerate(order):
            for b in order[place + 1 :]:
                row = {
                    "submission": self.submissions[a],
                    "against": self.submissions[b],
                    "score_difference": _plain(self.scores[a] - self.scores[b]),
                    "speedup": _plain(self.speedups[a, b]),
                }
                if (known := self.uncertainty) is not None:
                    row["score_difference_interval"] = _pair(known.score_differences, (a, b))
                    row["speedup_intervals"] = _ends(known.speedups, (a, b))
                    row["probability_better"] = _plain(known.beats[a, b])
                rows.append(row)
        return rows

    def _by_submission(self, values: Any) -> dict[str, dict[str, Any]]:
        return {
            left_out: {name: _plain(value) for name, value in zip(self.submissions, row, strict=True)}
            for left_out, row in values.items()
        }


def _ends(intervals: Any, where: tuple[int, ...]) -> dict[str, list[Any]]:
    return {method: _pair(interval, where) for method, interval in intervals.items()}


def _pair(interval: Intervals, where: tuple[int, ...]) -> list[Any]:
    return [_plain(interval.low[where]), _plain(interval.high[where])]


def _plain(value: Any) -> Any:
    """Numbers and lists of numbers without numpy types, infinities or NaN."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
