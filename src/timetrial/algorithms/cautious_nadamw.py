"""Cautious NAdamW: NAdamW that leaves out what the present gradient disagrees with.

Liang et al., "Cautious optimizers: improving training with one line of code", 2024 (arXiv 2411.16085), as the
AlgoPerf submission of that name (self-tuning). With t counted from 1 (spec: algorithms/cautious.md;
algorithms/nadamw_and_adam_family.md, 7):

    w <- (1 - r d) w
    m <- b1 m + (1 - b1) g;    v <- b2 v + (1 - b2) g^2
    n = b1 m + (1 - b1) g
    k = 1 where n g > 0, else 0;    n <- n k / max(mean(k), 1e-3), the mean over the tensor
    w <- w - r n / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps)

As options: Adam's numerator n = m; no mask; and cautious weight decay (Chen et al. 2025, arXiv 2510.12402), by which
an entry decays only where the update u too does not lead away from zero:

    w <- w - r (u + d k w),    k = 1 where u w >= 0, else 0

Memory: 2 floats a parameter. Extra work: a mask and its mean, one more pass or two over the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.nadamw import NAdamW
from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, adam_moments
from timetrial.api import Hyperparameters, ScheduledGradientDescent, Task

_LEAST_SHARE = 1e-3
"""The mean of a mask counts for at least this (Liang et al. 2024, repository)."""


class CautiousAdamW(ListOptimizer):
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
        nesterov: bool = True,
        cautious: bool = True,
        cautious_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            nesterov=nesterov,
            cautious=cautious,
            cautious_decay=cautious_decay,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        rate, (beta1, beta2), step = group["lr"], group["betas"], group["step"]

        adam_moments(first, second, gradients, beta1, beta2)
        direction = list(torch._foreach_lerp(first, gradients, 1 - beta1 if group["nesterov"] else 0.0))
        if group["cautious"]:
            keep_agreeing(direction, gradients)
        torch._foreach_div_(direction, adam_denominator(second, beta2, step, group["eps"]))
        if group["cautious_decay"]:
            decay = torch._foreach_mul(weights, decaying(direction, weights))
            torch._foreach_add_(weights, decay, alpha=-rate * group["weight_decay"])
        else:
            torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_add_(weights, direction, alpha=-rate / (1 - beta1**step))


def keep_agreeing(direction: list[Tensor], gradients: list[Tensor]) -> None:
    """Set to zero, in place, where the sign is not the gradient's; divide by the share of what stays."""
    mask = list(torch._foreach_mul(direction, gradients))
    torch._foreach_sign_(mask)
    torch._foreach_clamp_min_(mask, 0.0)
    share = list(torch._foreach_norm(mask, 1))
    torch._foreach_div_(share, [float(tensor.numel()) for tensor in mask])
    torch._foreach_clamp_min_(share, _LEAST_SHARE)
    torch._foreach_div_(mask, share)
    torch._foreach_mul_(direction, mask)


def decaying(direction: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    """Return 1 where subtracting the direction does not lead away from zero, and 0 elsewhere."""
    mask = list(torch._foreach_mul(direction, weights))
    torch._foreach_sign_(mask)
    torch._foreach_clamp_max_(mask, 0.0)
    torch._foreach_add_(mask, 1.0)
    return mask


class CautiousNAdamW(ScheduledGradientDescent):
    """Cautious NAdamW on all parameters, linear warm-up and cosine decay to zero, at NAdamW's self-tuning point.

    Hyperparameter `cautious_decay` (false): cautious weight decay as well.
    """

    hyperparameters = {**NAdamW.hyperparameters, "cautious_decay": False}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return CautiousAdamW(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
            cautious_decay=hyperparameters.cautious_decay,
        )
