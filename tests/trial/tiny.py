"""Algorithms and plans for tests of the trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from timetrial.algorithms.registry import identify
from timetrial.api import Batch, Hyperparameters, Task, TrainingAlgorithm, TrainingComplete
from timetrial.records.plan import TrialPlan
from timetrial.suite import Suite

HERE = Path(__file__)


def plan_of(suite: Suite, name: str, algorithm: str, **changes: Any) -> TrialPlan:
    """A trial of one of this file's algorithms."""
    entry = suite.workload(name)
    settings: dict[str, Any] = {
        "suite": suite.name,
        "workload": entry,
        "protocol": suite.protocol,
        "submission": identify(f"{HERE}:{algorithm}"),
        "ruleset": "self",
        "study": 0,
        "trial": 1,
        "hyperparameters": {"learning_rate": 0.05},
        "seed": 7,
        "budget": entry.budget,
    }
    return TrialPlan(**{**settings, **changes})


class Sgd(TrainingAlgorithm):
    """Plain SGD."""

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        self.optimizer = torch.optim.SGD(task.model.parameters(), lr=hyperparameters.learning_rate, momentum=0.9)

    def step(self, task: Task, batch: Batch) -> None:
        self.optimizer.zero_grad()
        task.loss(batch, task.forward(batch)).mean.backward()
        self.optimizer.step()


class Restless(Sgd):
    """SGD with everything that resuming must restore: averages, four generators, skipped batches."""

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        super().setup(task, hyperparameters)
        self.average = [weight.detach().clone() for weight in task.model.parameters()]
        self.noise = 0.0

    def select_batch(self, task: Task, batches: Any) -> Batch:
        if np.random.random() < 0.3:
            next(batches)
        return next(batches)

    def step(self, task: Task, batch: Batch) -> None:
        super().step(task, batch)
        self.noise += float(torch.rand(1)) + float(torch.rand(1, generator=task.generator))
        with torch.no_grad():
            for weight, average in zip(task.model.parameters(), self.average, strict=True):
                weight.add_(torch.randn(weight.shape, generator=task.generator), alpha=1e-4 * self.noise)
                average.lerp_(weight, 0.1)

    def prepare_for_eval(self, task: Task) -> None:
        with torch.no_grad():
            for weight, average in zip(task.model.parameters(), self.average, strict=True):
                weight.copy_(average)


class Quitter(Sgd):
    """Says that it is done in its 25th step."""

    def step(self, task: Task, batch: Batch) -> None:
        super().step(task, batch)
        if task.step == 24:
            raise TrainingComplete


class Crasher(Sgd):
    """Raises in its 15th step."""

    def step(self, task: Task, batch: Batch) -> None:
        if task.step == 14:
            raise ValueError("the fifteenth step is\nunlucky")
        super().step(task, batch)


class Diverger(Sgd):
    """Makes the weights NaN in its fifth step."""

    def step(self, task: Task, batch: Batch) -> None:
        super().step(task, batch)
        if task.step == 4:
            with torch.no_grad():
                next(task.model.parameters()).fill_(float("nan"))


class Cheat(Sgd):
    """Lowers the precision that the suite fixes."""

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        super().setup(task, hyperparameters)
        torch.set_float32_matmul_precision("medium")


class SmallBatches(Sgd):
    """Chooses a smaller batch than the suite's 32."""

    def batch_size(self, task: Task) -> int:
        return 12


class NoBatches(Sgd):
    """Chooses a batch size that is none."""

    def batch_size(self, task: Task) -> int:
        return 0


class Spy(Sgd):
    """Writes down what it sees."""

    seen: list[dict[str, Any]] = []

    def step(self, task: Task, batch: Batch) -> None:
        self.seen.append(
            {
                "step": task.step,
                "elapsed": task.elapsed,
                "fraction": task.fraction_of_budget,
                "step_limit": task.step_limit,
                "evaluations": len(task.evaluations),
                "training": task.model.training,
                "subnormal": float(torch.tensor(1e-38) / 10),
            }
        )
        task.step = 10**6  # type: ignore[misc]  # changing the window changes nothing
        super().step(task, batch)
