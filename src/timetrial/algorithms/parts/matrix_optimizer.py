"""The base of the rules for weight matrices, and AdamW for all that has none: the Muon family's common ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.algorithms.parts.orthogonal import in_batches, newton_schulz
from timetrial.algorithms.parts.routing import as_matrices, kinds_of
from timetrial.api import ParameterKind, Task

Batched = Callable[[Tensor], Tensor]
"""A function of many matrices of one shape at once, (n, rows, columns)."""


class MatrixOptimizer(ListOptimizer):
    """A rule for weights of two or more axes, convolutions flattened to (out, all the rest).

    `stacks` says of which weights several matrices lie one above the other (`Routes.stacks`): each gets the rule by
    itself. `orthogonalize` is what stands for the polar factor.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        stacks: Mapping[Tensor, int] | None = None,
        orthogonalize: Batched = newton_schulz,
        **defaults: Any,
    ) -> None:
        super().__init__(params, **defaults)
        self.stacks = dict(stacks or {})
        self.orthogonalize = orthogonalize

    def matrices(self, weights: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
        """View what belongs to the weights (momenta, say) as matrices (stack, rows, columns); vectors as one column."""
        return [
            as_matrices(torch.atleast_1d(tensor), self.stacks.get(weight, 1))
            for weight, tensor in zip(weights, tensors, strict=True)
        ]

    def by_matrices(self, weights: list[Tensor], tensors: list[Tensor], rule: Batched) -> list[Tensor]:
        """Apply a rule to what belongs to the weights, matrix by matrix; return it in the weights' shapes."""
        return shaped_like(weights, in_batches(self.matrices(weights, tensors), rule))

    def scaled_polar(
        self, weights: list[Tensor], tensors: list[Tensor], scale: Callable[[int, int], float]
    ) -> list[Tensor]:
        """Return the polar factors of what belongs to the weights, times `scale(rows, columns)`."""
        return self.by_matrices(
            weights, tensors, lambda batch: self.orthogonalize(batch).mul_(scale(*batch.shape[-2:]))
        )


def shaped_like(weights: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """View tensors in the shapes of the weights."""
    return [tensor.reshape(weight.shape) for weight, tensor in zip(weights, tensors, strict=True)]


def original_scale(rows: int, columns: int) -> float:
    """Return sqrt(max(1, rows / columns)), Jordan's scale of a polar factor (spec: algorithms/muon.md)."""
    return math.sqrt(max(1.0, rows / columns))


def match_rms_scale(rows: int, columns: int) -> float:
    """Return 0.2 sqrt(max(rows, columns)), which gives every polar factor entries of RMS 0.2, as AdamW's steps.

    Source: Liu et al. 2025 ("Moonlight", arXiv 2502.16982); spec: algorithms/muon.md.
    """
    return 0.2 * math.sqrt(max(rows, columns))


SCALES: dict[str, Callable[[int, int], float]] = {"original": original_scale, "match_rms": match_rms_scale}


def by_kernel(task: Task, weights: list[Tensor]) -> dict[int, list[Tensor]]:
    """Sort weights by the number of entries of their convolution's kernel, which is 1 for what is no convolution."""
    kinds = kinds_of(task)
    groups: dict[int, list[Tensor]] = {}
    for weight in weights:
        size = weight.shape[2:].numel() if kinds[weight] is ParameterKind.CONV_WEIGHT else 1
        groups.setdefault(size, []).append(weight)
    return groups


def auxiliary_adamw(
    weights: list[Tensor], *, lr: float, betas: tuple[float, float], eps: float = 1e-8, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Return AdamW over weights, which may be none, for `OptimizerChain`."""
    return torch.optim.AdamW(
        [{"params": weights}], lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=True
    )
