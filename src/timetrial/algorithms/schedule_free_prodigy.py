"""Schedule-Free Prodigy: averaging in place of a falling rate, an estimated distance in place of a tuned one.

The AlgoPerf entry of 2024 on Mishchenko and Defazio 2023 (arXiv 2306.06101) and Defazio et al. 2024 (arXiv
2405.15682); spec: algorithms/prodigy.md. Gradients g are taken at y = (1 - b1) z + b1 x. With p_0 the initial
weights, r the scheduled rate (linear up to 1), e = d r, and sums over all parameters:

    N <- sqrt(b2) N + d e sum <g, p_0 - z>
    v <- b2 v + d^2 (1 - b2) g^2;    s <- sqrt(b2) s + d e g
    d <- max(d, N / sum |s|)                            (e keeps the old d)
    z <- z - l e x - d e g / (sqrt(v) + d eps)
    c = t^r / (sum of all t^r);      x <- (1 - c) x + c z

The model trains at y and is evaluated at x. The entry took every gradient twice, the first one unused; this does not.

Memory: 4 numbers a parameter (z, v, s, p_0). Extra work: two sums over all parameters, one wait for the device.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.schedule_free import ScheduleFree, ScheduleFreeOptimizer
from timetrial.algorithms.prodigy import LARGEST_DISTANCE, DistanceOptimizer
from timetrial.api import Hyperparameters, SearchSpace, Task


class ScheduleFreeProdigyOptimizer(DistanceOptimizer, ScheduleFreeOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.9955),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        d0: float = 1e-6,
        r: float = 0.75,
    ) -> None:
        own = {"beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, lr=lr, beta1=betas[0], d0=d0, r=r, p=0.0, **own)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the second moment and gather the sums; the weights move in `finish`."""
        second, base = self.buffers(weights, "second"), self.base_iterate(group, weights)
        distance, beta2 = group["distance"], group["beta2"]
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, distance**2 * (1 - beta2))
        # Numerator and sums over d0^2, in which they are of a size that float32 can hold.
        factor = distance**2 / group["d0"] * group["lr"]
        self.observe(weights, base, gradients, decay=beta2**0.5, factor=factor)

    def finish(self, group: dict[str, Any], weights: list[Tensor], alignment: float, norm: float) -> None:
        """Estimate the distance from the sums, and move the weights by it."""
        rate = group["distance"] * group["lr"]
        increment = group["distance"] / group["d0"] * rate * alignment
        group["numerator"] = group["beta2"] ** 0.5 * group["numerator"] + increment
        group["distance"] = distance = min(max(group["distance"], group["numerator"] / norm), LARGEST_DISTANCE)

        decay, beta1 = group["weight_decay"], group["beta1"]
        for part in self._parts(weights):
            gradients = [weight.grad for weight in part if weight.grad is not None]
            denominator = torch._foreach_sqrt(self.buffers(part, "second"))
            torch._foreach_add_(denominator, distance * group["eps"])
            directions = list(torch._foreach_div(gradients, denominator))
            torch._foreach_mul_(directions, distance)
            # d x, with x = y / b1 + (1 - 1 / b1) z
            torch._foreach_add_(directions, part, alpha=decay / beta1)
            torch._foreach_add_(directions, self.base_iterate(group, part), alpha=decay * (1 - 1 / beta1))
            self.advance(group, part, directions, rate)


class ScheduleFreeProdigy(ScheduleFree):
    """Schedule-Free Prodigy on all parameters; of its hyperparameters, only the weight decay was tuned."""

    search_space = SearchSpace.from_points([{"weight_decay": decay} for decay in (0.3, 0.1, 0.03, 0.01, 0.003)])
    # The entry's constants, and the middle of its list: no self-tuning point was published.
    hyperparameters = {
        "one_minus_beta1": 0.1,
        "beta2": 0.9955,
        "weight_decay": 0.03,
        "warmup_factor": 0.075,
        "label_smoothing": 0.2,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> ScheduleFreeOptimizer:
        """Return the optimizer of this file."""
        return ScheduleFreeProdigyOptimizer(
            task.model.parameters(),
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
        )
