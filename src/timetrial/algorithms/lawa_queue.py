"""LAWA, queue: NAdamW evaluated at the mean of its latest weights.

"Latest weight averaging", Kaddour 2022 (arXiv 2209.14981) and Sanyal et al. 2023 (arXiv 2306.03241), as entered in
AlgoPerf on top of NAdamW (spec: algorithms/lawa.md). Training is NAdamW's. After `start_factor` of the step hint h,
every ceil(`period_factor` h) steps a copy of the weights goes into a queue of 10, the oldest one out; an evaluation
sees the queue's mean.

Averaged beside the weights, as the entry's were not: the running statistics of batch norm, which otherwise belong to
other weights (spec: algorithms/common.md, 10). The entry also looked at the mean in a part of the time between two
evaluations only; here that is when an evaluation is due.

Memory: NAdamW's 2 numbers a parameter, and 10 for the queue. Extra work: a copy now and then, the mean before an
evaluation.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from timetrial.algorithms.nadamw import NAdamW
from timetrial.algorithms.parts.averaging import EvaluatesElsewhere, batch_norm_statistics
from timetrial.algorithms.schedule_free_adamw import points
from timetrial.api import Batch, Hyperparameters, Task

NADAMW_POINTS = (
    {
        "dropout_rate": 0.0,
        "label_smoothing": 0.1,
        "learning_rate": 1.308209823469072e-3,
        "one_minus_beta1": 0.02686663061,
        "beta2": 0.9981232922116359,
        "weight_decay": 0.16375311233774334,
        "warmup_factor": 0.1,
    },
    {
        "dropout_rate": 0.0,
        "label_smoothing": 0.2,
        "learning_rate": 8.445074561975979e-4,
        "one_minus_beta1": 0.11042418465,
        "beta2": 0.9978504782314613,
        "weight_decay": 0.08135402759553023,
        "warmup_factor": 0.05,
    },
    {
        "dropout_rate": 0.0,
        "label_smoothing": 0.0,
        "learning_rate": 1.308209823469072e-3,
        "one_minus_beta1": 0.02686663061,
        "beta2": 0.9981232922116359,
        "weight_decay": 0.16375311233774334,
        "warmup_factor": 0.1,
    },
    {
        "dropout_rate": 0.0,
        "label_smoothing": 0.0,
        "learning_rate": 4.958460849689891e-3,
        "one_minus_beta1": 0.13625575743,
        "beta2": 0.6291854735396584,
        "weight_decay": 0.1147386261512052,
        "warmup_factor": 0.02,
    },
    {
        "dropout_rate": 0.1,
        "label_smoothing": 0.0,
        "learning_rate": 1.7486387539278373e-3,
        "one_minus_beta1": 0.06733926164,
        "beta2": 0.9955159689799007,
        "weight_decay": 0.08121616522670176,
        "warmup_factor": 0.02,
    },
)
"""The five published points of the NAdamW baseline (spec: algorithms/nadamw_and_adam_family.md, 2)."""


class AveragedNAdamW(EvaluatesElsewhere, NAdamW):
    """NAdamW that looks at its weights every so many steps, and is evaluated at an average of what it saw."""

    def swapped_tensors(self, task: Task) -> list[Tensor]:
        """Return the parameters and batch norm's running statistics."""
        return [*super().swapped_tensors(task), *batch_norm_statistics(task.model)]

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step; then look, if it is time to."""
        super().step(task, batch)
        done = task.step + 1
        start = int(self._tuned.start_factor * task.step_hint)
        period = max(math.ceil(self._tuned.period_factor * task.step_hint), 1)
        if done >= start and (done - start) % period == 0:
            self.look([tensor.detach() for tensor in self.swapped_tensors(task)])

    def look(self, tensors: list[Tensor]) -> None:
        """Add the tensors' present values to the average."""
        raise NotImplementedError


class LAWAQueue(AveragedNAdamW):
    """NAdamW on all parameters, evaluated at the mean of a queue."""

    search_space = points(*NADAMW_POINTS)
    # The NAdamW baseline's self-tuning point; the queue's constants as entered.
    hyperparameters = {
        **NAdamW.hyperparameters,
        "start_factor": 0.02,
        "period_factor": 0.002,
        "queue_length": 10,
    }

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer and an empty queue."""
        super().setup(task, hyperparameters)
        self.queue: deque[list[Tensor]] = deque(maxlen=hyperparameters.queue_length)

    def look(self, tensors: list[Tensor]) -> None:
        """Queue a copy; the oldest one's memory is used again."""
        if len(self.queue) == self.queue.maxlen:
            copies = self.queue.popleft()
            torch._foreach_copy_(copies, tensors)
        else:
            copies = [tensor.clone() for tensor in tensors]
        self.queue.append(copies)

    def evaluation_point(self, task: Task) -> Sequence[Tensor] | None:
        """Return the queue's mean; None before anything is in it."""
        if not self.queue:
            return None
        total = [tensor.clone() for tensor in self.queue[0]]
        for copies in list(self.queue)[1:]:
            torch._foreach_add_(total, copies)
        torch._foreach_div_(total, len(self.queue))
        return total
