"""NadamP: NAdamW whose denominator is the p-th root of the second moment.

AlgoPerf submission (external tuning, 2024). With t counted from 1 (spec: algorithms/nadamw_and_adam_family.md, 3):

    m <- b1 m + (1 - b1) g;    v <- b2 v + (1 - b2) g^2
    u = (b1 m + (1 - b1) g) / (1 - b1^t) / ((v / (1 - b2^t))^(1/p) + eps)
    w <- w - r (u + d w)

p = 2 is `nadamw`. With another p the update depends on the gradient's scale: u ~ |g|^(1 - 2/p). The submission sets
the dropout of a workload's auxiliary layers apart from the rest; here both have the rate of the rest, which changes
the third of the five points (0, auxiliary 0.1).

Memory: 2 floats a parameter. No work beyond the update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_moments
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task


class NadamPOptimizer(ListOptimizer):
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
        power: float = 2.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, power=power)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        rate, (beta1, beta2), step = group["lr"], group["betas"], group["step"]

        adam_moments(first, second, gradients, beta1, beta2)
        numerator = torch._foreach_lerp(first, gradients, 1 - beta1)
        denominator = torch._foreach_div(second, 1 - beta2**step)
        if group["power"] == 2:
            torch._foreach_sqrt_(denominator)  # many times as fast as a general power
        else:
            torch._foreach_pow_(denominator, 1 / group["power"])
        torch._foreach_add_(denominator, group["eps"])
        # Decay first is the same: the direction does not depend on the weights.
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_addcdiv_(weights, numerator, denominator, -rate / (1 - beta1**step))


_NAMES = (
    "learning_rate",
    "beta1",
    "beta2",
    "weight_decay",
    "warmup_factor",
    "power",
    "dropout_rate",
    "label_smoothing",
    "horizon_factor",
)
_SUBMITTED = (
    (1.9622900e-3, 0.8009875, 0.9601975, 0.0408967, 0.05, 2.0, 0.0, 0.1, 1.0),
    (1.3002413e-3, 0.9603613, 0.9778023, 0.1605676, 0.05, 2.0, 0.1, 0.2, 1.0),
    (2.3792567e-3, 0.9800966, 0.9632739, 0.3417568, 0.01, 2.0, 0.0, 0.0, 0.75),
    (3.6891129e-3, 0.9762203, 0.9952441, 0.0618850, 0.05, 1.5, 0.0, 0.2, 1.0),
    (1.4271958e-3, 0.9661952, 0.9957304, 0.0915314, 0.01, 2.0, 0.1, 0.1, 1.0),
)


class NadamP(ScheduledGradientDescent):
    """NadamP on all parameters, linear warm-up and cosine decay to zero."""

    search_space = SearchSpace.from_points([dict(zip(_NAMES, point, strict=True)) for point in _SUBMITTED])
    # The one point whose power is not NAdamW's: none was published for the ruleset without tuning.
    hyperparameters = dict(zip(_NAMES, _SUBMITTED[3], strict=True))

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return NadamPOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(hyperparameters.beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
            power=hyperparameters.power,
        )
