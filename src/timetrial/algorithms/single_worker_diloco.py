"""DiLoCo with a single worker: a slow Nesterov step on what 75 steps of AdamW achieved.

Douillard et al., "DiLoCo", 2023 (arXiv 2311.08105); its use with one worker: arXiv 2512.17131; an AlgoPerf entry of
2026 (spec: algorithms/diloco_and_outer_wrappers.md). AdamW trains the fast weights w, with a cosine to zero; every H
steps the slow ones, s, follow:

    D = s - w;    b <- mu b + D;    s <- s - eta (D + mu b);    w <- s

AdamW's moments and step count go on. Evaluations see s; batch norm's running statistics are those of w, as entered.

Of a very short run H is at most a twentieth of the step hint (ours): with the published 75, an evaluation before the
first outer step would see the initial weights. It changes nothing from a step hint of 1500 on.

Memory: 4 numbers a parameter (two moments, s, b). Extra work: one pass over the weights in H steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.algorithms.parts.averaging import EvaluatesElsewhere
from timetrial.api import Batch, Hyperparameters, Task


@torch.no_grad()
def outer_step(
    slow: list[Tensor], fast: list[Tensor], momentum: list[Tensor], *, outer_rate: float, outer_momentum: float
) -> None:
    """Move the slow weights by Nesterov's rule on what the fast ones achieved; set the fast ones to them."""
    achieved = torch._foreach_sub(slow, fast)
    torch._foreach_mul_(momentum, outer_momentum)
    torch._foreach_add_(momentum, achieved)
    torch._foreach_add_(slow, achieved, alpha=-outer_rate)
    torch._foreach_add_(slow, momentum, alpha=-outer_rate * outer_momentum)
    torch._foreach_copy_(fast, slow)


class SingleWorkerDiLoCo(EvaluatesElsewhere, AdamW):
    """AdamW inside, Nesterov outside, evaluated at the slow weights; no search space was published."""

    search_space = None
    # The published self-tuning point: no warm-up, no dropout.
    hyperparameters = {
        "learning_rate": 9.55e-4,
        "one_minus_beta1": 0.01,
        "beta2": 0.995,
        "weight_decay": 0.2424,
        "warmup_factor": 0.0,
        "dropout_rate": 0.0,
        "outer_rate": 0.3006,
        "outer_momentum": 0.7675,
        "outer_period": 75,
    }

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build AdamW; the slow weights start where the fast ones do."""
        super().setup(task, hyperparameters)
        self.slow = [weight.detach().clone() for weight in task.model.parameters()]
        self.momentum = [torch.zeros_like(weight) for weight in self.slow]
        self._period = min(hyperparameters.outer_period, max(task.step_hint // 20, 1))

    def step(self, task: Task, batch: Batch) -> None:
        """Train the fast weights one step; at every H-th, let the slow ones follow."""
        super().step(task, batch)
        if (task.step + 1) % self._period == 0:
            outer_step(
                self.slow,
                list(task.model.parameters()),
                self.momentum,
                outer_rate=self._tuned.outer_rate,
                outer_momentum=self._tuned.outer_momentum,
            )

    def evaluation_point(self, task: Task) -> Sequence[Tensor] | None:
        """Return the slow weights."""
        return self.slow
