"""AdEMAMix: AdamW with a second, very slow momentum.

Pagliardini, Ablin and Grangier, "The AdEMAMix optimizer: better, faster, older", 2024 (arXiv 2409.03137); the point
is that of the AlgoPerf submission (self-tuning, 2026). With t counted from 1 (spec: algorithms/ademamix.md):

    a_t = a min(t / T, 1)
    b3_t: from b1 to b3 over T steps, linearly in the half-life ln(1/2) / ln(b) - 1
    m <- b1 m + (1 - b1) g;    s <- b3_t s + (1 - b3_t) g;    v <- b2 v + (1 - b2) g^2
    w <- w - r ((m / (1 - b1^t) + a_t s) / (sqrt(v) / sqrt(1 - b2^t) + eps) + d w)

The slow momentum s has no bias correction. The submission's T, 500 000, is longer than most runs: a_t and b3_t stay
far below their final values.

Memory: 3 floats a parameter. No work beyond the update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, adam_moments
from timetrial.api import Hyperparameters, ScheduledGradientDescent, Task


class AdEMAMixOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time; `slow_warmup` is T, 0 for none."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 5.0,
        slow_warmup: int = 0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, alpha=alpha, slow_warmup=slow_warmup, eps=eps, weight_decay=weight_decay
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        slow = self.buffers(weights, "slow")
        rate, (beta1, beta2, beta3), step = group["lr"], group["betas"], group["step"]
        share = min(step / group["slow_warmup"], 1.0) if group["slow_warmup"] else 1.0

        adam_moments(first, second, gradients, beta1, beta2)
        torch._foreach_lerp_(slow, gradients, 1 - between_half_lives(beta1, beta3, share))
        direction = torch._foreach_div(first, 1 - beta1**step)
        torch._foreach_add_(direction, slow, alpha=group["alpha"] * share)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_addcdiv_(weights, direction, adam_denominator(second, beta2, step, group["eps"]), -rate)


def between_half_lives(start: float, end: float, share: float) -> float:
    """Return the decay factor whose half-life is that share of the way from `start`'s to `end`'s."""
    if share >= 1:
        return end
    half_life = (1 - share) * _half_life(start) + share * _half_life(end)
    return float(0.5 ** (1 / (half_life + 1)))


def _half_life(beta: float) -> float:
    return math.log(0.5) / math.log(beta + 1e-8) - 1


class AdEMAMix(ScheduledGradientDescent):
    """AdEMAMix on all parameters, linear warm-up and cosine decay to zero, at the published point."""

    hyperparameters = {
        "learning_rate": 2e-3,
        "one_minus_beta1": 0.2,
        "beta2": 0.995,
        "beta3": 0.9995,
        "alpha": 8.0,
        "slow_warmup": 500_000,
        "weight_decay": 0.1,
        "warmup_factor": 0.02,
        "label_smoothing": 0.0,
        "grad_clip": 0.5,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return AdEMAMixOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2, hyperparameters.beta3),
            alpha=hyperparameters.alpha,
            slow_warmup=hyperparameters.slow_warmup,
            weight_decay=hyperparameters.weight_decay,
        )
