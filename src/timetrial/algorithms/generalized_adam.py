"""Generalized Adam: NAdamW, or without its preconditioner Nesterov momentum with decoupled decay.

AlgoPerf submission (external tuning, 2024). A switch turns the preconditioner off; the rule then is (spec:
algorithms/nadamw_and_adam_family.md, 4)

    b <- g + b1 b
    w <- w - r ((g + b1 b) + d w)

and otherwise `nadamw`. The submission sets the dropout of a workload's auxiliary layers apart from the rest; here
both have the rate of the rest, which changes the last of the five points (0, auxiliary 0.1).

Memory: 2 floats a parameter, 1 without the preconditioner. No work beyond the update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.nadamw import NAdamWOptimizer
from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task


class DecoupledNesterov(ListOptimizer):
    """The rule above, without a preconditioner."""

    tensorwise = True

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        trace = self.buffers(weights, "trace")
        rate, momentum = group["lr"], group["momentum"]

        torch._foreach_mul_(trace, momentum)
        torch._foreach_add_(trace, gradients)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_add_(weights, gradients, alpha=-rate)
        torch._foreach_add_(weights, trace, alpha=-rate * momentum)


_NAMES = (
    "learning_rate",
    "beta1",
    "beta2",
    "weight_decay",
    "warmup_factor",
    "precondition",
    "dropout_rate",
    "label_smoothing",
    "horizon_factor",
)
_SUBMITTED = (
    (1.9487942, 0.9721704, None, 2.4022723e-4, 0.1, False, 0.1, 0.2, 1.0),
    (2.3792567e-3, 0.9800966, 0.9632739, 0.3417568, 0.01, True, 0.0, 0.0, 0.75),
    (3.7052020e-3, 0.9735339, 0.9785558, 0.0226709, 0.1, True, 0.1, 0.2, 0.75),
    (1.4271958e-3, 0.9661952, 0.9957304, 0.0915314, 0.01, True, 0.1, 0.1, 1.0),
    (1.7685099e-3, 0.9414979, 0.9768053, 0.0279514, 0.02, True, 0.0, 0.2, 1.0),
)


class GeneralizedAdam(ScheduledGradientDescent):
    """Either rule on all parameters, linear warm-up and cosine decay to zero."""

    search_space = SearchSpace.from_points([dict(zip(_NAMES, point, strict=True)) for point in _SUBMITTED])
    # The last of the points: none was published for the ruleset without tuning.
    hyperparameters = dict(zip(_NAMES, _SUBMITTED[4], strict=True))

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return NAdamW's optimizer, or the one of this file."""
        if not hyperparameters.precondition:
            return DecoupledNesterov(
                task.model.parameters(),
                lr=hyperparameters.learning_rate,
                momentum=hyperparameters.beta1,
                weight_decay=hyperparameters.weight_decay,
            )
        return NAdamWOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(hyperparameters.beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
        )
