"""Running ONE trial and writing ONE record: assembled, trained, closed, whatever happens in between."""

from __future__ import annotations

import math
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from timetrial.algorithms.registry import load_submission
from timetrial.api import Hyperparameters
from timetrial.compat.submission import PublicSubmission
from timetrial.errors import UserError
from timetrial.records.files import RecordWriteError
from timetrial.records.lock import exclusive
from timetrial.records.plan import TrialPlan, TrialResult
from timetrial.records.trial_record import TrialRecord
from timetrial.trial import machine
from timetrial.trial.clock import Clock, Kind
from timetrial.trial.loop import Evaluation, Trial
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import BatchStream
from timetrial.trial.task import TrialTask
from timetrial.workloads.base import Data
from timetrial.workloads.registry import workload_of
from timetrial.workloads.sources import check_division


class ChangedTrialError(UserError):
    """An interrupted trial that was begun on other data, or with another model."""


def run_trial(plan: TrialPlan, runs: Path, report: Callable[[Evaluation], None]) -> TrialResult:
    """Run a trial, or go on with one that was interrupted; return how it ended, as its record says.

    What a submission raises ends its trial as failed. Raises RecordWriteError, LockedError and ChangedTrialError: then
    the trial has not ended, and the same call goes on with it.
    """
    started = Started()
    record = TrialRecord(runs / plan.folder)
    try:
        record.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordWriteError(record.folder, error) from error
    with exclusive(record.folder / "lock"):
        if record.result is not None and record.plan == plan:
            return record.result
        clock = Clock(setup_on_clock=plan.protocol.setup_on_clock)
        trial = None
        try:
            trial = assemble(plan, record, clock, report)
            trial.train()
            machine.check_unchanged(plan)
            result = _result_of(trial, started)
        except (RecordWriteError, ChangedTrialError):
            raise
        except (Exception, SystemExit) as error:
            clock.switch(Kind.HARNESS)
            result = _failure(error, trial, clock, started)
        record.finish(result)
        return result


def assemble(plan: TrialPlan, record: TrialRecord, clock: Clock, report: Callable[[Evaluation], None]) -> Trial:
    """Build everything a trial is made of, and resume it where a checkpoint is found."""
    device = machine.make_ready(plan)
    workload = workload_of(plan.workload)
    identities = workload.identities()
    _check_unchanged(record, identities)
    record.begin(plan, {**machine.describe(device), **identities})
    seeds = Seeds(plan.seed)
    data = workload.data()
    _check_sizes(plan, data)
    half = workload.torch()
    seeds.seed_frameworks("init")
    model = half.build_model().to(device)
    seeds.seed_frameworks("algorithm")
    generator = seeds.torch_generator("generator")
    task = TrialTask(plan, half, workload.loss_type, model, clock, generator, device)
    algorithm = load_submission(plan.submission.location)()
    if isinstance(algorithm, PublicSubmission):
        algorithm.bind(plan, half, workload.loss_type, record.folder / "measurements.jsonl")
    resuming = record.checkpoint_file.exists()
    clock.switch(Kind.HARNESS if resuming else Kind.SETUP)
    batch_size = algorithm.batch_size(task)
    check_division(batch_size)
    step_limit = task.step_limit = plan.step_limit(batch_size)
    algorithm.setup(task, Hyperparameters(plan.hyperparameters))
    machine.synchronize(device)
    clock.switch(Kind.HARNESS)
    source = data.train_source(seeds.stream("data"), batch_size)
    workload.check_batch(source.batch(0))  # off the clock; the stream will have the same batch again
    trial = Trial(
        plan=plan,
        record=record,
        workload=half,
        data=data,
        model=model,
        algorithm=algorithm,
        task=task,
        stream=BatchStream(source, batch_size, device, clock),
        clock=clock,
        seeds=seeds,
        device=device,
        step_limit=step_limit,
        report=report,
        check_batch=workload.check_batch,
    )
    trial.resume()
    return trial


