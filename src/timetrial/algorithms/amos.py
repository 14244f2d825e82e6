"""Amos: an Adam-style rule whose decay of rate and weights follows from the expected size of each variable.

Tian and Parikh, "Amos: an Adam-style optimizer with adaptive weight decay towards model-oriented scale", 2022 (arXiv
2210.11693), in the two styles of AlgoPerf's entry, which extend it (spec: algorithms/amos.md). Each variable falls
into groups of k numbers: an embedding's rows, any other variable as a whole. With q = sqrt(k), u = sqrt(1 - 1/q),
tau = u ln(q (1 + u)^2), the scheduled global rate xi, the entries' expected size eta, an extra decay l, a normalised
direction h and a normalised mean square e, both below, and b >= 0 a number a group, from 0:

    P = 1 + l ((1 + tau/2)^2 - 1)^2;    Q = 1 + l b^2;    S = sqrt(1 + b)
    X = xi^2 / max(e, S)  (adam)   or   xi^2 / S  (reduced)
    B = (2 S / (1 + sqrt(1 + 2 S / (2 + tau))))^2 - 1;    R = (1 + l b B) / (1 + (l / P) Q)
    D = (-X/2 ((P / Q) e + l) w - eta xi h) / (1 + eta S R B)
    b <- b + X (e / q + b)  (adam)   or   b + X (1 / q + b)  (reduced)

style "adam": g is clipped elementwise to v^ / (1 - b2), v^ of the step before, where that is not 0; m, v as in Adam,
h = m / sqrt(v^), e = (1 + b1) / (1 - b1) mean(m^2) / mean(v^), w <- w + D.
style "reduced": v is the average of the group's mean square; g is clipped by it likewise; h = g / sqrt(v^), e =
mean(g^2) / v^; the momentum comes last: m <- b1 m + (1 - b1) D, w <- w + m.

The gradient is clipped to norm 1; xi rises linearly and stays at sqrt(2 (tau_max + sqrt(2) - 1) / T), tau_max of the
largest group, T = `converge` (h - 2/3 of the warm-up's steps), h the step hint.

Unlike the entry, an attention projection is one group, not one a head: a submission is not told how many heads there
are. Sizes eta: sqrt(2 / fan-in) for matrices, sqrt(1 / fan-in) for attention and convolutions, 0.5 for biases, 1 for
embeddings and gains.

Memory: 2 numbers a parameter (m, v) in style "adam", 1 in style "reduced", and b. Extra work: means over the groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_moments
from timetrial.algorithms.parts.routing import BIASES
from timetrial.api import (
    Hyperparameters,
    ParameterKind,
    ScheduledGradientDescent,
    SearchSpace,
    Task,
    warmup_constant,
    warmup_steps,
)

Style = Literal["adam", "reduced"]


def tau(size: int) -> float:
    """Return tau of a group of `size` numbers; 0 for a single one."""
    q = math.sqrt(size)
    u = math.sqrt(1 - 1 / q)
    return u * math.log(q * (1 + u) ** 2)


def base_rate(largest: int, converge_steps: float) -> float:
    """Return the global rate xi for the largest group's size and T."""
    return math.sqrt(2 * (tau(largest) + math.sqrt(2) - 1) / converge_steps)


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A parameter, the expected size of its entries, and how many groups its first axis is cut into (1, or all)."""

    weight: Tensor
    scale: float
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class _Constants:
    """One number for each group of a list of variables, in their order, as 1-D tensors."""

    q: Tensor
    tau: Tensor
    scale: Tensor


class AmosOptimizer(ListOptimizer):
    """The update rule above. All that is one number a group is worked out for all groups of the list at once."""

    tensorwise = True

    def __init__(
        self,
        variables: Sequence[Variable],
        *,
        lr: float,
        betas: tuple[float, float],
        extra_decay: float,
        style: Style,
    ) -> None:
        super().__init__(
            [each.weight for each in variables], lr=lr, betas=betas, extra_decay=extra_decay, adaptive=style == "adam"
        )
        self._variables = {each.weight: each for each in variables}
        self._known: dict[tuple[Tensor, ...], _Constants] = {}

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        if group["adaptive"]:
            self._update_adam(group, weights, gradients)
        else:
            self._update_reduced(group, weights, gradients)

    def _update_adam(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        (beta1, beta2), step = group["betas"], group["step"]
        if step > 1:
            gradients = _clipped(gradients, second, beta2, step - 1)
        adam_moments(first, second, gradients, beta1, beta2)

        corrected = list(torch._foreach_div(second, 1 - beta2**step))
        squares = self._means(weights, torch._foreach_mul(first, first)) / _positive(self._means(weights, corrected))
        shrink, length = self._factors(group, weights, (1 + beta1) / (1 - beta1) * squares)
        torch._foreach_clamp_min_(corrected, torch.finfo(corrected[0].dtype).tiny)
        torch._foreach_sqrt_(corrected)
        directions = torch._foreach_div(first, corrected)
        torch._foreach_mul_(weights, [1 + each for each in self._spread(weights, shrink)])
        torch._foreach_addcmul_(weights, directions, self._spread(weights, length), value=-1.0)

    def _update_reduced(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        momentum, second = self.buffers(weights, "momentum"), self._per_group(weights, "second")
        (beta1, beta2), step = group["betas"], group["step"]
        if step > 1:
            gradients = _clipped(gradients, self._spread(weights, torch.cat(second)), beta2, step - 1)
        squares = self._means(weights, torch._foreach_mul(gradients, gradients))
        average = torch.cat(second).mul_(beta2).add_(squares, alpha=1 - beta2)
        torch._foreach_copy_(second, average.split([len(each) for each in second]))

        corrected = _positive(average / (1 - beta2**step))
        shrink, length = self._factors(group, weights, squares / corrected)
        moves = torch._foreach_mul(gradients, self._spread(weights, -length / corrected.sqrt()))
        torch._foreach_addcmul_(moves, weights, self._spread(weights, shrink))
        torch._foreach_lerp_(momentum, moves, 1 - beta1)
        torch._foreach_add_(weights, momentum)

    def _factors(self, group: dict[str, Any], weights: list[Tensor], e: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of w and of -h in D, for each group; move b."""
        states = self._per_group(weights, "b")
        constants = self._constants(weights)
        rate, extra, b = group["lr"], group["extra_decay"], torch.cat(states)

        P = 1 + extra * ((1 + constants.tau / 2) ** 2 - 1) ** 2
        Q = 1 + extra * b**2
        S = (1 + b).sqrt()
        X = rate**2 / (torch.maximum(e, S) if group["adaptive"] else S)
        B = (2 * S / (1 + (1 + 2 * S / (2 + constants.tau)).sqrt())) ** 2 - 1
        R = (1 + extra * b * B) / (1 + extra / P * Q)
        denominator = 1 + constants.scale * S * R * B
        shrink = -0.5 * X * (P / Q * e + extra) / denominator
        length = constants.scale * rate / denominator

        b = b + X * ((e if group["adaptive"] else 1.0) / constants.q + b)
        torch._foreach_copy_(states, b.split([len(each) for each in states]))
        return shrink, length

    def _constants(self, weights: list[Tensor]) -> _Constants:
        key = tuple(weights)
        if key not in self._known:
            rows = []
            for weight in weights:
                variable = self._variables[weight]
                size = weight.numel() // variable.groups
                rows += [(math.sqrt(size), tau(size), variable.scale)] * variable.groups
            q, taus, scales = torch.tensor(rows, dtype=weights[0].dtype, device=weights[0].device).T
            self._known[key] = _Constants(q=q, tau=taus, scale=scales)
        return self._known[key]

    def _per_group(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """Return a state of one number for each group of a weight."""
        return self.buffers(weights, name, lambda weight: weight.new_zeros(self._variables[weight].groups))

    def _means(self, weights: list[Tensor], values: Sequence[Tensor]) -> Tensor:
        """Return the mean of `values`, shaped as the weights, over each group: one number a group, in order."""
        pairs = zip(weights, values, strict=True)
        return torch.cat([value.reshape(self._variables[weight].groups, -1).mean(dim=1) for weight, value in pairs])

    def _spread(self, weights: list[Tensor], values: Tensor) -> list[Tensor]:
        """Return one number a group as tensors that broadcast to the weights: the opposite of `_means`."""
        parts = values.split([self._variables[weight].groups for weight in weights])
        return [
            part.view(-1, *[1] * (weight.ndim - 1)) if weight.ndim else part[0]
            for weight, part in zip(weights, parts, strict=True)
        ]


def _positive(values: Tensor) -> Tensor:
    """Keep what is divided by from 0, of groups that had no gradient yet."""
    return values.clamp_min(torch.finfo(values.dtype).tiny)


def _clipped(gradients: list[Tensor], second: list[Tensor], beta2: float, step: int) -> list[Tensor]:
    """Clip |g| to sqrt(v^ / (1 - b2)) where that is not 0; `second` broadcasts to the gradients."""
    bounds = torch._foreach_div(second, (1 - beta2**step) * (1 - beta2))
    torch._foreach_sqrt_(bounds)
    for bound in bounds:
        bound.masked_fill_(bound == 0, math.inf)
    clipped = torch._foreach_minimum(gradients, bounds)
    torch._foreach_neg_(bounds)
    torch._foreach_maximum_(clipped, bounds)
    return list(clipped)


_ATTENTION = {
    ParameterKind.ATTENTION_Q,
    ParameterKind.ATTENTION_K,
    ParameterKind.ATTENTION_V,
    ParameterKind.ATTENTION_OUT,
    ParameterKind.ATTENTION_QKV,
    ParameterKind.ATTENTION_KV,
}


def expected_scale(kind: ParameterKind, weight: Tensor) -> float:
    """Return eta, the expected size of a parameter's entries."""
    if kind in BIASES:
        return 0.5
    if weight.ndim < 2 or kind is ParameterKind.EMBEDDING:
        return 1.0
    fan_in = weight[0].numel()
    return math.sqrt((1 if kind in _ATTENTION or kind is ParameterKind.CONV_WEIGHT else 2) / fan_in)


def variables_of(task: Task, scale: float | None) -> list[Variable]:
    """Return the model's parameters with their groups and sizes; a `scale` that is given is everyone's."""
    found = []
    for name, weight in task.model.named_parameters():
        kind = task.parameter_kinds[name]
        groups = weight.shape[0] if kind is ParameterKind.EMBEDDING else 1
        found.append(Variable(weight=weight, scale=scale or expected_scale(kind, weight), groups=groups))
    return found


_NAMES = (
    "style", "one_minus_beta1", "beta2", "converge", "extra_decay", "warmup_factor", "scale", "dropout_rate",
    "label_smoothing",
)  # fmt: skip
_POINTS = [
    dict(zip(_NAMES, values, strict=True))
    for values in (
        ("reduced", 0.1, 0.98, 0.65, 0.012, 0.02, None, 0.0, 0.1),
        ("adam", 0.05, 0.999, 0.75, 0.002, 0.02, 0.062, 0.1, 0.0),
        ("adam", 0.05, 0.995, 0.65, 0.001, 0.03, None, 0.1, 0.2),
        ("adam", 0.05, 0.999, 0.65, 0.0028, 0.02, None, 0.0, 0.2),
        ("adam", 0.05, 0.999, 0.75, 0.007, 0.02, None, 0.1, 0.0),
    )
]


class Amos(ScheduledGradientDescent):
    """Amos on all parameters, in the style that the point says."""

    search_space = SearchSpace.from_points(_POINTS, grad_clip=1.0)
    # No self-tuning point was published: this is the fourth of the list, by its decay in the middle of style "adam".
    hyperparameters = {**_POINTS[3], "grad_clip": 1.0}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file, its rate from the number of steps and the largest group."""
        variables = variables_of(task, hyperparameters.scale)
        largest = max(each.weight.numel() // each.groups for each in variables)
        steps = hyperparameters.converge * (task.step_hint - 2 / 3 * warmup_steps(task, hyperparameters))
        return AmosOptimizer(
            variables,
            lr=base_rate(largest, steps),
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            extra_decay=hyperparameters.extra_decay,
            style=hyperparameters.style,
        )

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the rate: linear up, then constant, as Amos decays by itself."""
        return warmup_constant(step, warmup_steps=warmup_steps(task, hyperparameters))
