"""PSGD-Kron: momentum whitened by two triangular factors that are learned as it trains.

Li, "Preconditioned stochastic gradient descent", 2015 (arXiv 1512.04202), and "Stochastic Hessian fittings with Lie
groups", 2024 (arXiv 2402.04553), in the form of `evanatyourservice/kron_torch`. For an m x n matrix, Q_l = Q_r = I
at first, t counted from 1:

    m <- b m + (1 - b) G;    M = m / (1 - b^t)
    at an update of the factors, V standard normal, E = M + sqrt(1.19e-7) mean|M| V:
        A = Q_l E Q_r^T;    B = Q_l^-T V Q_r^-1
        Q_l <- Q_l - u triu(A A^T - B B^T) Q_l / |A A^T + B B^T|
        Q_r <- Q_r - u triu(A^T A - B^T B) Q_r / |A^T A + B^T B|        |.| a lower bound of the spectral norm
        in one of a hundred, factors are scaled so that their largest entries are alike
    D = Q_l^T Q_l M Q_r^T Q_r, scaled down to a root mean square of 1.1 where it is larger
    W <- W - r (D + d W), decay on tensors of two or more axes only

A factor is diagonal where its axis is longer than 8192 or has one entry, and where the tensor has one axis. Tensors of
three or more axes are seen as the squarest matrix. Factors are updated at every step for 500 steps, then less and less
often, from about step 4000 on at 3 of 100. All of this is stated by the source (spec: algorithms/psgd_kron.md).

Memory: m, Q_l, Q_r: for a square matrix 3 floats a parameter. Work: four products with the factors, 4 (m^2 n + m n^2)
flops a step; at an update two more, two triangular solves, four products for the statistics and m^3 + n^3.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.blocks import BlockOptimizer, Shape, axis_gram, axis_multiply, block_norms, identities
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform

_NOISE = 1.1920928955078125e-07**0.5
"""The square root of float32's epsilon."""


