"""Prodigy: Adam whose step size d estimates the distance to the solution, so that the rate needs no tuning.

Mishchenko and Defazio, "Prodigy: an expeditiously adaptive parameter-free learner", 2023 (arXiv 2306.06101), as in
the package `prodigyopt` (spec: algorithms/prodigy.md). With b3 = sqrt(b2), w_0 the initial weights, r the scheduled
rate (1 at its height), and sums over all parameters of the model:

    e = d r sqrt(1 - b2^t) / (1 - b1^t)                 (the two corrections only with `bias_correction`)
    N <- b3 N + (d / d_0) e sum <g, w_0 - w>
    m <- b1 m + d (1 - b1) g;    v <- b2 v + d^2 (1 - b2) g^2
    s <- b3 s + (d / d_0) f g                           (f = e, or d with `safeguard_warmup`)
    d <- max(d, d_coef N / sum |s|)                     (and at most `growth_rate` times the old d)
    w <- (1 - l e) w - e m / (sqrt(v) + d eps)          (e with the old d, d the new one)

Where all s are zero, nothing moves. The package's rule, written anew because the package waits for the device once
or twice a parameter tensor where this waits once a step.

Memory: 4 numbers a parameter (m, v, s, w_0). Extra work: two sums over all parameters, one wait for the device.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice

LARGEST_DISTANCE = 1e15
"""Where an estimate that runs away stops: its square is still a float32. The training is lost long before."""


class DistanceOptimizer(ListOptimizer):
    """Base of the rules that estimate d: subclasses call `observe` in `update`, and move the weights in `move`.

    One group only, which holds d as `distance`: it is one number for all parameters.
    """

    tensorwise = True

    def __init__(self, params: Iterable[Tensor], *, d0: float = 1e-6, **defaults: Any) -> None:
        own = {"d0": d0, "distance": d0, "largest_distance": d0, "numerator": 0.0}
        super().__init__(params, **own, **defaults)
        if len(self.param_groups) != 1:
            raise ValueError("expected one group of parameters: the distance is one number for all of them")

    def begin(self, group: dict[str, Any]) -> None:
        """Start the sums of a step anew."""
        super().begin(group)
        self._alignments: list[Tensor] = []
        self._norms: list[Tensor] = []

    def observe(
        self, weights: list[Tensor], points: list[Tensor], gradients: list[Tensor], *, decay: float, factor: float
    ) -> None:
        """Add to the sums: s <- decay s + factor g and its absolute values; and <g, w_0 - point>."""
        start, mean = self.buffers(weights, "start", torch.clone), self.buffers(weights, "s")
        moved = torch._foreach_sub(start, points)
        self._alignments.extend(torch.dot(a.flatten(), b.flatten()) for a, b in zip(moved, gradients, strict=True))
        torch._foreach_mul_(mean, decay)
        torch._foreach_add_(mean, gradients, alpha=factor)
        # On a CPU the norm of a list takes thrice as long as this.
        on_cpu = mean[0].device.type == "cpu"
        self._norms.extend([each.abs().sum() for each in mean] if on_cpu else torch._foreach_norm(mean, 1))

    def sums(self) -> tuple[float, float]:
        """Return the sums of <g, w_0 - point> and of |s|, for which this waits for the device."""
        both = [torch.stack(each).double().sum() for each in (self._alignments, self._norms)]
        alignment, norm = torch.stack(both).tolist()
        return alignment, norm

    def end(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        """Estimate the distance, and move the weights."""
        alignment, norm = self.sums()
        if norm > 0:
            self.finish(group, weights, alignment, norm)

    @abstractmethod
    def finish(self, group: dict[str, Any], weights: list[Tensor], alignment: float, norm: float) -> None:
        """Estimate the distance from the sums, and move the weights by it."""


class ProdigyOptimizer(DistanceOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        bias_correction: bool = False,
        safeguard_warmup: bool = False,
    ) -> None:
        own = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "d_coef": d_coef, "growth_rate": growth_rate}
        own |= {"bias_correction": bias_correction, "safeguard_warmup": safeguard_warmup, "rate": 0.0}
        super().__init__(params, lr=lr, d0=d0, **own)

    def begin(self, group: dict[str, Any]) -> None:
        """Work out e, the rate of this step, from the distance so far."""
        super().begin(group)
        beta1, beta2 = group["betas"]
        group["rate"] = group["distance"] * group["lr"]
        if group["bias_correction"]:
            group["rate"] *= (1 - beta2 ** group["step"]) ** 0.5 / (1 - beta1 ** group["step"])

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the moments and gather the sums; the weights move in `finish`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        (beta1, beta2), distance = group["betas"], group["distance"]
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, gradients, alpha=distance * (1 - beta1))
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, distance**2 * (1 - beta2))
        factor = distance / group["d0"] * (distance if group["safeguard_warmup"] else group["rate"])
        self.observe(weights, weights, gradients, decay=beta2**0.5, factor=factor)

    def finish(self, group: dict[str, Any], weights: list[Tensor], alignment: float, norm: float) -> None:
        """Estimate the distance from the sums, and move the weights by it."""
        rate, distance, d0 = group["rate"], group["distance"], group["d0"]
        group["numerator"] = group["betas"][1] ** 0.5 * group["numerator"] + distance / d0 * rate * alignment
        estimate = group["d_coef"] * group["numerator"] / norm
        if distance == d0:
            distance = max(distance, estimate)
        group["largest_distance"] = max(group["largest_distance"], estimate)
        group["distance"] = min(group["largest_distance"], distance * group["growth_rate"], LARGEST_DISTANCE)

        for part in self._parts(weights):
            if group["weight_decay"]:
                torch._foreach_mul_(part, 1 - group["weight_decay"] * rate)
            denominator = torch._foreach_sqrt(self.buffers(part, "second"))
            torch._foreach_add_(denominator, group["distance"] * group["eps"])
            torch._foreach_addcdiv_(part, self.buffers(part, "first"), denominator, -rate)


class Prodigy(ScheduledGradientDescent):
    """Prodigy on all parameters, with what its authors recommend: warm-up and cosine, bias correction, safeguard."""

    # Not published for this benchmark: the only dimension is the one that its Schedule-Free sister tuned.
    search_space = SearchSpace(weight_decay=choice(0.3, 0.1, 0.03, 0.01, 0.003))
    # The package's defaults; the middle of that list; the benchmark's usual warm-up.
    hyperparameters = {
        "learning_rate": 1.0,
        "one_minus_beta1": 0.1,
        "beta2": 0.999,
        "weight_decay": 0.03,
        "d_coef": 1.0,
        "warmup_factor": 0.05,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return ProdigyOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
            d_coef=hyperparameters.d_coef,
            bias_correction=True,
            safeguard_warmup=True,
        )
