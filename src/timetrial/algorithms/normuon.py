"""NorMuon: Muon whose rows (neurons) are brought to equal size by a running second moment.

Li et al., "NorMuon: making Muon more efficient and scalable", 2025 (arXiv 2510.05491). With U = NS5 of Muon's Nesterov
momentum, for each row i of an m x n = (out, in) matrix:

    v_i <- b2 v_i + (1 - b2) mean_j U_ij^2                     (not corrected for its start)
    N = U / (sqrt(v) + 1e-10);    N <- N |U| / (|N| + 1e-10)   (Frobenius norms: the step is as long as Muon's)
    W <- (1 - r d) W - r sqrt(max(1, m / n)) N

This is the reference code's form; the paper's text scales each step to entries of RMS 0.2 instead (`scale`).

Memory: 1 + 1 / n floats a parameter in matrices, 2 elsewhere. Work: Muon's and a few passes over the matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.muon import Muon, MuonOptimizer
from timetrial.algorithms.parts.matrix_optimizer import SCALES, shaped_like
from timetrial.algorithms.parts.orthogonal import in_batches
from timetrial.algorithms.parts.routing import Routes
from timetrial.api import Hyperparameters, SearchSpace, choice, log_uniform

_EPS = 1e-10


class NorMuonOptimizer(MuonOptimizer):
    """The update rule above, for weights of two or more axes."""

    def __init__(self, *args: Any, beta2: float = 0.95, **options: Any) -> None:
        super().__init__(*args, beta2=beta2, **options)

    def directions(self, group: dict[str, Any], weights: list[Tensor], momenta: list[Tensor]) -> list[Tensor]:
        """Return the momenta's polar factors with their rows normalised, scaled."""
        polar = in_batches(self.matrices(weights, momenta), self.orthogonalize)
        squares = in_batches(polar, lambda factors: factors.square().mean(dim=-1, keepdim=True))
        second = self.buffers(weights, "second", self._row_zeros)
        torch._foreach_lerp_(second, squares, 1 - group["beta2"])
        scale = SCALES[group["scale"]]

        def normalised(factors: Tensor, second: Tensor) -> Tensor:
            rows = factors / (second.sqrt() + _EPS)
            before, after = (torch.linalg.matrix_norm(matrices, keepdim=True) for matrices in (factors, rows))
            return rows.mul_(scale(*rows.shape[-2:]) * before / (after + _EPS))

        return shaped_like(weights, in_batches(polar, normalised, second))

    def _row_zeros(self, weight: Tensor) -> Tensor:
        stack = self.stacks.get(weight, 1)
        return weight.new_zeros(stack, len(weight) // stack, 1)


class NorMuon(Muon):
    """NorMuon on hidden matrices and convolutions, AdamW on the rest; Muon's schedule."""

    # Ours, around the published points: none published a space.
    search_space = SearchSpace(
        learning_rate=log_uniform(4e-3, 1e-1),
        auxiliary_learning_rate=log_uniform(3e-4, 1e-2),
        momentum=choice(0.95),
        weight_decay=choice(0.0, 0.025, 0.1),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1),
        dropout_rate=choice(0.0, 0.1),
    )
    # Rates, momentum, second moment and decay as published, and Muon's auxiliary AdamW; the rest as `muon`, since no
    # point was published for the benchmark.
    hyperparameters = {
        "learning_rate": 0.02,
        "auxiliary_learning_rate": 3e-4,
        "momentum": 0.95,
        "row_beta2": 0.95,
        "weight_decay": 0.0,
        "beta1": 0.9,
        "beta2": 0.95,
        "scale": "original",
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.1,
    }

    def matrix_optimizer(self, routes: Routes, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the rule for hidden matrices."""
        return NorMuonOptimizer(
            [{"params": routes.hidden}],
            lr=hyperparameters.learning_rate,
            momentum=hyperparameters.momentum,
            beta2=hyperparameters.row_beta2,
            weight_decay=hyperparameters.weight_decay,
            scale=hyperparameters.scale,
            stacks=routes.stacks,
        )
