"""CASPR adaptive: a matrix whitened on the left, then on the right what is left of it; NAdam's length is grafted on.

Duvvuri et al., "Combining axes preconditioners through Kronecker approximation for deep learning", ICLR 2024, in the
sequential two-sided form that was submitted to AlgoPerf. For an m x n block of gradient G, P_L = P_R = I at first:

    L <- b2 L + (1 - b2) G G^T                        (from 1e-6 I)
    A = G^T P_L;    R <- b2 R + (1 - b2) A A^T / m    (from I)
    every 20 steps:  P_L = ridged(L)^(-1/2), P_R = ridged(R)^(-1/2);
                     R <- tr(P_L ridged(L') P_L) / m R,    L' being what L was 20 steps ago
    m <- b1 m + (1 - b1) G;    v <- b2 v + (1 - b2) G^2
    f = (b1 m + (1 - b1) G) / (1 - b1^t);    a = f / (sqrt(v / (1 - b2^t)) + 1e-8)
    d = P_L f P_R, scaled to the norm of a over the whole tensor;    before step 102: d = a
    W <- W - r (d + decay W)

A ridge is 1e-6 times the largest eigenvalue. R is a mean over gradients that the earlier P_L whitened, to a trace of m;
where the new one would have whitened them to another, it is as if it had. Convolutions are seen as matrices (out, in
times the window) and matrices are cut into blocks of at most 1024; tensors of one axis, and those with an axis longer
than 40000, follow NAdam alone. The submission's matrices are JAX's, (in, out), so that its left side is our right.

Sources: spec, algorithms/caspr.md; for what it leaves open, the submission itself (when roots are taken, L', the
ridge). Its nested cosine is replaced by the plain one. Its coupled Newton iteration finds the roots on accelerators; on
a CPU an eigendecomposition finds the same ones sooner.

Memory: m, v, L, L', R, P_L, P_R: for a square block 7 floats a parameter. Work: as Distributed Shampoo's and one
product more, 8 m^2 n + 4 m n^2 + 2 m n^2 flops a step; roots every 20 steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.nadamw import NAdamW, NAdamWOptimizer
from timetrial.algorithms.nadamw_baseline import FIVE_POINTS
from timetrial.algorithms.parts.blocks import BlockOptimizer, identities, matrix_shape, move_axis_gram
from timetrial.algorithms.parts.list_optimizer import adam_denominator, adam_moments
from timetrial.algorithms.parts.matrix_roots import inverse_root, largest_eigenvalue, newton_inverse_root
from timetrial.algorithms.parts.routing import OptimizerChain
from timetrial.api import Hyperparameters, SearchSpace, Task

LONGEST = 40_000
"""Tensors with a longer axis follow NAdam (spec: algorithms/caspr.md)."""

_RIDGE = 1e-6


class CASPROptimizer(BlockOptimizer):
    """The update rule above, for weights of two or more axes."""

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        block_size: int = 1024,
        frequency: int = 20,
        start: int = 102,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            block_size=block_size,
            frequency=frequency,
            start=start,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        step, (beta1, beta2) = group["step"], group["betas"]
        blocks = self.gather_gradients(group)
        self._move_statistics(group, blocks)
        if step % group["frequency"] == 0:
            self._refresh_roots(group)

        first, second = self.kept_zeros(group, "first", blocks), self.kept_zeros(group, "second", blocks)
        adam_moments(first, second, blocks, beta1, beta2)
        filtered = torch._foreach_lerp(first, blocks, 1 - beta1)
        torch._foreach_div_(filtered, 1 - beta1**step)
        nadam = torch._foreach_div(filtered, adam_denominator(second, beta2, step, 1e-8))
        updates = self.scatter_updates(group, nadam)
        if step >= group["start"]:
            roots = zip(self._roots(group, "left"), self._roots(group, "right"), strict=True)
            whitened = [left @ batch @ right for batch, (left, right) in zip(filtered, roots, strict=True)]
            norms = torch._foreach_norm(updates)
            updates = self.scatter_updates(group, whitened)
            torch._foreach_div_(norms, [norm.clamp_min(1e-30) for norm in torch._foreach_norm(updates)])
            updates = list(torch._foreach_mul(updates, norms))
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _move_statistics(self, group: dict[str, Any], blocks: list[Tensor]) -> None:
        beta2 = group["betas"][1]
        sides = zip(self._statistics(group, "left"), self._statistics(group, "right"), strict=True)
        for batch, root, (left, right) in zip(blocks, self._roots(group, "left"), sides, strict=True):
            move_axis_gram(left, batch, 0, beta2)
            move_axis_gram(right, root @ batch / batch.shape[1] ** 0.5, 1, beta2)

    def _refresh_roots(self, group: dict[str, Any]) -> None:
        for side in ("left", "right"):
            roots = self._roots(group, side)
            for index, statistic in enumerate(self._statistics(group, side)):
                roots[index] = _inverse_square_root(statistic, previous=roots[index])
        rooted = self.kept(group, "rooted left statistics", lambda: self._first_statistics(group, "left"))
        sides = zip(self._statistics(group, "left"), self._statistics(group, "right"), strict=True)
        for root, before, (left, right) in zip(self._roots(group, "left"), rooted, sides, strict=True):
            right.mul_(_trace_whitened(root, before) / root.shape[-1])
            before.copy_(left)

    def _statistics(self, group: dict[str, Any], side: str) -> list[Tensor]:
        return self.kept(group, f"{side} statistics", lambda: self._first_statistics(group, side))

    def _first_statistics(self, group: dict[str, Any], side: str) -> list[Tensor]:
        scale = _RIDGE if side == "left" else 1.0
        return [scale * each for each in self._identities(group, side)]

    def _roots(self, group: dict[str, Any], side: str) -> list[Tensor]:
        return self.kept(group, f"{side} roots", lambda: self._identities(group, side))

    def _identities(self, group: dict[str, Any], side: str) -> list[Tensor]:
        like = group["params"][0]
        return [identities(n, m if side == "left" else k, like) for n, m, k in self.layout(group).shapes]


def _inverse_square_root(statistics: Tensor, *, previous: Tensor) -> Tensor:
    # Of matrices whose mean eigenvalue is 1, since squares of small gradients are next to nothing.
    mean = statistics.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[:, None, None].clamp_min(1e-30)
    scaled = statistics / mean
    ridged = scaled + _ridge(scaled) * torch.eye(scaled.shape[-1], dtype=scaled.dtype, device=scaled.device)
    if ridged.device.type == "cpu":
        root = inverse_root(ridged, 2, previous=previous * mean.sqrt())
    else:
        root = newton_inverse_root(ridged, 2, previous=previous * mean.sqrt())
    return root / mean.sqrt()


def _trace_whitened(root: Tensor, statistics: Tensor) -> Tensor:
    """Return tr(P (L + ridge I) P) of symmetric P and L, (n, 1, 1), with one product instead of two."""
    trace = ((root @ statistics) * root).sum(dim=(1, 2), keepdim=True)
    return trace + _ridge(statistics) * root.square().sum(dim=(1, 2), keepdim=True)


def _ridge(statistics: Tensor) -> Tensor:
    return _RIDGE * largest_eigenvalue(statistics)


class CASPR(NAdamW):
    """CASPR adaptive on tensors of two or more axes, NAdamW on the others; linear warm-up and cosine decay to zero."""

    # The five points of the NAdamW baseline (spec: algorithms/nadamw_and_adam_family.md, 2), as it was submitted.
    search_space = SearchSpace.from_points(FIVE_POINTS)
    # The fifth, which is the self-tuning NAdamW baseline: CASPR was not entered there.
    hyperparameters = FIVE_POINTS[4]

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return CASPR for the matrices, NAdamW for what is no matrix or too long."""
        parameters = [each for each in task.model.parameters() if each.requires_grad]
        matrices = [each for each in parameters if each.ndim > 1 and max(matrix_shape(each.shape)) <= LONGEST]
        chosen = set(matrices)
        options = {
            "lr": hyperparameters.learning_rate,
            "betas": (1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            "weight_decay": hyperparameters.weight_decay,
        }
        builders = ((CASPROptimizer, matrices), (NAdamWOptimizer, [each for each in parameters if each not in chosen]))
        return OptimizerChain(build(weights, **options) for build, weights in builders if weights)
