"""Modular norm descent: steepest descent under a norm of its own for every layer's role.

Bernstein and Newhouse, "Old optimizer, new norm: an anthology", 2024 (arXiv 2409.20325). Under a norm, steepest descent
goes along T(G), the matrix of norm 1 with the largest <G, T>: signs for the largest entry (Adam and Lion without their
averages), the polar factor for the spectral norm (Shampoo without its averages, Muon), and so on (parts/norms.py). If
the network's norm is the largest of its layers', all layers share one step size:

    M <- b M + (1 - b) G
    W <- (1 - r d) W - r T_l(M)

Stated by the source: the norms, their directions, and operator norms RMS -> RMS for linear layers, l1 -> RMS for
embeddings. Reconstructed (spec: algorithms/old_optimizer_new_norm.md): momentum, decay, numbers, and the norms of

    hidden matrices   rms_to_rms    sqrt(out / in) NS5(M); of convolutions over k^2, as in `scion`
    embeddings        column_rms    of the transpose, since the rows in memory are the columns of the theory
    output            row           rows of length 1
    vectors           column_rms    entries of RMS 1

each of which may be any other of `DIRECTIONS`. The step's length is the schedule's: the true one, the sum over layers
of the dual norms <G, T>, is for exact gradients.

Memory: 1 float a parameter. Work: Muon's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.matrix_optimizer import Batched, MatrixOptimizer, by_kernel
from timetrial.algorithms.parts.norms import DIRECTIONS
from timetrial.algorithms.parts.orthogonal import newton_schulz
from timetrial.algorithms.parts.routing import route
from timetrial.api import (
    Hyperparameters,
    ScheduledGradientDescent,
    SearchSpace,
    Task,
    choice,
    log_uniform,
    warmup_linear,
    warmup_steps,
)


class ModularNormOptimizer(MatrixOptimizer):
    """The update rule above. Each group has a norm of `parts.norms.DIRECTIONS`, and whether it is of the transpose.

    `size` is a factor of the group's steps.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        norm: str = "rms_to_rms",
        transposed: bool = False,
        size: float = 1.0,
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = newton_schulz,
    ) -> None:
        super().__init__(
            params,
            stacks=stacks,
            orthogonalize=orthogonalize,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            norm=norm,
            transposed=transposed,
            size=size,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momenta = self.buffers(weights, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        direction = DIRECTIONS[group["norm"]]

        def steepest(batch: Tensor) -> Tensor:
            if group["transposed"]:
                return direction(batch.mT, self.orthogonalize).mT
            return direction(batch, self.orthogonalize)

        directions = self.by_matrices(weights, momenta, steepest)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-group["lr"] * group["size"])


class ModularNormDescent(ScheduledGradientDescent):
    """A norm for each role; linear decay to zero."""

    # Ours: the norms are the method's, and none published a space.
    search_space = SearchSpace(
        learning_rate=log_uniform(2e-3, 0.1),
        momentum=choice(0.9, 0.95),
        weight_decay=choice(0.0, 0.01, 0.1),
        output_norm=choice("row", "sign"),
        label_smoothing=choice(0.0, 0.1),
        dropout_rate=choice(0.0, 0.1),
    )
    # The sheet's reconstruction; no point was published.
    hyperparameters = {
        "learning_rate": 0.02,
        "momentum": 0.95,
        "weight_decay": 0.01,
        "hidden_norm": "rms_to_rms",
        "embedding_norm": "column_rms",
        "output_norm": "row",
        "vector_norm": "column_rms",
        "label_smoothing": 0.0,
        "dropout_rate": 0.0,
    }

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the rates: up over the warm-up, if there is one, and down linearly."""
        return warmup_linear(step, warmup_steps=warmup_steps(task, hyperparameters), total_steps=task.step_hint)

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the rule with a group for each role, and for each size of kernels."""
        routes = route(task)
        hidden_norm = hyperparameters.hidden_norm
        groups: list[dict[str, Any]] = [
            {
                "params": weights,
                "norm": hidden_norm,
                # sqrt(out / in) / k^2, of the flattened matrix's sqrt(out / (in k^2)).
                "size": 1 / math.sqrt(kernel) if hidden_norm.startswith("rms_to_rms") else 1.0,
            }
            for kernel, weights in by_kernel(task, routes.hidden).items()
        ]
        embedding_norm = hyperparameters.embedding_norm
        groups.append({"params": routes.embeddings, "norm": embedding_norm, "transposed": True})
        groups.append({"params": routes.output, "norm": hyperparameters.output_norm})
        groups.append({"params": routes.vectors, "norm": hyperparameters.vector_norm})
        return ModularNormOptimizer(
            [group for group in groups if group["params"]],
            lr=hyperparameters.learning_rate,
            momentum=hyperparameters.momentum,
            weight_decay=hyperparameters.weight_decay,
            stacks=routes.stacks,
        )
