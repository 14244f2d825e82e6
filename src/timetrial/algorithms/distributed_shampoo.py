"""Distributed Shampoo: a matrix root of gradient statistics on every axis; the winner of AlgoPerf's external tuning.

Gupta, Koren and Singer, "Shampoo: preconditioned stochastic tensor optimization", 2018 (arXiv 1802.09568), in the
version of Shi et al. 2023 (arXiv 2309.06497, `facebookresearch/optimizers`), with the five points that were submitted.

Neighbouring axes are merged while their product is at most 1024, so that a small matrix becomes a vector; then every
axis is cut into blocks of at most 1024. For each block, G its gradient, t counted from 1, k the number of axes:

    L_i <- b2 L_i + (1 - b2) (G contracted with itself over all axes but i)
    every 100 steps:  P_i = (L_i / (1 - b2^t) + eps I)^(-1 / 2k), or the power -1/r that a point says
    m <- b1 m + (1 - b1) G;    v <- b2 v + (1 - b2) G^2
    f = m / (1 - b1^t), or with a Nesterov numerator (b1 m + (1 - b1) G) / (1 - b1^t)
    a = f / (sqrt(v / (1 - b2^t)) + 1e-8), or f itself                        the grafted method: Adam, or SGD
    d = f multiplied by P_i along every axis, and scaled to the norm of a     before step 100: d = a
    d <- d + decay W;    with a momentum u: b <- u b + (1 - u) d, then d <- b or (1 - u) d + u b
    W <- W - r d

Rates rise linearly and fall along a cosine. A tensor with an axis of a million or more follows the grafted method
alone. All of this is stated by the source (spec: algorithms/shampoo.md, A).

Memory: m, v (Adam grafted) and statistics and roots: for a square block 6 floats a parameter, 1 more with momentum.
Work: for an m x n block two products with the roots and two for the statistics, 8 (m^2 n + m n^2) flops a step in all;
every 100 steps eigendecompositions, about 25 (m^3 + n^3) flops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.blocks import (
    BlockOptimizer,
    Shape,
    axis_multiply,
    block_norms,
    identities,
    matrix_shape,
    merged_shape,
    move_axis_gram,
)
from timetrial.algorithms.parts.list_optimizer import adam_denominator
from timetrial.algorithms.parts.matrix_roots import inverse_root
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task

GRAFTED_ONLY_FROM = 1_000_000
"""Tensors with an axis this long have no statistics: embeddings of the click prediction workload."""


class ShampooOptimizer(BlockOptimizer):
    """The update rule above. `lr` multiplies all of the update, decay included.

    `grafting` is "adam" or "sgd". `inverse_root` 0 means 2k. `start` 0 means: the first roots are taken, and used, at
    step `frequency`. A group with `precondition=False` follows the grafted method.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        grafting: str = "adam",
        momentum: float = 0.0,
        nesterov: bool = False,
        use_nadam: bool = False,
        inverse_root: int = 0,
        block_size: int = 1024,
        merge: bool = True,
        frequency: int = 100,
        start: int = 0,
        **further: Any,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            grafting=grafting,
            momentum=momentum,
            nesterov=nesterov,
            use_nadam=use_nadam,
            inverse_root=inverse_root,
            block_size=block_size,
            merge=merge,
            frequency=frequency,
            start=start or frequency,
            precondition=True,
            **further,
        )

    def block_shape(self, group: dict[str, Any], weight: Tensor) -> Shape:
        """Return the shape with small axes merged."""
        if group["merge"]:
            return merged_shape(weight.shape, group["block_size"])
        return tuple(weight.shape) or matrix_shape(weight.shape)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        blocks = self.gather_gradients(group)
        filtered = self._filtered(group, blocks)
        directions = self._grafted_method(group, blocks, filtered)
        if group["precondition"]:
            self._move_statistics(group, blocks)
            if group["step"] >= group["start"]:
                self.refresh_roots(group)
                directions = self._preconditioned(group, filtered, directions)
        updates = self.scatter_updates(group, directions)

        # Never in place: an update may be a view of a gradient.
        if group["weight_decay"]:
            updates = list(torch._foreach_add(updates, weights, alpha=group["weight_decay"]))
        if group["momentum"]:
            trace = self.buffers(weights, "trace")
            torch._foreach_lerp_(trace, updates, 1 - group["momentum"])
            updates = list(torch._foreach_lerp(updates, trace, group["momentum"])) if group["nesterov"] else trace
        torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def refresh_roots(self, group: dict[str, Any]) -> None:
        """Take the roots of the statistics anew, where it is time to."""
        if group["step"] != group["start"] and group["step"] % group["frequency"] != 0:
            return
        correction = 1 - group["betas"][1] ** group["step"]
        for statistics, roots in zip(self.statistics(group), self.roots(group), strict=True):
            for axis, statistic in enumerate(statistics):
                power = group["inverse_root"] or 2 * len(statistics)
                roots[axis] = inverse_root(statistic / correction, power, previous=roots[axis], eps=group["eps"])

    def statistics(self, group: dict[str, Any]) -> list[list[Tensor]]:
        """Return the statistics of each batch (n, d_1, ..., d_k), one for each axis: (n, d_i, d_i)."""
        parameter = group["params"][0]
        return self.kept(
            group,
            "statistics",
            lambda: [[parameter.new_zeros(n, d, d) for d in axes] for n, *axes in self.layout(group).shapes],
        )

    def roots(self, group: dict[str, Any]) -> list[list[Tensor]]:
        """Return the inverse roots, shaped as the statistics; at first the identity."""
        parameter = group["params"][0]
        return self.kept(
            group,
            "roots",
            lambda: [[identities(n, d, parameter) for d in axes] for n, *axes in self.layout(group).shapes],
        )

    def _move_statistics(self, group: dict[str, Any], blocks: list[Tensor]) -> None:
        for batch, statistics in zip(blocks, self.statistics(group), strict=True):
            for axis, statistic in enumerate(statistics):
                move_axis_gram(statistic, batch, axis, group["betas"][1])

    def _filtered(self, group: dict[str, Any], blocks: list[Tensor]) -> list[Tensor]:
        """Return f: the first moment with its bias corrected."""
        beta1 = group["betas"][0]
        if beta1 == 0:
            return blocks
        first = self.kept_zeros(group, "first", blocks)
        torch._foreach_lerp_(first, blocks, 1 - beta1)
        numerator = torch._foreach_lerp(first, blocks, 1 - beta1) if group["use_nadam"] else first
        return list(torch._foreach_div(numerator, 1 - beta1 ** group["step"]))

    def _grafted_method(self, group: dict[str, Any], blocks: list[Tensor], filtered: list[Tensor]) -> list[Tensor]:
        """Return a: the direction of the method whose norm is taken."""
        if group["grafting"] == "sgd":
            return filtered
        beta2 = group["betas"][1]
        second = self.kept_zeros(group, "second", blocks)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, blocks, blocks, 1 - beta2)
        return list(torch._foreach_div(filtered, adam_denominator(second, beta2, group["step"], 1e-8)))

    def _preconditioned(self, group: dict[str, Any], filtered: list[Tensor], grafted: list[Tensor]) -> list[Tensor]:
        directions = []
        for batch, graft, roots in zip(filtered, grafted, self.roots(group), strict=True):
            direction = batch
            for axis, root in enumerate(roots):
                direction = axis_multiply(direction, root, axis)
            directions.append(direction * (block_norms(graft) / (block_norms(direction) + 1e-16)))
        return directions


