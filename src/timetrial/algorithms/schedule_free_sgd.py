"""Schedule-Free SGD: stochastic gradient descent whose iterates are averaged instead of its rate lowered.

Defazio et al., "The Road Less Scheduled", 2024 (arXiv 2405.15682), as in the package `schedulefree` (spec:
algorithms/schedule_free.md, "SGD"). Gradients g are taken at y = (1 - b) z + b x; with t counted from 1:

    z <- z - r_t (g + d y)
    c = w / (sum of all w), w = (largest rate so far)^2;    x <- (1 - c) x + c z

Memory: 1 number a parameter (z). Extra work: none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.schedule_free import ScheduleFree, ScheduleFreeOptimizer
from timetrial.api import Hyperparameters, Task


class ScheduleFreeSGDOptimizer(ScheduleFreeOptimizer):
    """The update rule above; the groups hold `weight_decay` beside what the base needs, b as `beta1`."""

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        directions = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        self.advance(group, weights, directions, group["lr"])


class ScheduleFreeSGD(ScheduleFree):
    """Schedule-Free SGD on all parameters, linear warm-up; no search space was published."""

    # The package's defaults, but for the warm-up, which its authors call essential: the share of `schedule_free_adamw`.
    hyperparameters = {"learning_rate": 1.0, "one_minus_beta1": 0.1, "weight_decay": 0.0, "warmup_factor": 0.02 * 0.75}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> ScheduleFreeOptimizer:
        """Return the optimizer of this file."""
        return ScheduleFreeSGDOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            beta1=1 - hyperparameters.one_minus_beta1,
            weight_decay=hyperparameters.weight_decay,
        )
