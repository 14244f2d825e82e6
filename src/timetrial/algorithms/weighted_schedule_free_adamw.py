"""Weighted Schedule-Free AdamW: the base iterate by dual averaging with growing weights; an entry of 2025.

Defazio et al., "The Road Less Scheduled", 2024 (arXiv 2405.15682), as entered in AlgoPerf under "weighted" (spec:
algorithms/schedule_free.md). Gradients g are taken at y = (1 - b1) z + b1 x. With t counted from 1, q = t^r, and z_1
the initial weights:

    v <- b2 v + (1 - b2) g^2
    a <- a + q r_t (d y + g / (sqrt(v / (1 - b2^t)) + eps))
    z = z_1 - a / q
    c = w / (sum of all w), w = t^r r_t^p;    x <- (1 - c) x + c z

Trained at y, evaluated at x; r = 1, p = 2.

Memory: 3 numbers a parameter (a, v, z_1), as z follows from a. Extra work: none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import adam_denominator, second_moment
from timetrial.algorithms.parts.schedule_free import ScheduleFree, ScheduleFreeOptimizer
from timetrial.algorithms.schedule_free_adamw_v2 import COMMON, ROWS, SELF_TUNING
from timetrial.api import Hyperparameters, SearchSpace, Task


class WeightedScheduleFreeAdamWOptimizer(ScheduleFreeOptimizer):
    """The update rule above; the groups hold `beta2`, `eps` and `weight_decay` beside what the base needs."""

    def base_iterate(self, group: dict[str, Any], weights: list[Tensor]) -> list[Tensor]:
        """Return z = z_1 - a / q of weights of a group, as new tensors."""
        start, total = self.buffers(weights, "start", torch.clone), self.buffers(weights, "total")
        return list(torch._foreach_add(start, total, alpha=-1 / max(group["step"], 1) ** group["r"]))

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        start, total = self.buffers(weights, "start", torch.clone), self.buffers(weights, "total")
        second = self.buffers(weights, "second")
        beta1, beta2, share, step = group["beta1"], group["beta2"], group["share"], group["step"]

        second_moment(second, gradients, beta2)
        denominator = adam_denominator(second, beta2, step, group["eps"])
        directions = list(torch._foreach_div(gradients, denominator))
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])

        # y' = (1 - c) y + c z_1 + (1 - c) (1 - b1) a / q - (1 - b1 (1 - c)) a' / q', with x eliminated.
        torch._foreach_lerp_(weights, start, share)
        if step > 1:
            torch._foreach_add_(weights, total, alpha=(1 - share) * (1 - beta1) / (step - 1) ** group["r"])
        torch._foreach_add_(total, directions, alpha=step ** group["r"] * group["lr"])
        torch._foreach_add_(weights, total, alpha=-(1 - beta1 * (1 - share)) / step ** group["r"])


class WeightedScheduleFreeAdamW(ScheduleFree):
    """Weighted Schedule-Free AdamW on all parameters, linear warm-up."""

    search_space = SearchSpace.from_points(
        [*ROWS, {"dropout_rate": 0.0, "label_smoothing": 0.2, "learning_rate": 0.004}], **COMMON
    )
    # It was entered under the external ruleset only: these are the self-tuning numbers of its sister.
    hyperparameters = SELF_TUNING

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> ScheduleFreeOptimizer:
        """Return the optimizer of this file."""
        return WeightedScheduleFreeAdamWOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            beta1=1 - hyperparameters.one_minus_beta1,
            r=1.0,
            p=2.0,
            running_max=False,
            beta2=hyperparameters.beta2,
            eps=1e-8,
            weight_decay=hyperparameters.weight_decay,
        )
