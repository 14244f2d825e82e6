"""Lion: the sign of an interpolated momentum.

Chen et al., "Symbolic discovery of optimization algorithms", 2023 (arXiv 2302.06675); the point is that of the
AlgoPerf submission (self-tuning, 2026). With sign(0) = 0 (spec: algorithms/lion.md):

    u = sign(b1 m + (1 - b1) g)
    w <- (1 - r d) w - r u
    m <- b2 m + (1 - b2) g

The steps do not shrink near an optimum, so the rate must. Memory: 1 float a parameter. No work beyond the update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.api import Hyperparameters, ScheduledGradientDescent, Task


class LionOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momentum = self.buffers(weights, "momentum")
        rate, (beta1, beta2) = group["lr"], group["betas"]

        direction = torch._foreach_lerp(momentum, gradients, 1 - beta1)
        torch._foreach_sign_(direction)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_add_(weights, direction, alpha=-rate)
        torch._foreach_lerp_(momentum, gradients, 1 - beta2)


class Lion(ScheduledGradientDescent):
    """Lion on all parameters, linear warm-up and cosine decay to zero, at the published point."""

    hyperparameters = {
        "learning_rate": 2e-4,
        "one_minus_beta1": 0.05,
        "beta2": 0.98,
        "weight_decay": 0.5,
        "warmup_factor": 0.02,
        "dropout_rate": 0.1,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return LionOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
        )
