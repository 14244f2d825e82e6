"""The step that most training algorithms share: mean loss, gradient, one update at a scheduled rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from timetrial.api import Batch, Hyperparameters, Task, TrainingAlgorithm

if TYPE_CHECKING:
    from torch.optim import Optimizer


class ScheduledGradientDescent(TrainingAlgorithm, ABC):
    """One optimizer over all parameters, its learning rate a function of the step.

    Hyperparameters it reads: `learning_rate`, `label_smoothing`, `dropout_rate`. There is no gradient clipping, as
    in the benchmark's baselines with their published search spaces (spec: algorithms/common.md, 6).
    """

    optimizer: Optimizer
    _tuned: Hyperparameters

    @abstractmethod
    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> Optimizer:
        """Return the optimizer over `task.model.parameters()`."""

    @abstractmethod
    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rate at the zero-based `step`."""

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer."""
        self._tuned = hyperparameters
        self.optimizer = self.build_optimizer(task, hyperparameters)

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step on the mean loss of the batch."""
        rate = self._tuned.learning_rate * self.schedule(task.step, task, self._tuned)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        task.backward(batch, label_smoothing=self._tuned.label_smoothing, dropout=self._tuned.dropout_rate)
        self.optimizer.step()


def warmup_steps(task: Task, hyperparameters: Hyperparameters) -> int:
    """Return the benchmark's number of warm-up steps, a fraction of the step hint, rounded down."""
    return int(hyperparameters.warmup_factor * task.step_hint)
