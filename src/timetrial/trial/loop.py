"""The training loop: one trial from its first step to its end (spec: protocol.md, 2 and 3).

On the clock: data selection and waiting for data, the training step, preparing for an evaluation. Off it:
evaluations, checkpoints, logging. The budget is looked at after every step; an evaluation past it would not
count, so there is none. Behind the last step that a suite grants there is one, if the seconds allow it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from timetrial.api import Batch, TrainingAlgorithm, TrainingComplete
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.trial import checkpoint
from timetrial.trial.clock import ALGORITHM, LOOP, Clock, Kind
from timetrial.trial.evaluation import evaluate
from timetrial.trial.machine import synchronize
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import BatchStream
from timetrial.trial.task import TrialTask
from timetrial.workloads.base import Data, HostBatch, TorchWorkload

Evaluation = dict[str, float]


@dataclass(kw_only=True)
class Trial:
    """A trial in progress: what it is made of, and how far it has come."""

    plan: TrialPlan
    record: TrialRecord
    workload: TorchWorkload
    data: Data
    model: nn.Module
    algorithm: TrainingAlgorithm
    task: TrialTask
    stream: BatchStream
    clock: Clock
    seeds: Seeds
    device: torch.device
    step_limit: float
    """Steps after which the trial is over: kept here, since the task and the stream are in the algorithm's hands."""
    report: Callable[[Evaluation], None]
    """Told of each evaluation after it is recorded."""
    check_batch: Callable[[HostBatch], None] | None = None
    """Checks the batches of this process's first evaluation."""

    step: int = 0
    resumes: int = 0
    complete: bool = False
    """The algorithm said so, or the last step granted was made."""
    over: bool = False
    evaluations: list[Evaluation] = field(default_factory=list)

    pause_step: float = 1
    """Training pauses after this step, at first the very first one, ..."""
    pause_ns: float = math.inf
    """... or once so many nanoseconds of submission time are used, whichever comes first."""

    def train(self) -> None:
        """Go on training until the trial is over.

        What a step needs is looked up beforehand: behind a training step the processor's caches hold none of it,
        and each look-up then costs a microsecond of submission time (benchmarks/harness_overhead.py).
        """
        switch, task, step, draw = self.clock.switch, self.task, self.algorithm.step, self.batches()
        while not self.over:
            switch(ALGORITHM)
            try:
                # Nothing here holds on to the batch, so that freeing it is not taken for the loop's own work.
                step(task, draw())
            except TrainingComplete:
                self.complete = True
            submission_ns = switch(LOOP)
            task.step = self.step = self.step + 1
            if self.complete or self.step >= self.pause_step or submission_ns >= self.pause_ns:
                self.pause()
        switch(Kind.HARNESS)

    def batches(self) -> Callable[[], Batch]:
        """Return what draws the next batch: the stream itself, unless the algorithm selects its data."""
        if type(self.algorithm).select_batch is TrainingAlgorithm.select_batch:
            return self.stream.__next__
        return partial(self.algorithm.select_batch, self.task, self.stream)

    def pause(self) -> None:
        """Evaluate where it is time to, and see whether the trial is over and when to pause next."""
        self.complete = self.complete or self.step >= self.step_limit
        if self.evaluation_is_due():
            self.prepare_for_evaluation()
            if not self.budget_is_spent():
                self.evaluate()
        self.look_ahead()

    def look_ahead(self) -> None:
        """See whether the trial is over, and if not, where to pause next."""
        self.over = self.complete or self.budget_is_spent() or self.targets_are_reached() or self.is_lost()
        period = self.plan.workload.evaluation_period
        self.pause_step = self.step_limit
        pause_time = self.plan.budget
        if period.steps is not None:
            self.pause_step = min(self.pause_step, (self.step // period.steps + 1) * period.steps)
        elif period.seconds is not None and self.evaluations:
            pause_time = min(pause_time, self.evaluations[-1]["submission_time"] + period.seconds)
        self.pause_ns = 1e9 * pause_time

    def evaluation_is_due(self) -> bool:
        """Whether it is time to evaluate: after the first step, at the end, and whenever the period has passed."""
        if self.complete or not self.evaluations:
            return True
        period = self.plan.workload.evaluation_period
        if period.steps is not None:
            return self.step % period.steps == 0
        since_last = self.clock.submission_at_switch - self.evaluations[-1]["submission_time"]
        return period.seconds is not None and since_last >= period.seconds

    def budget_is_spent(self) -> bool:
        """Whether the submission time is used up, as of the clock's last switch."""
        return self.clock.submission_at_switch >= self.plan.budget

    def targets_are_reached(self) -> bool:
        """Whether the targets that end the trial were reached, not necessarily at the same evaluation."""
        if not self.plan.race or self.time_to("validation") is None:
            return False
        needs_test = self.plan.protocol.stop_when == "both_targets" and self.plan.workload.test_target is not None
        return not needs_test or self.time_to("test") is not None

    def is_lost(self) -> bool:
        """Whether a run that is no race has come to NaN, where it will stay; a race's budget is its own to spend."""
        if self.plan.race or not self.evaluations:
            return False
        return any(math.isnan(value) for name, value in self.evaluations[-1].items() if name.startswith("validation/"))

    def time_to(self, split: str) -> float | None:
        """Return the submission time of the first evaluation that reached the split's target, if any did."""
        workload = self.plan.workload
        target = workload.validation_target if split == "validation" else workload.test_target
        for evaluation in self.evaluations:
            if workload.reached(evaluation[f"{split}/{workload.metric}"], target):
                return evaluation["submission_time"]
        return None

    def prepare_for_evaluation(self) -> None:
        """Let the algorithm get its model ready, on the clock, and wait for the accelerator to be done."""
        self.clock.switch(Kind.ALGORITHM)
        self.algorithm.prepare_for_eval(self.task)
        synchronize(self.device)
        self.clock.switch(Kind.HARNESS)

    def evaluate(self) -> None:
        """Evaluate off the clock, then commit: checkpoint, log, report, in this order.

        The checkpoint holds all evaluations, so that each one in the log has a checkpoint it can be resumed from.
        """
        submission_time = self.clock.submission_at_switch
        self.clock.switch(Kind.EVALUATION)
        metrics = evaluate(
            self.workload,
            self.data,
            self.model,
            batch_size=self.plan.workload.eval_batch_size,
            device=self.device,
            seeds=self.seeds,
            check=self.check_batch,
        )
        self.check_batch = None
        self.clock.switch(Kind.CHECKPOINT)
        self.evaluations.append(
            {
                "step": self.step,
                "examples": self.stream.examples,
                "submission_time": submission_time,
                "evaluation_time": self.clock.spent(Kind.EVALUATION),
                "total_time": self.clock.total,
                **metrics,
            }
        )
        self.task.evaluations = tuple(self.evaluations)
        self.save()
        self.clock.switch(Kind.LOGGING)
        self.record.append_evaluation(self.evaluations[-1])
        self.report(self.evaluations[-1])

    def save(self) -> None:
        """Write the checkpoint from which the trial can go on exactly."""
        state: dict[str, Any] = {
            "step": self.step,
            "complete": self.complete,
            "resumes": self.resumes,
            "evaluations": self.evaluations,
            "position": self.stream.position,
            "clock": self.clock.state_dict(),
            **checkpoint.training_state(self.model, self.algorithm, self.task),
        }
        checkpoint.save(self.record.checkpoint_file, state)

    def resume(self) -> None:
        """Go back to the last checkpoint, if there is one, and make the log agree with it."""
        state = checkpoint.load(self.record.checkpoint_file, self.device)
        if state is None:
            self.record.restore_evaluations([])
            return
        self.step = self.task.step = state["step"]
        self.complete = state["complete"]
        self.resumes = state["resumes"] + 1
        self.evaluations = state["evaluations"]
        self.task.evaluations = tuple(self.evaluations)
        self.stream.position = state["position"]
        checkpoint.restore_training(state, self.model, self.algorithm, self.task)
        self.record.restore_evaluations(self.evaluations)
        checkpoint.restore_generators(state)
        self.clock.load_state_dict(state["clock"])
        self.look_ahead()
