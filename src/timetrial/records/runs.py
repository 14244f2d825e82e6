"""Reading a runs folder as scoring sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from timetrial.errors import FileError
from timetrial.records.history import Histories, TrialHistory
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import NewerRecordError, TrialRecord, find_records

_NOT_METRICS = ("step", "examples", "submission_time", "evaluation_time", "total_time")


def suites_of(folder: Path) -> set[str]:
    """Return the names of the suites of the races on record below `folder`. Raises UserError and FileError."""
    plans = [record.plan for record in find_records(folder)]
    return {plan.suite for plan in plans if plan is not None and plan.race}


def read_runs(folder: Path, *, suite: str | None = None, ruleset: str | None = None) -> Histories:
    """Return the races on record below `folder`, those of one suite and ruleset where these are given.

    A failed trial counts as one that reached nothing; one that has not ended yet, for what it has recorded; each
    brings a warning, and so does a damaged record. Raises UserError where there is no such folder, or where a record
    was written by a newer version.
    """
    found = Histories()
    for record in find_records(folder):
        try:
            plan = record.plan
            if plan is None or not plan.race or suite not in (None, plan.suite) or ruleset not in (None, plan.ruleset):
                continue
            found.trials.append(_history(record, plan, found.warnings))
        except NewerRecordError:
            raise
        except FileError as error:
            found.warnings.append(str(error))
    return found


def _history(record: TrialRecord, plan: TrialPlan, warnings: list[str]) -> TrialHistory:
    rows = record.evaluations
    if record.result is None:
        warnings.append(f"{record.folder}: this trial has not ended; run the same command again to go on with it")
    elif record.result.ended == "failed":
        warnings.append(f"{record.folder}: failed ({record.result.reason}); counts as not reaching its target")
        rows = []
    names = [name for name in rows[0] if name not in _NOT_METRICS] if rows else []
    return TrialHistory(
        submission=plan.submission.name,
        study=plan.study,
        workload=plan.workload.name,
        trial=plan.trial,
        steps=np.array([row["step"] for row in rows], dtype=np.int64),
        times=np.array([row["submission_time"] for row in rows], dtype=np.float64),
        metrics={name: np.array([row[name] for row in rows], dtype=np.float64) for name in names},
        hyperparameters=plan.hyperparameters,
        path=record.folder,
    )
