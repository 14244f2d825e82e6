"""LAWA, queue: NAdamW evaluated at the mean of its latest weights.

"Latest weight averaging", Kaddour 2022 (arXiv 2209.14981) and Sanyal et al. 2023 (arXiv 2306.03241), as entered in
AlgoPerf on top of NAdamW (spec: algorithms/lawa.md). Training is NAdamW's. After `start_factor` of the step hint h,
every ceil(`period_factor` h) steps a copy of the weights goes into a queue of 10, the oldest one out; an evaluation
sees the queue's mean.

As in the entry, parameters alone are averaged: batch norm's running statistics stay those of the latest weights. It
looked at the mean in a part of the time between two evaluations only; here that is when an evaluation is due.

Memory: NAdamW's 2 numbers a parameter, and 10 for the queue. Extra work: a copy now and then, the mean before an
evaluation.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from timetrial.algorithms.nadamw import NAdamW
from timetrial.algorithms.nadamw_baseline import FIVE_POINTS
from timetrial.algorithms.parts.averaging import EvaluatesElsewhere
from timetrial.api import Batch, Hyperparameters, SearchSpace, Task


class AveragedNAdamW(EvaluatesElsewhere, NAdamW):
    """NAdamW that looks at its weights every so many steps, and is evaluated at an average of what it saw."""

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step; then look, if it is time to."""
        super().step(task, batch)
        done = task.step + 1
        start = int(self._tuned.start_factor * task.step_hint)
        period = max(math.ceil(self._tuned.period_factor * task.step_hint), 1)
        if done >= start and (done - start) % period == 0:
            self.look([tensor.detach() for tensor in self.swapped_tensors(task)])

    @abstractmethod
    def look(self, tensors: list[Tensor]) -> None:
        """Add the tensors' present values to the average."""


class LAWAQueue(AveragedNAdamW):
    """NAdamW on all parameters, evaluated at the mean of a queue."""

    search_space = SearchSpace.from_points(FIVE_POINTS)
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
