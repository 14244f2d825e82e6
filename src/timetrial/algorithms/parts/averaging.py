"""Training at one point and being evaluated at another: weights are swapped before an evaluation, and swapped back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from timetrial.api import Batch, Hyperparameters, ScheduledGradientDescent, Task

if TYPE_CHECKING:
    _Base = ScheduledGradientDescent
else:
    _Base = object  # a mixin: its place is before the class whose step it wraps


class EvaluatesElsewhere(_Base):
    """Mixin for `ScheduledGradientDescent`: `prepare_for_eval` shows the model at `evaluation_point`.

    The next `step` first puts back what was there before, bit for bit. The checkpoint of a trial is taken between the
    two, so what is to be put back belongs to the algorithm's state; it takes memory only then: one number for each
    swapped.
    """

    _kept: list[Tensor]
    """What the swapped tensors held before an evaluation; empty while training."""

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build everything; nothing is swapped yet."""
        self._kept = []
        super().setup(task, hyperparameters)

    @abstractmethod
    def evaluation_point(self, task: Task) -> Sequence[Tensor] | None:
        """Return what to evaluate with, one value for each of `swapped_tensors`; None: the model as it is."""

    def swapped_tensors(self, task: Task) -> list[Tensor]:
        """Return the model's tensors that an evaluation sees other values of: by default, all parameters."""
        return list(task.model.parameters())

    @torch.no_grad()
    def prepare_for_eval(self, task: Task) -> None:
        """Put the evaluation point into the model, and keep what is there."""
        point = None if self._kept else self.evaluation_point(task)
        if point is not None:
            tensors = [tensor.detach() for tensor in self.swapped_tensors(task)]
            self._kept = [tensor.clone() for tensor in tensors]
            torch._foreach_copy_(tensors, list(point))

    @torch.no_grad()
    def back_to_training(self, task: Task) -> None:
        """Put back what `prepare_for_eval` kept, if it did."""
        if self._kept:
            torch._foreach_copy_([tensor.detach() for tensor in self.swapped_tensors(task)], self._kept)
            self._kept = []

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step from where training was."""
        self.back_to_training(task)
        super().step(task, batch)


def batch_norm_statistics(model: nn.Module) -> list[Tensor]:
    """Return the running means and variances of a model's batch norms, in the model's order.

    They belong to the weights that the training passes used: whoever averages weights may average these as well
    (spec: algorithms/common.md, 10).
    """
    found: list[Tensor] = []
    for module in model.modules():
        for name in ("running_mean", "running_var"):
            statistic = getattr(module, name, None)
            if isinstance(statistic, Tensor):
                found.append(statistic)
    return found
