"""NAdamW: AdamW with a Nesterov numerator; the benchmark's baseline and the winner of most of its targets.

Dozat, "Incorporating Nesterov momentum into Adam", 2016, in the form of the benchmark: the *plain* bias correction
1 - b1^t for the whole numerator. This is not `torch.optim.NAdam`, which corrects with a momentum schedule. With t
counted from 1 (spec: algorithms/nadamw_and_adam_family.md, 2):

    w <- (1 - r d) w
    m <- b1 m + (1 - b1) g;    v <- b2 v + (1 - b2) g^2
    w <- w - r (b1 m + (1 - b1) g) / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, adam_moments
from timetrial.api import Hyperparameters, SearchSpace, Task, choice, log_uniform


class NAdamWOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        rate, (beta1, beta2) = group["lr"], group["betas"]

        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        adam_moments(first, second, gradients, beta1, beta2)
        numerator = torch._foreach_lerp(first, gradients, 1 - beta1)
        denominator = adam_denominator(second, beta2, group["step"], group["eps"])
        torch._foreach_addcdiv_(weights, numerator, denominator, -rate / (1 - beta1 ** group["step"]))


class NAdamW(AdamW):
    """NAdamW on all parameters, with AdamW's schedule: linear warm-up and cosine decay to zero."""

    search_space: ClassVar[SearchSpace | None] = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.004, 0.1),
        beta2=choice(0.999),
        weight_decay=log_uniform(0.005, 1.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The published self-tuning baseline (spec: algorithms/nadamw_and_adam_family.md, 2, point 5).
    hyperparameters = {
        "learning_rate": 0.0017486387539278373,
        "one_minus_beta1": 0.06733926164,
        "beta2": 0.9955159689799007,
        "weight_decay": 0.08121616522670176,
        "warmup_factor": 0.02,
        "label_smoothing": 0.0,
        "dropout_rate": 0.1,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return NAdamWOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
        )
