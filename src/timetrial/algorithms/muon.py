"""Muon: momentum orthogonalised by Newton-Schulz on hidden matrices, AdamW on the rest.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024 (blog); the scale `match_rms` by Liu et
al., "Muon is scalable for LLM training", 2025 (arXiv 2502.16982). For an m x n = (out, in) matrix with gradient g:

    b <- mu b + (1 - mu) g
    u = (1 - mu) g + mu b                      (Nesterov; without it u = b)
    W <- (1 - r d) W - r s NS5(u)              s = sqrt(max(1, m / n)), or 0.2 sqrt(max(m, n)) to match AdamW's RMS

NS5 is five steps of a quintic that sends the singular values to about 1 (parts/orthogonal.py). The buffer is an
average; a sum, as in other forms, gives the same steps, since NS5 does not see scale. Convolutions are flattened to
(out, in x kernel), and s is that of the flattened shape; fused projections are split into their matrices.

The default point is the benchmark's entry `muon_torch_replicated_torch_hps` (spec: algorithms/algoperf_submissions.md,
4), which takes s of a convolution from its first two axes instead. This is not `torch.optim.Muon`, which has neither
convolutions nor batches, and computes in bfloat16 on a CPU too.

Memory: 1 float a parameter in matrices, 2 elsewhere. Work: five times three matrix products a matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.matrix_optimizer import SCALES, Batched, MatrixOptimizer, auxiliary_adamw
from timetrial.algorithms.parts.orthogonal import newton_schulz
from timetrial.algorithms.parts.routing import OptimizerChain, Routes, route
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform


class MuonOptimizer(MatrixOptimizer):
    """The update rule above, for weights of two or more axes."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        nesterov: bool = True,
        scale: str = "original",
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = newton_schulz,
        **defaults: Any,
    ) -> None:
        super().__init__(
            params,
            stacks=stacks,
            orthogonalize=orthogonalize,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=nesterov,
            scale=scale,
            **defaults,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momenta = self.buffers(weights, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
        directions = self.directions(group, weights, list(ahead))
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-group["lr"])

    def directions(self, group: dict[str, Any], weights: list[Tensor], momenta: list[Tensor]) -> list[Tensor]:
        """Return the scaled polar factors of the momenta."""
        return self.scaled_polar(weights, momenta, SCALES[group["scale"]])


class Muon(ScheduledGradientDescent):
    """Muon on hidden matrices and convolutions, AdamW on the rest; linear warm-up and cosine decay to zero."""

    # Ours, around the published points: none published a space.
    search_space = SearchSpace(
        learning_rate=log_uniform(2e-3, 5e-2),
        auxiliary_learning_rate=log_uniform(3e-4, 1e-2),
        momentum=choice(0.9, 0.95),
        weight_decay=choice(0.0, 0.01, 0.1),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1),
        dropout_rate=choice(0.0, 0.1),
    )
    hyperparameters = {
        "learning_rate": 0.01,
        "auxiliary_learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "scale": "original",
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.1,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the matrix rule on what is hidden and AdamW on the rest."""
        routes = route(task)
        return OptimizerChain(
            [
                self.matrix_optimizer(routes, hyperparameters),
                auxiliary_adamw(
                    routes.others,
                    lr=hyperparameters.auxiliary_learning_rate,
                    betas=(hyperparameters.beta1, hyperparameters.beta2),
                    weight_decay=hyperparameters.weight_decay,
                ),
            ]
        )

    def matrix_optimizer(self, routes: Routes, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the rule for hidden matrices."""
        return MuonOptimizer(
            [{"params": routes.hidden}],
            lr=hyperparameters.learning_rate,
            momentum=hyperparameters.momentum,
            weight_decay=hyperparameters.weight_decay,
            scale=hyperparameters.scale,
            stacks=routes.stacks,
        )
