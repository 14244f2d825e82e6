"""LAWA, EMA: NAdamW evaluated at an exponential moving average of its weights.

Kaddour 2022 (arXiv 2209.14981), as AlgoPerf's entry on top of NAdamW means it (spec: algorithms/lawa.md). Training is
NAdamW's; every ceil(`period_factor` h) steps, h the step hint, a <- b a + (1 - b) w, and an evaluation sees a.

The entry said b = 0.2, but its code rounded that to 0, so that it was evaluated at the latest copy. Its five points
here average as they say. The self-tuning point, not published, averages at every step with b up to 0.999, rising as
(1 + t) / (10 + t) at the t-th look so that the first weights are soon forgotten; of the points' b that only touches
the first two looks. As in the entry, parameters alone are averaged.

Memory: NAdamW's 2 numbers a parameter, and 1 for the average. Extra work: one pass over the weights a look.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from timetrial.algorithms.lawa_queue import AveragedNAdamW
from timetrial.algorithms.nadamw import NAdamW
from timetrial.algorithms.nadamw_baseline import FIVE_POINTS
from timetrial.api import Hyperparameters, SearchSpace, Task


class LAWAEMA(AveragedNAdamW):
    """NAdamW on all parameters, evaluated at a moving average."""

    search_space = SearchSpace.from_points(FIVE_POINTS, average_beta=0.2, period_factor=0.005)
    hyperparameters = {**NAdamW.hyperparameters, "start_factor": 0.0, "period_factor": 0.0, "average_beta": 0.999}

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer; there is no average yet."""
        super().setup(task, hyperparameters)
        self.average: list[Tensor] = []
        self.looks = 0

    def look(self, tensors: list[Tensor]) -> None:
        """Move the average towards the tensors' present values."""
        if not self.average:
            self.average = [tensor.clone() for tensor in tensors]
        self.looks += 1
        beta = min(self._tuned.average_beta, (1 + self.looks) / (10 + self.looks))
        torch._foreach_lerp_(self.average, tensors, 1 - beta)

    def evaluation_point(self, task: Task) -> Sequence[Tensor] | None:
        """Return the average; None before there is one."""
        return self.average or None
