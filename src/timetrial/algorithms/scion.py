"""Scion: steps to the corner of a norm ball for every layer, which keeps the weights inside the ball.

Pethick, Xie, Antonakopoulos, Zhu, Silveti-Falls and Cevher, "Training deep learning models with norm-constrained LMOs",
2025 (arXiv 2502.07529). Each layer has a norm and a radius rho; v is the norm's steepest direction (parts/norms.py):

    a <- (1 - alpha) a + alpha g
    W <- (1 - r) W - r rho v(a)                (unconstrained: W <- W - r rho v(a))

alpha weighs the *new* gradient. Layers and norms, m x n = (out, in):

    hidden matrices        RMS -> RMS operator norm     v = sqrt(m / n) NS5(a)
    convolutions           the same, (out, in x k^2)    v = sqrt(out / in) / k^2 NS5(a)
    embeddings, output     largest entry times n        v = sign(a) / n
    vectors                RMS                          v = a / RMS(a)

Convolutions' v is that of the flattened matrix over sqrt(k^2), that is, the flattened ball of radius rho / k.

Where the weights start is part of the method: on the ball, at rho times a semi-orthogonal matrix times v's scale, or
rho times random signs over n; biases at zero.

Ours: the output layer starts at zero, inside its ball, unless it shares the embedding, since logits of random signs
times rho are in the hundreds. Norm gains, and vectors of no known kind, are never drawn to zero, and all vectors have
radius 1: the authors' networks have none. Embeddings have n = width in the layout (rows, width), as where they are
shared.

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
from timetrial.algorithms.parts.routing import BIASES, Routes, as_matrices, kinds_of, route
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


class ScionOptimizer(MatrixOptimizer):
    """The update rule above. Each group has a norm of `parts.norms.DIRECTIONS`, a radius, and is constrained or not."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        averaging: float = 0.1,
        radius: float = 1.0,
        norm: str = "rms_to_rms",
        constrained: bool = True,
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = newton_schulz,
    ) -> None:
        super().__init__(
            params,
            stacks=stacks,
            orthogonalize=orthogonalize,
            lr=lr,
            averaging=averaging,
            radius=radius,
            norm=norm,
            constrained=constrained,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        averages = self.buffers(weights, "average")
        torch._foreach_lerp_(averages, gradients, group["averaging"])
        direction = DIRECTIONS[group["norm"]]
        corners = self.by_matrices(weights, averages, lambda batch: direction(batch, self.orthogonalize))
        if group["constrained"]:
            torch._foreach_mul_(weights, 1 - group["lr"])
        torch._foreach_add_(weights, corners, alpha=-group["lr"] * group["radius"])


@torch.no_grad()
def put_on_ball(weight: Tensor, *, norm: str, radius: float, stack: int, generator: torch.Generator) -> None:
    """Set a weight to `radius` times a random point of the unit sphere of the norm `rms_to_rms` or `sign`."""
    matrices = torch.empty(as_matrices(weight, stack).shape, dtype=torch.float32)
    if norm == "sign":
        matrices.bernoulli_(0.5, generator=generator).mul_(2).sub_(1).div_(matrices.shape[-1])
    else:
        for matrix in matrices:
            torch.nn.init.orthogonal_(matrix, gain=math.sqrt(matrix.shape[0] / matrix.shape[1]), generator=generator)
    weight.copy_(radius * matrices.reshape(weight.shape))


class Scion(ScheduledGradientDescent):
    """Constrained Scion on all parameters, with its initialisation; linear decay to zero."""

    # Ours, from the least to the largest of what was published for language models, vision and a small MLP.
    search_space = SearchSpace(
        learning_rate=log_uniform(8e-5, 2**-6),
        averaging=choice(0.1, 0.5),
        hidden_radius=choice(1.0, 8.0, 50.0),
        output_radius=choice(128.0, 1024.0, 3000.0),
        label_smoothing=choice(0.0, 0.1),
        dropout_rate=choice(0.0, 0.1),
    )
    # The published radii for vision, averaging of most runs, and a rate of the geometric middle of the runs: no point
    # was published for mixed workloads.
    hyperparameters = {
        "learning_rate": 2**-9,
        "averaging": 0.1,
        "hidden_radius": 8.0,
        "output_radius": 128.0,
        "label_smoothing": 0.0,
        "dropout_rate": 0.0,
    }
    constrained = True

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the rates: up over the warm-up, if there is one, and down linearly."""
        return warmup_linear(step, warmup_steps=warmup_steps(task, hyperparameters), total_steps=task.step_hint)

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the rule with a group for each norm and radius; put the weights where the method starts."""
        routes = route(task)
        groups = self._groups(task, routes, hyperparameters)
        output = set(routes.output)
        for group in groups:
            for weight in group["params"]:
                if weight in output:
                    torch.nn.init.zeros_(weight)
                elif weight.ndim > 1:
                    put_on_ball(
                        weight,
                        norm=group["norm"],
                        radius=group["radius"],
                        stack=routes.stacks.get(weight, 1),
                        generator=task.generator,
                    )
                elif group["constrained"]:
                    torch.nn.init.zeros_(weight)
        return ScionOptimizer(
            groups, lr=hyperparameters.learning_rate, averaging=hyperparameters.averaging, stacks=routes.stacks
        )

    def _groups(self, task: Task, routes: Routes, hyperparameters: Hyperparameters) -> list[dict[str, Any]]:
        kinds = kinds_of(task)
        groups: list[dict[str, Any]] = [
            {
                "params": weights,
                "norm": "rms_to_rms",
                "radius": hyperparameters.hidden_radius / math.sqrt(kernel),
                "constrained": self.constrained,
            }
            for kernel, weights in by_kernel(task, routes.hidden).items()
        ]
        groups.append(
            {
                "params": [*routes.embeddings, *routes.output],
                "norm": "sign",
                "radius": hyperparameters.output_radius,
                "constrained": self.constrained,
            }
        )
        biases = [weight for weight in routes.vectors if kinds[weight] in BIASES]
        gains = [weight for weight in routes.vectors if kinds[weight] not in BIASES]
        # A vector is a matrix of one column.
        groups.append({"params": biases, "norm": "column_rms", "radius": 1.0, "constrained": self.constrained})
        groups.append({"params": gains, "norm": "column_rms", "radius": 1.0, "constrained": False})
        return [group for group in groups if group["params"]]
