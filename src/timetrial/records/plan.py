"""What determines a trial, and how it ended: the contents of `trial.json` and `result.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from timetrial.suite import Protocol, RulesetName, SuiteWorkload

FORMAT = 1
"""The newest record format this version reads and the one it writes."""

_STRICT = ConfigDict(extra="forbid")

Number = Annotated[float, BeforeValidator(float)]
"""A float that may have been written as "nan", "inf" or "-inf"."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SubmissionId:
    """Which code a trial ran: its name, where it was found, and the SHA-256 of its files."""

    name: str
    location: str
    sha256: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrialPlan:
    """Everything that determines a trial. Two trials with equal plans are the same trial."""

    suite: str
    workload: SuiteWorkload
    protocol: Protocol
    submission: SubmissionId
    ruleset: RulesetName
    study: int
    trial: int
    hyperparameters: Mapping[str, Any]
    seed: int
    budget: Number
    """Seconds of submission time; infinity where only steps count."""
    max_steps: int | None = None
    """The trial is over after so many steps of the suite's batch size; see `step_limit`."""
    race: bool = True
    """Whether reaching the targets ends the trial; target setting runs on to `max_steps`."""
    device: Literal["cpu", "cuda"] = "cpu"

    def step_limit(self, batch_size: int) -> float:
        """Return the number of steps after which the trial is over; infinity where only seconds count.

        Smaller batches than the suite's make for as many more steps, so that no choice of batch size is granted
        fewer examples than another; larger ones do not make for fewer.
        """
        if self.max_steps is None:
            return math.inf
        return max(self.max_steps, -(-self.max_steps * self.workload.batch_size // batch_size))

    @property
    def folder(self) -> str:
        """The record's place below the runs folder."""
        kind = self.ruleset if self.race else "targets"
        trial = f"study_{self.study}/{self.workload.name}/trial_{self.trial}"
        return f"{self.suite}/{kind}/{self.submission.name}/{trial}"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrialResult:
    """How a trial ended. Times are seconds."""

    ended: Literal["target_reached", "budget_spent", "training_complete", "failed"]
    """`budget_spent`: seconds or steps, as `reason` says. `training_complete`: by the algorithm's own word."""
    reason: str
    """One line for a person."""
    time_to_target: Number | None
    """Submission time of the first evaluation that reached the validation target."""
    steps: int
    examples: int
    submission_time: Number
    seconds: Mapping[str, float]
    """Wall time by kind; the kinds add up to `total`."""
    total: float
    harness_us_per_step: float
    """Microseconds of the harness's own work on the clock, a step."""
    cpu_time: float
    """Processor time of the trial's process, all threads, since it was last (re)started."""
    load: tuple[float, float]
    """The machine's one-minute load average when the trial's process started and ended."""
    resumes: int
    batch_size: int | None = None
    """Examples a training batch; None where the trial failed before it was known."""
    asked_batch_size: int | None = None
    """What a public submission asked for, where a smaller preset capped it."""
    traceback: str | None = None


PLAN = TypeAdapter(TrialPlan)
RESULT = TypeAdapter(TrialResult)
