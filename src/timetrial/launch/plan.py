"""Which trials a run needs, and which of them are already on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from timetrial.algorithms.registry import load_submission
from timetrial.api import SearchSpace
from timetrial.errors import UserError
from timetrial.records.files import flatten
from timetrial.records.plan import PLAN, SubmissionId, TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Ruleset, RulesetName, Suite, SuiteWorkload
from timetrial.tuning.sampling import draw_points
from timetrial.workloads.registry import check_runnable, workload_of


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a user asks for: a suite, or some of it, and the submissions that race on it."""

    suite: Suite
    workloads: Sequence[SuiteWorkload]
    submissions: Sequence[SubmissionId]
    ruleset: RulesetName
    studies: int | None = None
    """Fewer or more studies than the ruleset's."""
    trials: int | None = None
    """Fewer or more trials a study than the ruleset's."""
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    search_space: SearchSpace | None = None
    """In place of the submission's own."""


def plan_run(request: RunRequest) -> list[TrialPlan]:
    """Return the trials of a run, ordered so that every submission has some results early. Raises UserError."""
    _check_names(request)
    rules = request.suite.ruleset(request.ruleset)
    plans = [
        plan
        for submission in request.submissions
        for workload in request.workloads
        for plan in _plan_pair(request, rules, submission, workload)
    ]
    return sorted(plans, key=lambda plan: (plan.study, plan.trial))


def trial_seed(seed: int, study: int, trial: int) -> int:
    """Return the seed of a trial: the same for every submission and workload, so that they can be paired."""
    return int(np.random.SeedSequence(seed, spawn_key=(study, trial)).generate_state(1)[0])


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """The trials of a run by what is on record of them."""

    todo: list[TrialPlan]
    done: list[TrialPlan]
    failed: list[TrialPlan]
    """Ended, but as failures: they are only run again when asked to."""
    different: list[tuple[TrialPlan, str]]
    """On record, but of another plan, with the first thing that differs."""


def sort_by_record(plans: Sequence[TrialPlan], runs: Path) -> Sorted:
    """Look every trial up in the runs folder. Raises FileError for a record that cannot be read."""
    found = Sorted(todo=[], done=[], failed=[], different=[])
    identities = cache(lambda entry: workload_of(entry).identities())
    for plan in plans:
        record = TrialRecord(runs / plan.folder)
        if record.plan is None:
            found.todo.append(plan)
        elif record.plan != plan:
            found.different.append((plan, _first_difference(record.plan, plan)))
        elif change := record.change(identities(plan.workload)):
            found.different.append((plan, change))
        elif record.result is None:
            found.todo.append(plan)
        elif record.result.ended == "failed":
            found.failed.append(plan)
        else:
            found.done.append(plan)
    return found


def _plan_pair(
    request: RunRequest, rules: Ruleset, submission: SubmissionId, workload: SuiteWorkload
) -> list[TrialPlan]:
    """The trials of one submission on one workload."""
    algorithm = load_submission(submission.location)
    space = None
    if request.ruleset == "external":
        space = request.search_space or algorithm.search_space
    points = draw_points(
        space,
        sampler=request.suite.protocol.sampler,
        studies=request.studies or rules.studies,
        trials=request.trials or rules.trials,
        seed=request.seed,
    )
    return [
        TrialPlan(
            suite=request.suite.name,
            workload=workload,
            protocol=request.suite.protocol,
            submission=submission,
            ruleset=request.ruleset,
            study=study,
            trial=trial,
            hyperparameters={**algorithm.hyperparameters, **point},
            seed=trial_seed(request.seed, study, trial),
            budget=rules.seconds(workload),
            max_steps=rules.steps(workload),
            device=request.device,
        )
        for study, study_points in enumerate(points)
        for trial, point in enumerate(study_points, start=1)
    ]


def _check_names(request: RunRequest) -> None:
    names = [submission.name for submission in request.submissions]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two submissions are called {name!r}: rename a file, since records are kept by name")
    for workload in request.workloads:
        check_runnable(workload)


def _first_difference(found: TrialPlan, wanted: TrialPlan) -> str:
    pairs = (flatten(PLAN.dump_python(plan, mode="json")) for plan in (found, wanted))
    old, new = pairs
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