class PSGDKronOptimizer(BlockOptimizer):
    """The update rule above. Its random draws at a step depend on `seed` and the step alone."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 3e-4,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        factor_lr: float = 0.1,
        longest: int = 8192,
        seed: int = 0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            factor_lr=factor_lr,
            longest=longest,
            seed=seed,
            since_update=0,
        )

    def block_shape(self, group: dict[str, Any], weight: Tensor) -> Shape:
        """Return the shape of the squarest matrix that joins neighbouring axes, or (size,)."""
        if weight.ndim < 2:
            return (weight.numel(),)
        splits = [(math.prod(weight.shape[:split]), math.prod(weight.shape[split:])) for split in range(1, weight.ndim)]
        return min(splits, key=lambda split: max(split) / min(split))

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        blocks, step = self.gather_gradients(group), group["step"]
        first = self.kept_zeros(group, "first", blocks)
        torch._foreach_lerp_(first, blocks, 1 - group["momentum"])
        momenta = list(torch._foreach_div(first, 1 - group["momentum"] ** step))
        factors = self.factors(group, blocks)

        group["since_update"] += 1
        if group["since_update"] >= 1 / update_probability(step - 1):
            group["since_update"] = 0
            self._update_factors(group, momenta, factors)
        directions = [precondition(batch, own) for batch, own in zip(momenta, factors, strict=True)]

        if group["weight_decay"]:
            decayed = [weight for weight in weights if weight.ndim > 1]
            if decayed:
                torch._foreach_mul_(decayed, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, self.scatter_updates(group, directions), alpha=-group["lr"])

    def factors(self, group: dict[str, Any], blocks: list[Tensor]) -> list[list[Tensor]]:
        """Return the factors of each batch, one for each axis: triangular (n, d, d) or diagonal (n, d)."""

        def start(batch: Tensor) -> list[Tensor]:
            count, *sizes = batch.shape
            diagonal = [len(sizes) == 1 or size == 1 or size > group["longest"] for size in sizes]
            return [
                batch.new_ones(count, size) if plain else identities(count, size, batch)
                for size, plain in zip(sizes, diagonal, strict=True)
            ]

        return self.kept(group, "factors", lambda: [start(batch) for batch in blocks])

    def _update_factors(self, group: dict[str, Any], momenta: list[Tensor], factors: list[list[Tensor]]) -> None:
        # Of a step's own seed, so that nothing random need be saved; on the device, so that nothing is copied.
        seed = group["seed"] * 1_000_003 + group["step"]
        generator = torch.Generator(device=momenta[0].device).manual_seed(seed)
        for batch, own in zip(momenta, factors, strict=True):
            noise = torch.randn(batch.shape, generator=generator, dtype=batch.dtype, device=batch.device)
            size = batch.abs().mean(dim=tuple(range(1, batch.ndim)), keepdim=True)
            update_factors(own, batch + _NOISE * size * noise, noise, group["factor_lr"])
        if random.Random(seed).random() < 0.01:
            for own in factors:
                _balance(own)


def update_probability(step: int) -> float:
    """Return how often factors are updated around the zero-based `step`: of every so many steps, one."""
    return min(max(math.exp(-0.001 * (step - 500)), 0.03), 1.0)


def update_factors(factors: list[Tensor], gradients: Tensor, noise: Tensor, rate: float) -> None:
    """Move the factors of a batch, in place, towards those that whiten its gradients, by one step of Lie-group descent.

    `noise` is standard normal and of the batch's shape. All factors move from where they were.
    """
    whitened, contrast = gradients, noise
    for axis, factor in enumerate(factors):
        whitened, contrast = _apply(whitened, factor, axis), _solve(contrast, factor, axis)
    for axis, factor in enumerate(factors):
        if factor.ndim == 2:
            others = tuple(other for other in range(1, gradients.ndim) if other != axis + 1)
            a, b = (each.square().sum(dim=others) if others else each.square() for each in (whitened, contrast))
            factor.sub_(rate * (a - b) / (a + b).amax(dim=-1, keepdim=True).clamp_min(_TINY) * factor)
        else:
            a, b = axis_gram(whitened, axis), axis_gram(contrast, axis)
            bound = spectral_lower_bound(a + b).clamp_min(_TINY)
            factor.sub_(rate * (torch.triu(a - b) / bound) @ factor)


def spectral_lower_bound(matrices: Tensor) -> Tensor:
    """Return a cheap lower bound (n, 1, 1) of the spectral norm of each symmetric matrix in a batch."""
    largest = matrices.abs().amax(dim=(-2, -1), keepdim=True)
    scaled = matrices / largest.clamp_min(_TINY)
    longest = scaled.square().sum(dim=-2).argmax(dim=-1)
    x = scaled.gather(-1, longest[:, None, None].expand(-1, scaled.shape[-2], 1))
    x = scaled.mT @ x
    x = x / torch.linalg.vector_norm(x, dim=-2, keepdim=True).clamp_min(_TINY)
    return torch.linalg.vector_norm(scaled @ x, dim=-2, keepdim=True) * largest


def precondition(batch: Tensor, factors: list[Tensor], largest: float = 1.1) -> Tensor:
    """Return Q^T Q along every axis of each block, scaled down where its root mean square is above `largest`."""
    direction = batch
    for axis, factor in enumerate(factors):
        direction = _apply(direction, factor, axis)
        direction = _apply(direction, factor.mT if factor.ndim > 2 else factor, axis)
    size = block_norms(direction) / math.prod(direction.shape[1:]) ** 0.5
    return direction * (largest / (size + 1e-12)).clamp(max=1.0)


_TINY = 1e-30


def _apply(batch: Tensor, factor: Tensor, axis: int) -> Tensor:
    """Return Q X of axis 0, X Q^T of axis 1."""
    return axis_multiply(batch, factor, axis) if factor.ndim > 2 else batch * _along(factor, batch, axis)


def _solve(batch: Tensor, factor: Tensor, axis: int) -> Tensor:
    """Return Q^-T X of axis 0, X Q^-1 of axis 1."""
    if factor.ndim == 2:
        return batch / _along(factor, batch, axis)
    if axis == 0:
        return torch.linalg.solve_triangular(factor.mT, batch, upper=False)
    return torch.linalg.solve_triangular(factor, batch, upper=True, left=False)


def _along(diagonal: Tensor, batch: Tensor, axis: int) -> Tensor:
    return diagonal if batch.ndim == 2 else diagonal.unsqueeze(2 - axis)


def _balance(factors: list[Tensor]) -> None:
    """Scale the factors of each block so that their largest entries are their geometric mean."""
    largest = torch.stack([factor.abs().flatten(1).amax(dim=1) for factor in factors])
    scales = largest.log().mean(dim=0).exp() / largest
    for factor, scale in zip(factors, scales, strict=True):
        factor.mul_(scale.view(-1, *[1] * (factor.ndim - 1)))


class PSGDKron(ScheduledGradientDescent):
    """PSGD-Kron on all parameters, linear warm-up and cosine decay to zero."""

    # Ours, around the published point: it was not entered, and no space was published.
    search_space = SearchSpace(
        learning_rate=log_uniform(3e-5, 3e-3),
        weight_decay=log_uniform(0.005, 1.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The port's defaults; smoothing, dropout and the warm-up are the self-tuning NAdamW baseline's.
    hyperparameters = {
        "learning_rate": 3e-4,
        "weight_decay": 0.0,
        "warmup_factor": 0.02,
        "label_smoothing": 0.0,
        "dropout_rate": 0.1,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file, its seed from the task's generator."""
        return PSGDKronOptimizer(
            [each for each in task.model.parameters() if each.requires_grad],
            lr=hyperparameters.learning_rate,
            weight_decay=hyperparameters.weight_decay,
            seed=int(torch.randint(2**31, (), generator=task.generator)),
        )