_NAMES = (
    "learning_rate",
    "one_minus_beta1",
    "one_minus_beta2",
    "weight_decay",
    "grafting",
    "momentum",
    "nesterov",
    "inverse_root",
    "warmup_factor",
    "label_smoothing",
    "dropout_rate",
    "use_nadam",
    "horizon_factor",
)
_SUBMITTED: tuple[tuple[Any, ...], ...] = (
    (1.7486388e-3, 0.06733926, 0.00448403, 0.08121617, "adam", 0.0, False, 0, 0.02, 0.0, 0.1, True, 1.0),
    (1.4381744e-3, 0.02533754, 0.02508024, 1.9716634e-4, "adam", 0.0, False, 0, 0.05, 0.2, 0.0, True, 0.6),
    (4.1994493, 1.0, 0.00237017, 6.4042374e-5, "sgd", 0.96849793, True, 0, 0.02, 0.1, 0.0, False, 1.0),
    (1.2e-3, 0.01661070, 0.00588822, 4.0349948e-4, "adam", 0.5, False, 2, 0.02, 0.1, 0.1, True, 1.0),
    (1.3082098e-3, 0.02686663, 0.00187671, 0.16375311, "adam", 0.0, False, 0, 0.1, 0.1, 0.0, True, 1.0),
)


class DistributedShampoo(ScheduledGradientDescent):
    """Distributed Shampoo on all parameters, linear warm-up and cosine decay to zero."""

    search_space = SearchSpace.from_points([dict(zip(_NAMES, point, strict=True)) for point in _SUBMITTED])
    # The first of the five: it was not entered for self-tuning.
    hyperparameters = dict(zip(_NAMES, _SUBMITTED[0], strict=True))

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file, very long tensors in a group of their own."""
        parameters = [each for each in task.model.parameters() if each.requires_grad]
        long = [each for each in parameters if max(each.shape, default=1) >= GRAFTED_ONLY_FROM]
        others = [each for each in parameters if max(each.shape, default=1) < GRAFTED_ONLY_FROM]
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": long, "precondition": False, "block_size": None, "merge": False},
        ]
        return ShampooOptimizer(
            [group for group in groups if group["params"]],
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, 1 - hyperparameters.one_minus_beta2),
            weight_decay=hyperparameters.weight_decay,
            grafting=hyperparameters.grafting,
            momentum=hyperparameters.momentum,
            nesterov=hyperparameters.nesterov,
            use_nadam=hyperparameters.use_nadam,
            inverse_root=hyperparameters.inverse_root,
        )
