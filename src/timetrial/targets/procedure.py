"""The target-setting procedure for one workload (spec: protocol.md, 10; Dahl et al. 2023, section 4.4).

1. Each algorithm trains with `trials` quasi-random points over the horizon, a part of the step hint, whatever it
   reaches.
2. The point with the best validation value is run again with `seeds` other seeds.
3. The validation target is the median over those of each run's best validation value; the test target the worst of
   the best test values among the runs that reached the validation target.

Runs are counted in steps, so that a busy machine changes nothing. They are ordinary records: the procedure resumes
from them, and everything it reports is recomputed from them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from timetrial.algorithms.registry import load_submission
from timetrial.errors import UserError
from timetrial.launch.plan import trial_seed
from timetrial.records.plan import SubmissionId, TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Period, Suite, SuiteWorkload
from timetrial.tuning.sampling import draw_points

_EVALUATIONS = 25
"""Evaluations a run: about as many as a race has, whose evaluation period is about 4 % of its budget."""

_SEARCH, _RERUN = 0, 1

Execute = Callable[[Sequence[TrialPlan]], None]
"""Runs those of the plans that are not on record."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is spent; the benchmark's authors took 200 trials an algorithm and 20 seeds."""

    trials: int = 200
    seeds: int = 20
    seed: int = 0
    horizon: float = 0.75
    """Part of the step hint that the runs train for, hence the budget's slack of 4/3 (spec: protocol.md, 10)."""
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Hyperparameters that are held at a value, where the search spaces would draw them."""

    def steps(self, workload: SuiteWorkload) -> int:
        """Return the number of steps of each run."""
        return max(int(self.horizon * workload.step_hint), 1)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run: where it came from, and the best values of its evaluations."""

    submission: str
    hyperparameters: dict[str, Any]
    validation: float
    test: float | None
    """None where the workload has no test split."""
    submission_time: float


@dataclass(frozen=True, kw_only=True)
class TargetSetting:
    """The targets and all the runs they come from."""

    suite: str
    workload: SuiteWorkload
    scale: Scale
    search: list[Run]
    reruns: list[Run]
    validation_target: float
    test_target: float | None
    """None where the workload has no test split."""

    @property
    def best(self) -> Run:
        """The run of the search whose point was run again."""
        return best_run(self.search, self.workload)


def set_targets(
    suite: Suite,
    workload: SuiteWorkload,
    submissions: Sequence[SubmissionId],
    scale: Scale,
    runs: Path,
    execute: Execute,
) -> TargetSetting:
    """Carry the procedure out, running through `execute` what is not on record yet. Raises UserError."""
    search_plans = [plan for submission in submissions for plan in _search(suite, workload, submission, scale)]
    execute(search_plans)
    search = [_read(plan, runs) for plan in search_plans]
    rerun_plans = _rerun(suite, workload, search_plans[search.index(best_run(search, workload))], scale)
    _discard_reruns_of_other_points(rerun_plans, runs)
    execute(rerun_plans)
    reruns = [_read(plan, runs) for plan in rerun_plans]
    validation_target, test_target = targets_of(reruns, workload)
    return TargetSetting(
        suite=suite.name,
        workload=workload,
        scale=scale,
        search=search,
        reruns=reruns,
        validation_target=validation_target,
        test_target=test_target,
    )


def _discard_reruns_of_other_points(plans: Sequence[TrialPlan], runs: Path) -> None:
    """Remove runs of a point that was the best one when there were fewer trials: nothing is made of them any more."""
    for plan in plans:
        record = TrialRecord(runs / plan.folder)
        if record.plan is None or record.plan == plan:
            continue
        if record.plan == replace(plan, hyperparameters=record.plan.hyperparameters):
            record.discard()


