"""Other views of the same table: speed-ups, sensitivity of the ranking, the cost of tuning, race by race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.profiles import performance_ratios
from timetrial.scoring.rules import Rules
from timetrial.scoring.table import StudyTable
from timetrial.scoring.times import median_over_studies

Floats = NDArray[np.float64]

_SHORTEST = 1e-9  # seconds; only `compat` can meet a time that is not above zero


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Each workload's budget in seconds under the ruleset, in the order of a table's columns."""

    seconds: Floats
    bases: int
    compat: bool = False

    def fractions(self, medians: Floats) -> Floats:
        """Times as fractions of the budget; infinite where the target was not reached."""
        return np.asarray(medians / self.seconds)

    def mean_log_times(self, medians: Floats) -> Floats:
        """Mean log time over the base workloads, from which geometric-mean speed-ups follow.

        A target not reached counts as reached at the end of the budget: a lower bound of what it would have taken.
        The public tool adds a second (spec: protocol.md, section 9, "Speedup tool"), so does `compat`. No other
        scoring rule applies: a time beyond r_max times the fastest is still a time. Shape (..., submissions).
        """
        times = medians[..., : self.bases]
        budget = self.seconds[: self.bases] + (1.0 if self.compat else 0.0)
        positive = np.maximum(np.where(np.isfinite(times), times, budget), _SHORTEST)
        return np.asarray(np.log(positive).mean(axis=-1))


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How scores and ranking change when one workload, or one submission, is left out."""

    without_workload: Mapping[str, Floats]
    """Scores by the base workload left out, in the order of the submissions."""
    without_submission: Mapping[str, Floats]
    """Scores by the submission left out, NaN for itself."""


def sensitivity(medians: Floats, submissions: Sequence[str], rules: Rules) -> Sensitivity:
    """Leave one base workload (with its variants) out, then one submission; of a single one there is no entry."""
    bases = rules.selection.bases
    by_workload = {}
    if len(bases) > 1:
        by_workload = {name: rules.without_workload(i, medians) for i, name in enumerate(bases)}
    by_submission = {}
    if len(submissions) > 1:
        for i, name in enumerate(submissions):
            rest = rules.scores(np.delete(medians, i, axis=0))
            by_submission[name] = np.insert(rest, i, np.nan)
    return Sensitivity(without_workload=by_workload, without_submission=by_submission)


def tuning_cost(table: StudyTable) -> Floats:
    """Seconds that a user pays for a study who runs all its trials, each until the validation target or its end.

    Shape (submissions, workloads): the median over recorded studies, NaN where none is recorded. Trials without a
    record cost nothing here, so an incomplete study looks cheaper than it was.
    """
    return median_over_studies(table.spent, table.trials > 0)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One (workload, study, submission): a race of its own."""

    workload: str
    study: int
    """Position among the submission's studies, from 0."""
    submission: str
    seconds: float
    steps: float
    trial: int
    """The trial that counts, -1 for none."""
    ratio: float
    """Seconds over those of the fastest submission in this race; infinite for a miss."""
    rank: int
    """1 for the fastest; equal times share a rank; misses come last."""


def instances(table: StudyTable) -> list[Instance]:
    """All races of a pool: which submission won each study of each workload, and by how much."""
    seconds = np.where(np.isnan(table.seconds), np.inf, table.seconds)
    ratios = performance_ratios(seconds.reshape(len(table.submissions), -1)).reshape(seconds.shape)
    ranks = 1 + (seconds[None] < seconds[:, None]).sum(axis=1)
    return [
        Instance(
            workload=workload,
            study=k,
            submission=submission,
            seconds=float(seconds[i, j, k]),
            steps=float(table.steps[i, j, k]),
            trial=int(table.fastest_trial[i, j, k]),
            ratio=float(ratios[i, j, k]),
            rank=int(ranks[i, j, k]),
        )
        for j, workload in enumerate(table.selection.workloads)
        for k in range(seconds.shape[2])
        for i, submission in enumerate(table.submissions)
        if table.counted is None or table.counted[i, j, k]
    ]
