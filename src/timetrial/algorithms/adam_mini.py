"""Adam-mini: AdamW with one second moment for each block of a tensor.

Zhang et al., "Adam-mini: use fewer learning rates to gain more", 2024 (arXiv 2406.16793). With t counted from 1 and
B the block of an entry (spec: algorithms/adam_mini.md):

    w <- (1 - r d) w
    m <- b1 m + (1 - b1) g;    v_B <- b2 v_B + (1 - b2) mean_B(g^2)
    w <- w - r m / (1 - b1^t) / (sqrt(v_B) / sqrt(1 - b2^t) + eps)

The paper's blocks: a row of an embedding, an output layer, a value or output projection or an MLP; a head of a query
or key projection; the whole of a norm's gain; each entry of a bias. Norms and biases do not decay. The public code
tells tensors by their names. Here, by kind and shape: a row (first axis: output neuron or channel, row of an LSTM's
gates) of every weight of two or more axes. Heads are not taken together, since a parameter does not tell how many it
has: query and key have a block a row, which is finer than the paper's.

Memory: 1 float a parameter, and 1 a block. Extra work: a mean of each block; no root of each entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator
from timetrial.algorithms.parts.routing import kinds_of, route
from timetrial.api import Hyperparameters, ParameterKind, Task

_GAINS = (ParameterKind.BATCH_NORM_SCALE, ParameterKind.LAYER_NORM_SCALE)


class AdamMiniOptimizer(ListOptimizer):
    """The update rule above; a group's `blocks` are "rows", "tensors" or "entries"."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        blocks: str = "rows",
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, blocks=blocks)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        squares = block_means(gradients, group["blocks"])
        first = self.buffers(weights, "first")
        rate, (beta1, beta2), step = group["lr"], group["betas"], group["step"]
        shapes = {weight: square.shape for weight, square in zip(weights, squares, strict=True)}
        second = self.buffers(weights, "second", lambda weight: weight.new_zeros(shapes[weight]))

        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_lerp_(second, squares, 1 - beta2)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        denominator = adam_denominator(second, beta2, step, group["eps"])
        torch._foreach_addcdiv_(weights, first, denominator, -rate / (1 - beta1**step))


def block_means(gradients: list[Tensor], blocks: str) -> list[Tensor]:
    """Return the mean of g^2 over each block; axes that blocks span stay with length 1."""
    if blocks == "entries":
        return list(torch._foreach_mul(gradients, gradients))
    first = 1 if blocks == "rows" else 0
    means = []
    for gradient in gradients:
        length = torch.linalg.vector_norm(gradient, dim=tuple(range(first, gradient.ndim)), keepdim=True)
        means.append(length.square() * (length.numel() / gradient.numel()))
    return means


class AdamMini(AdamW):
    """Adam-mini on all parameters, with AdamW's schedule: linear warm-up and cosine decay to zero."""

    # The search space is AdamW's, whose rates the paper says to take. The point: the paper's moments and decay.
    hyperparameters = {**AdamW.hyperparameters, "beta2": 0.95, "weight_decay": 0.1}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file, with a group for each way to be cut in blocks."""
        routes = route(task)
        kinds = kinds_of(task)
        rows = [*routes.hidden, *routes.embeddings, *routes.output]
        gains = [vector for vector in routes.vectors if vector.ndim == 1 and kinds[vector] in _GAINS]
        entries = [vector for vector in routes.vectors if vector.ndim == 0 or kinds[vector] not in _GAINS]
        groups = (
            {"params": rows, "blocks": "rows", "weight_decay": hyperparameters.weight_decay},
            {"params": gains, "blocks": "tensors"},
            {"params": entries, "blocks": "entries"},
        )
        return AdamMiniOptimizer(
            [group for group in groups if group["params"]],
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
        )
