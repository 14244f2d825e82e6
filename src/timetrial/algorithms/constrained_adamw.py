"""Constrained AdamW: a bound on the norm of every weight matrix in the place of weight decay.

Ramirez, Hashemizadeh and Lacoste-Julien, "Position: adopt constraints over fixed penalties in deep learning", 2025
(arXiv 2505.20628); multipliers by Sohrabi et al., "On PI controllers for updating Lagrange multipliers in constrained
optimization", 2024 (arXiv 2406.04558). The problem is

    minimise the loss  subject to  g = (|W|^2 / R^2 - 1) / 2 <= 0  for every matrix W,    R = k |W at the start|

and each step moves the multipliers l first, by what is violated, then the weights:

    s <- nu s + (1 - nu) g;    l <- max(0, l + r_l (g + K_P (the change of s)))
    W <- (1 - r (l + c max(0, g)) / R^2) W        the constraint's gradient, as a decoupled decay
    W <- W - r (Adam's direction)

A matrix within its bound is not decayed at all; one that presses on it is decayed as much as that takes.

Stated by the sources: constraints for penalties, dual ascent with nuPI, dual steps first, the augmented Lagrangian's c.
Reconstructed (spec: algorithms/constraints.md, entry 1): what is constrained, the bound k, and that the constraint's
gradient bypasses Adam. Ours: where a matrix starts at zero, R is k times the square root of its rows, the norm that
entries of variance 1 / columns would have. Tensors of fewer than two axes are free.

Memory: Adam's two floats a parameter, three scalars a matrix. Work: a norm of each matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, adam_moments
from timetrial.algorithms.parts.multipliers import NuPI, with_penalty
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform


class ConstrainedAdamWOptimizer(ListOptimizer):
    """The update rule above. A group with `bound=None` is not constrained."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        bound: float | None = 2.0,
        dual_rate: float = 1e-2,
        proportional: float = 10.0,
        nu: float = 0.0,
        penalty: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            bound=bound,
            dual_rate=dual_rate,
            proportional=proportional,
            nu=nu,
            penalty=penalty,
        )

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move multipliers and weights of a group; see `ListOptimizer.update`."""
        if group["bound"] is not None:
            self._constrain(group, weights)
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        beta1, beta2 = group["betas"]
        adam_moments(first, second, gradients, beta1, beta2)
        denominator = adam_denominator(second, beta2, group["step"], group["eps"])
        torch._foreach_addcdiv_(weights, first, denominator, -group["lr"] / (1 - beta1 ** group["step"]))

    def _constrain(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        radii = self.buffers(weights, "radius", lambda weight: group["bound"] * _initial_norm(weight))
        multipliers, smoothed = (self.buffers(weights, name, _zero) for name in ("multiplier", "smoothed"))
        squares = torch._foreach_mul(radii, radii)
        errors = torch._foreach_norm(weights)
        torch._foreach_mul_(errors, errors)
        torch._foreach_div_(errors, squares)
        torch._foreach_sub_(errors, 1.0)
        torch._foreach_div_(errors, 2.0)
        controller = NuPI(rate=group["dual_rate"], proportional=group["proportional"], nu=group["nu"])
        controller.update(multipliers, smoothed, list(errors), first=group["step"] == 1)

        decays = with_penalty(multipliers, list(errors), group["penalty"])
        torch._foreach_div_(decays, squares)
        torch._foreach_mul_(decays, -group["lr"])
        torch._foreach_add_(decays, 1.0)
        torch._foreach_mul_(weights, decays)


def _initial_norm(weight: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(weight)
    return torch.where(norm > 0, norm, norm.new_tensor(weight.shape[0] ** 0.5))


def _zero(weight: Tensor) -> Tensor:
    return weight.new_zeros(())


class ConstrainedAdamW(ScheduledGradientDescent):
    """AdamW with a norm constraint on every matrix instead of decay, linear warm-up and cosine decay to zero."""

    # AdamW's, with the bound where decay was: no space was published.
    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.02, 0.5),
        beta2=choice(0.999),
        bound=choice(1.0, 2.0, 4.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The middle of it: no point was published.
    hyperparameters = {
        "learning_rate": 1e-3,
        "one_minus_beta1": 0.1,
        "beta2": 0.999,
        "bound": 2.0,
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file, what is no matrix in a group without constraints."""
        parameters = [each for each in task.model.parameters() if each.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [each for each in parameters if each.ndim > 1]},
            {"params": [each for each in parameters if each.ndim < 2], "bound": None},
        ]
        return ConstrainedAdamWOptimizer(
            [group for group in groups if group["params"]],
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            bound=hyperparameters.bound,
        )