def best_run(runs: Sequence[Run], workload: SuiteWorkload) -> Run:
    """Return the run with the best validation value; the first of equals. Raises UserError where none is finite."""
    finite = [run for run in runs if math.isfinite(run.validation)]
    if not finite:
        raise UserError(f"{workload.name}: no run has a finite {workload.metric}: no target can be set")
    choose = min if workload.direction == "minimize" else max
    return choose(finite, key=lambda run: run.validation)


def targets_of(reruns: Sequence[Run], workload: SuiteWorkload) -> tuple[float, float | None]:
    """Return validation and test target of the runs with other seeds; a run that diverged is worse than any other.

    Without a test split there is no test target.

    Raises UserError where half of them diverged.
    """
    worst = math.inf if workload.direction == "minimize" else -math.inf
    values = [run.validation if math.isfinite(run.validation) else worst for run in reruns]
    validation_target = statistics.median(values)
    if not math.isfinite(validation_target):
        raise UserError(f"{workload.name}: half of the runs with other seeds diverged: no target can be set")
    reached = [
        run.test for run in reruns if run.test is not None and workload.reached(run.validation, validation_target)
    ]
    if not reached:
        return validation_target, None
    return validation_target, max(reached) if workload.direction == "minimize" else min(reached)


def _search(suite: Suite, workload: SuiteWorkload, submission: SubmissionId, scale: Scale) -> list[TrialPlan]:
    algorithm = load_submission(submission.location)
    if algorithm.search_space is None:
        raise UserError(f"{submission.name}: has no search space, which setting targets needs")
    points = draw_points(
        algorithm.search_space, sampler=suite.protocol.sampler, studies=1, trials=scale.trials, seed=scale.seed
    )[0]
    if unknown := scale.fixed.keys() - points[0].keys():
        raise UserError(f"{submission.name}: its search space has no {min(unknown)!r} that could be held at a value")
    return [
        _plan(suite, workload, submission, scale, _SEARCH, trial, {**algorithm.hyperparameters, **point, **scale.fixed})
        for trial, point in enumerate(points, start=1)
    ]


def _rerun(suite: Suite, workload: SuiteWorkload, best: TrialPlan, scale: Scale) -> list[TrialPlan]:
    return [
        _plan(suite, workload, best.submission, scale, _RERUN, trial, dict(best.hyperparameters))
        for trial in range(1, scale.seeds + 1)
    ]


def _plan(
    suite: Suite,
    workload: SuiteWorkload,
    submission: SubmissionId,
    scale: Scale,
    study: int,
    trial: int,
    hyperparameters: dict[str, Any],
) -> TrialPlan:
    horizon = scale.steps(workload)
    period = Period(steps=max(horizon // _EVALUATIONS, 1))
    # The suite's targets and budget mean nothing here; in the plan, a change of theirs would void all records.
    blank = replace(
        workload,
        step_hint=horizon,
        evaluation_period=period,
        validation_target=1.0,
        test_target=None,
        budget=1.0,
    )
    return TrialPlan(
        suite=suite.name,
        workload=blank,
        protocol=suite.protocol,
        submission=submission,
        ruleset="external",
        study=study,
        trial=trial,
        hyperparameters=hyperparameters,
        seed=trial_seed(scale.seed, study, trial),
        budget=math.inf,
        max_steps=horizon,
        race=False,
    )


def _read(plan: TrialPlan, runs: Path) -> Run:
    record = TrialRecord(runs / plan.folder)
    if record.result is None:
        raise UserError(f"{record.folder}: this run has not ended; run the same command again to go on")
    workload = plan.workload
    rows = record.evaluations if record.result.ended != "failed" else []
    choose = min if workload.direction == "minimize" else max

    def best(split: str) -> float:
        values = [row[f"{split}/{workload.metric}"] for row in rows]
        return choose((value for value in values if math.isfinite(value)), default=math.nan)

    return Run(
        submission=plan.submission.name,
        hyperparameters=dict(plan.hyperparameters),
        validation=best("validation"),
        test=best("test") if workload.eval_examples.test else None,
        submission_time=record.result.submission_time,
    )