@dataclass(frozen=True)
class Started:
    """When this process took the trial up."""

    cpu_time: float = field(default_factory=time.process_time)
    load: float = field(default_factory=lambda: os.getloadavg()[0])


def _check_unchanged(record: TrialRecord, identities: Mapping[str, str]) -> None:
    """What was begun on one dataset, with one model, goes on with those."""
    change = record.change(identities)
    if change and record.checkpoint_file.exists():
        raise ChangedTrialError(
            f"{record.folder}: begun otherwise ({change}): --overwrite begins anew, another --runs-dir keeps both"
        )


def _check_sizes(plan: TrialPlan, data: Data) -> None:
    """The suite fixes how large the splits are: other data would be another benchmark."""
    sizes = plan.workload.eval_examples
    for split, found, fixed in (
        ("train", data.train_examples, plan.workload.train_examples),
        ("evaluation train", data.eval_examples("train"), sizes.train),
        ("validation", data.eval_examples("validation"), sizes.validation),
        ("test", data.eval_examples("test"), sizes.test),
    ):
        if found != fixed:
            raise UserError(
                f"{plan.workload.name}: the suite {plan.suite} fixes {fixed} {split} examples, found {found}"
            )


def _result_of(trial: Trial, started: Started) -> TrialResult:
    time_to_target = trial.time_to("validation") if trial.plan.race else None
    workload = trial.plan.workload
    if time_to_target is not None:
        ended, reason = "target_reached", f"reached {workload.metric} {workload.validation_target:g}"
    elif trial.budget_is_spent():
        ended, reason = "budget_spent", f"spent its {trial.plan.budget:g} s without reaching the target"
    elif trial.plan.race and trial.step >= trial.step_limit:
        ended, reason = "budget_spent", f"made its {trial.step} steps without reaching the target"
    else:
        ended, reason = "training_complete", f"complete after {trial.step} steps"
    if time_to_target is None:
        reason = _divergence(trial) + reason
    return _close(trial.clock, started, trial, ended=ended, reason=reason, time_to_target=time_to_target)


def _divergence(trial: Trial) -> str:
    """Say so where the last evaluation holds a number that is none; the algorithm was free to recover from it."""
    last = trial.evaluations[-1] if trial.evaluations else {}
    names = [name for name, value in last.items() if name.startswith("validation/") and not math.isfinite(value)]
    return f"diverged ({names[0]} is {last[names[0]]}); " if names else ""


def _failure(error: BaseException, trial: Trial | None, clock: Clock, started: Started) -> TrialResult:
    """A trial that failed does not count as having reached anything."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    return _close(
        clock,
        started,
        trial,
        ended="failed",
        reason=f"{type(error).__name__}: {first_line}",
        time_to_target=None,
        trace="".join(traceback.format_exception(error)),
    )


def _close(
    clock: Clock,
    started: Started,
    trial: Trial | None,
    *,
    ended: str,
    reason: str,
    time_to_target: float | None,
    trace: str | None = None,
) -> TrialResult:
    steps = trial.step if trial else 0
    asked = trial.algorithm.asked_batch_size if trial and isinstance(trial.algorithm, PublicSubmission) else None
    return TrialResult(
        ended=ended,  # type: ignore[arg-type]  # pydantic checks it
        reason=reason,
        time_to_target=time_to_target,
        steps=steps,
        examples=trial.stream.examples if trial else 0,
        submission_time=clock.submission_at_switch,
        seconds=clock.by_kind(),
        total=clock.total,
        harness_us_per_step=1e6 * clock.spent(Kind.LOOP) / max(steps, 1),
        cpu_time=time.process_time() - started.cpu_time,
        load=(started.load, os.getloadavg()[0]),
        resumes=trial.resumes if trial else 0,
        batch_size=trial.stream.batch_size if trial else None,
        asked_batch_size=asked,
        traceback=trace,
    )
