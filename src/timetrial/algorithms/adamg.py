"""AdamG: Adam without a learning rate to tune, by the "golden step size".

Pang et al., "Towards stability of parameter-free optimization", 2024 (arXiv 2405.04376); AlgoPerf submission
(self-tuning, 2024). With s(x) = 0.2 x^0.24 and t counted from 1 (spec: algorithms/adamg.md):

    v <- b2 v + (1 - b2) g^2
    p <- b3 p + (1 - b3) s(v)
    m <- b1 m + (1 - b1) g p
    w <- w - min(r, 1 / sqrt(t)) m / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps)

The s(v) of the first steps is small, since v is not corrected there. No weight decay.

Memory: 3 floats a parameter. Extra work: a power of each entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, second_moment
from timetrial.api import Hyperparameters, ScheduledGradientDescent, Task

_FACTOR, _POWER = 0.2, 0.24
"""s(x) = 0.2 x^0.24 (Pang et al. 2024)."""


class AdamGOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1.0,
        betas: tuple[float, float, float] = (0.95, 0.999, 0.95),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        golden = self.buffers(weights, "golden")
        (beta1, beta2, beta3), step = group["betas"], group["step"]

        second_moment(second, gradients, beta2)
        torch._foreach_mul_(golden, beta3)
        torch._foreach_add_(golden, torch._foreach_pow(second, _POWER), alpha=(1 - beta3) * _FACTOR)
        torch._foreach_mul_(first, beta1)
        torch._foreach_addcmul_(first, gradients, golden, 1 - beta1)
        rate = min(group["lr"], step**-0.5) / (1 - beta1**step)
        torch._foreach_addcdiv_(weights, first, adam_denominator(second, beta2, step, group["eps"]), -rate)


class AdamG(ScheduledGradientDescent):
    """AdamG on all parameters, linear warm-up and cosine decay to zero at three quarters of the step hint."""

    hyperparameters = {
        "learning_rate": 1.0,
        "beta1": 0.95,
        "beta2": 0.999,
        "beta3": 0.95,
        "warmup_factor": 0.02,
        "horizon_factor": 0.75,
        "dropout_rate": 0.1,
        "label_smoothing": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return AdamGOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(hyperparameters.beta1, hyperparameters.beta2, hyperparameters.beta3),
        )
