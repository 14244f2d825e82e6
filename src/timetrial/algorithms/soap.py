"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's statistics.

Vyas et al., "SOAP: improving and stabilizing Shampoo using Adam", 2024 (arXiv 2409.11321), as its reference code
(`nikhilvyas/SOAP`). For a matrix of gradient G, with M kept in the rotated basis and s counting updates from 1:

    first step: L = (1 - b2) G G^T, R = (1 - b2) G^T G, Q_L and Q_R their eigenvectors; nothing is moved
    G' = Q_L^T G Q_R;    M <- b1 M + (1 - b1) G';    V <- b2 V + (1 - b2) G'^2
    W <- W - r sqrt(1 - b2^s) / (1 - b1^s) Q_L (M / (sqrt(V) + eps)) Q_R^T;    then W <- (1 - r d) W
    L <- b2 L + (1 - b2) G G^T;    R <- b2 R + (1 - b2) G^T G
    every 10 updates, of each side: order Q's columns, and V along with them, by falling diag(Q^T S Q);
        Q <- the orthogonal factor of S Q (one power iteration); M turns from the old basis into the new one, V does not

An axis longer than 10000 is not rotated, nor are the rows of an embedding. Tensors of one axis follow Adam with the
same corrections. All of this is stated by the source (spec: algorithms/soap.md), but for one thing: it keeps four
statistics of a convolution; we see its weight as a matrix (out, in times the window), as the sheet says.

Memory: M, V, L, R, Q_L, Q_R: for a square matrix 6 floats a parameter. Work: four products with the bases and two for
the statistics, 12 (m^2 n + m n^2) flops a step or less; every 10 steps products and a QR decomposition, about
6 (m^3 + n^3) flops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.blocks import BlockOptimizer, axis_gram, axis_multiply, move_axis_gram
from timetrial.algorithms.parts.list_optimizer import adam_moments
from timetrial.algorithms.parts.matrix_roots import eigh
from timetrial.algorithms.parts.routing import route
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform


class SOAPOptimizer(BlockOptimizer):
    """The update rule above. A group may say which axes are rotated, as `axes`."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        frequency: int = 10,
        longest: int = 10_000,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            frequency=frequency,
            longest=longest,
            axes=(0, 1),
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        blocks = self.gather_gradients(group)
        if group["step"] == 1:
            self._begin(group, blocks)
            return
        updates, (beta1, beta2) = group["step"] - 1, group["betas"]
        first, second = self.kept_zeros(group, "first", blocks), self.kept_zeros(group, "second", blocks)
        adam_moments(first, second, self._rotated(group, blocks), beta1, beta2)
        denominator = torch._foreach_sqrt(second)
        torch._foreach_add_(denominator, group["eps"])
        directions = self._rotated_back(group, list(torch._foreach_div(first, denominator)))

        rate = group["lr"] * (1 - beta2**updates) ** 0.5 / (1 - beta1**updates)
        torch._foreach_add_(weights, self.scatter_updates(group, directions), alpha=-rate)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        for batch, statistics in zip(blocks, self._statistics(group, blocks), strict=True):
            for axis, statistic in statistics.items():
                move_axis_gram(statistic, batch, axis, beta2)
        if updates % group["frequency"] == 0:
            self._turn(group, blocks)

    def _begin(self, group: dict[str, Any], blocks: list[Tensor]) -> None:
        """Take the first gradient's statistics and their eigenvectors, largest eigenvalue first."""
        self.kept(
            group,
            "bases",
            lambda: [
                {axis: eigh(statistic)[1].flip(-1).contiguous() for axis, statistic in statistics.items()}
                for statistics in self._statistics(group, blocks)
            ],
        )

    def _statistics(self, group: dict[str, Any], blocks: list[Tensor]) -> list[dict[int, Tensor]]:
        """Return the statistics of each batch, by axis; they start from the batches given."""

        def start(batch: Tensor) -> dict[int, Tensor]:
            sides = group["axes"] if batch.ndim == 3 else ()
            short = [axis for axis in sides if batch.shape[axis + 1] <= group["longest"]]
            return {axis: (1 - group["betas"][1]) * axis_gram(batch, axis) for axis in short}

        return self.kept(group, "statistics", lambda: [start(batch) for batch in blocks])

    def _bases(self, group: dict[str, Any]) -> list[dict[int, Tensor]]:
        return self.state[group["params"][0]]["bases"]

    def _rotated(self, group: dict[str, Any], batches: list[Tensor]) -> list[Tensor]:
        """Return the batches in the eigenbasis: Q_L^T X Q_R."""
        return [
            _multiply(batch, bases, transpose=True) for batch, bases in zip(batches, self._bases(group), strict=True)
        ]

    def _rotated_back(self, group: dict[str, Any], batches: list[Tensor]) -> list[Tensor]:
        """Return what was rotated as it was: Q_L X Q_R^T."""
        return [_multiply(batch, bases) for batch, bases in zip(batches, self._bases(group), strict=True)]

    def _turn(self, group: dict[str, Any], blocks: list[Tensor]) -> None:
        """Turn the bases by one power iteration, the first moment with them."""
        firsts, seconds = self.kept_zeros(group, "first", blocks), self.kept_zeros(group, "second", blocks)
        all_statistics = self._statistics(group, blocks)
        for first, second, statistics, bases in zip(firsts, seconds, all_statistics, self._bases(group), strict=True):
            still = _multiply(first, bases)
            for axis, statistic in statistics.items():
                basis = bases[axis]
                product = statistic @ basis
                order = (basis * product).sum(dim=-2).argsort(dim=-1, descending=True)
                bases[axis] = torch.linalg.qr(product.gather(-1, order[:, None, :].expand_as(product)))[0]
                place = order[:, :, None] if axis == 0 else order[:, None, :]
                second.copy_(second.gather(axis + 1, place.expand_as(second)))
            first.copy_(_multiply(still, bases, transpose=True))


def _multiply(batch: Tensor, matrices: dict[int, Tensor], *, transpose: bool = False) -> Tensor:
    for axis, matrix in matrices.items():
        batch = axis_multiply(batch, matrix.mT if transpose else matrix, axis)
    return batch


class SOAP(ScheduledGradientDescent):
    """SOAP on all parameters, linear warm-up and cosine decay to zero."""

    # Ours, around the published point: SOAP was not entered, and no space was published.
    search_space = SearchSpace(
        learning_rate=log_uniform(3e-4, 1e-2),
        one_minus_beta1=log_uniform(0.02, 0.2),
        beta2=choice(0.95, 0.99),
        weight_decay=log_uniform(0.005, 1.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The reference code's defaults; smoothing, dropout and the warm-up are the self-tuning NAdamW baseline's.
    hyperparameters = {
        "learning_rate": 3e-3,
        "one_minus_beta1": 0.05,
        "beta2": 0.95,
        "weight_decay": 0.01,
        "warmup_factor": 0.02,
        "label_smoothing": 0.0,
        "dropout_rate": 0.1,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file, embeddings in a group whose rows are not rotated."""
        routes = route(task)
        groups: list[dict[str, Any]] = [
            {"params": [*routes.hidden, *routes.output, *routes.vectors]},
            {"params": routes.embeddings, "axes": (1,)},
        ]
        return SOAPOptimizer(
            [group for group in groups if group["params"]],
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
        )
