"""The step that most training algorithms share: mean loss, gradient, one update at a scheduled rate."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from timetrial.api.algorithm import TrainingAlgorithm
from timetrial.api.schedules import warmup_cosine
from timetrial.api.search_space import Hyperparameters, SearchSpace

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from timetrial.api.task import Batch, Task


class ScheduledGradientDescent(TrainingAlgorithm, ABC):
    """One optimizer over all parameters, its learning rates a function of the step.

    Hyperparameters it reads, all optional: `label_smoothing` (0 if missing), `dropout_rate` (the workload's own),
    `grad_clip` (a bound on the norm of the whole gradient; none), `warmup_factor` (the warm-up's share of the step
    hint; 0) and `horizon_factor` (the schedule's horizon as a share of the step hint; 1).
    """

    optimizer: Optimizer
    _tuned: Hyperparameters

    @abstractmethod
    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> Optimizer:
        """Return the optimizer over `task.model.parameters()`; each group's `lr` is what the schedule multiplies."""

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rates at the zero-based `step`: by default up, and down a cosine."""
        return warmup_cosine(
            step, warmup_steps=warmup_steps(task, hyperparameters), total_steps=horizon(task, hyperparameters)
        )

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer, and note the rates that the schedule multiplies."""
        self._tuned = hyperparameters
        self.optimizer = self.build_optimizer(task, hyperparameters)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step on the mean loss of the batch."""
        self.set_rates(self.schedule(task.step, task, self._tuned))
        self.optimizer.zero_grad()
        self.backward(task, batch)
        self.clip(task)
        self.optimizer.step()

    def set_rates(self, multiplier: float) -> None:
        """Set each group's learning rate to its base rate times the multiplier."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier

    def backward(self, task: Task, batch: Batch, *, update_batch_norm: bool = True) -> None:
        """Add the gradient of the batch's mean loss, with the tuned smoothing and dropout."""
        task.backward(
            batch,
            label_smoothing=self._tuned.get("label_smoothing", 0.0),
            dropout=self._tuned.get("dropout_rate"),
            update_batch_norm=update_batch_norm,
        )

    def clip(self, task: Task) -> None:
        """Scale the whole gradient down to the norm `grad_clip` where it is longer (spec: algorithms/common.md, 6)."""
        if self._tuned.get("grad_clip") is not None:
            from torch.nn.utils import clip_grad_norm_  # here, so that the api loads without PyTorch

            clip_grad_norm_(task.model.parameters(), self._tuned.grad_clip)


def horizon(task: Task, hyperparameters: Hyperparameters) -> int:
    """Return the schedule's number of steps: the step hint, or the share of it that `horizon_factor` says."""
    return int(hyperparameters.get("horizon_factor", 1.0) * task.step_hint)


def warmup_steps(task: Task, hyperparameters: Hyperparameters) -> int:
    """Return the benchmark's number of warm-up steps, a share of the step hint, rounded down."""
    return int(hyperparameters.get("warmup_factor", 0.0) * task.step_hint)


_OWN = ("label_smoothing", "dropout_rate", "grad_clip", "warmup_factor", "horizon_factor")
"""Hyperparameters that are the step's, not the optimizer's."""

Schedule = Callable[[int, "Task", Hyperparameters], float]


def from_optimizer(
    factory: Callable[..., Optimizer],
    *,
    hyperparameters: Mapping[str, Any],
    search_space: SearchSpace | None = None,
    schedule: Schedule | None = None,
) -> type[ScheduledGradientDescent]:
    """Make a submission of a `torch.optim.Optimizer` class, or of any function that builds one.

    The optimizer is built as `factory(parameters, **point)`, where `point` is what is tuned, less the hyperparameters
    that `ScheduledGradientDescent` reads itself. `schedule(step, task, hyperparameters)` gives the multiplier of the
    learning rate; by default it rises over `warmup_factor` and falls along a cosine. As a whole submission file:

        RAdam = from_optimizer(
            torch.optim.RAdam,
            hyperparameters={"lr": 1e-3, "weight_decay": 0.1, "warmup_factor": 0.05},
            search_space=SearchSpace(lr=log_uniform(1e-4, 1e-2)),
        )
    """

    def build_optimizer(self: ScheduledGradientDescent, task: Task, hyperparameters: Hyperparameters) -> Optimizer:
        point = {name: value for name, value in hyperparameters.items() if name not in _OWN}
        return factory(task.model.parameters(), **point)

    content: dict[str, Any] = {
        "__doc__": f"{getattr(factory, '__name__', 'An optimizer')}, by `timetrial.api.from_optimizer`.",
        # The caller's, so that the class counts as the submission of the file that made it.
        "__module__": sys._getframe(1).f_globals.get("__name__", __name__),
        "search_space": search_space,
        "hyperparameters": dict(hyperparameters),
        "build_optimizer": build_optimizer,
    }
    if schedule is not None:
        content["schedule"] = lambda self, step, task, hyperparameters: schedule(step, task, hyperparameters)
    return type(getattr(factory, "__name__", "FromOptimizer"), (ScheduledGradientDescent,), content)
