"""Adafactor with momentum: the second moment of a matrix from its rows and columns; one of the paper's baselines.

Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018 (arXiv 1804.04235), in the
variant of the benchmark: no relative step, momentum behind the learning rate. With t counted from 1, i over outputs
and j over inputs (spec: algorithms/adafactor.md):

    b = b2 (1 - b2^(t-1)) / (1 - b2^t),  b2 = 0.99;    s = g^2 + 1e-30
    R_i <- b R_i + (1 - b) mean_j s;    C_j <- b C_j + (1 - b) mean_i s;    v_ij = R_i C_j / mean(R)
    u = g / sqrt(v);    u <- u / max(1, rms(u)), over the tensor
    m <- b1 m + (1 - b1) r u
    w <- (1 - r d) w - m

A tensor of fewer than two axes keeps v <- b v + (1 - b) s. The two axes of a convolution (out, in, ...) are its first
two, at each place of the kernel, as in the public JAX baseline; the PyTorch one factors the kernel's height and width,
and asks for a hyperparameter `warmup_steps` that its search space does not have. This is not `torch.optim.Adafactor`.

Memory: 1 float a parameter, and (m + n) / (m n) of a matrix. Extra work: an rms of each tensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.algorithms.parts.list_optimizer import ListOptimizer
from timetrial.api import Hyperparameters, SearchSpace, Task, choice, log_uniform

_TINY = 1e-30
"""What is added to each squared gradient (Shazeer and Stern 2018)."""


class AdafactorOptimizer(ListOptimizer):
    """The update rule above."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.99,
        clip: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, clip=clip, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        momentum = self.buffers(weights, "momentum")
        rate, beta1, beta2, step = group["lr"], group["beta1"], group["beta2"], group["step"]

        share = (1 - beta2) / (1 - beta2**step)  # 1 - b
        direction = self._whitened(weights, gradients, share)
        torch._foreach_div_(direction, clip_divisors(direction, group["clip"]))
        torch._foreach_mul_(momentum, beta1)
        torch._foreach_add_(momentum, direction, alpha=(1 - beta1) * rate)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_sub_(weights, momentum)

    def _whitened(self, weights: list[Tensor], gradients: list[Tensor], share: float) -> list[Tensor]:
        """Move the statistics by that share, and return g / sqrt(v), in order."""
        done: dict[int, Tensor] = {}
        for whiten, wide in ((self._by_rows_and_columns, True), (self._by_entry, False)):
            some = [index for index, weight in enumerate(weights) if (weight.ndim >= 2) is wide]
            if some:
                whitened = whiten([weights[index] for index in some], [gradients[index] for index in some], share)
                done |= zip(some, whitened, strict=True)
        return [done[index] for index in range(len(weights))]

    def _by_rows_and_columns(self, weights: list[Tensor], gradients: list[Tensor], share: float) -> list[Tensor]:
        rows = self.buffers(weights, "rows", lambda weight: torch.zeros_like(weight[:, :1]))
        columns = self.buffers(weights, "columns", lambda weight: torch.zeros_like(weight[:1]))
        torch._foreach_lerp_(rows, [mean_square(gradient, 1) for gradient in gradients], share)
        torch._foreach_lerp_(columns, [mean_square(gradient, 0) for gradient in gradients], share)
        # Root by root, not the root of R C: the product of two small means may be too small for float32.
        by_row = torch._foreach_sqrt([row / row.mean(dim=0, keepdim=True) for row in rows])
        whitened = list(torch._foreach_div(gradients, by_row))
        torch._foreach_div_(whitened, torch._foreach_sqrt(columns))
        return whitened

    def _by_entry(self, weights: list[Tensor], gradients: list[Tensor], share: float) -> list[Tensor]:
        second = self.buffers(weights, "second")
        squares = torch._foreach_mul(gradients, gradients)
        torch._foreach_add_(squares, _TINY)
        torch._foreach_lerp_(second, squares, share)
        return list(torch._foreach_div(gradients, torch._foreach_sqrt(second)))


def mean_square(gradient: Tensor, axis: int) -> Tensor:
    """Return the mean of g^2 + 1e-30 over an axis, which stays with length 1."""
    return torch.linalg.vector_norm(gradient, dim=axis, keepdim=True).square() / gradient.shape[axis] + _TINY


def clip_divisors(directions: list[Tensor], clip: float) -> list[Tensor]:
    """Return max(1, rms(u) / clip) of each tensor."""
    divisors = list(torch._foreach_norm(directions))
    torch._foreach_div_(divisors, [clip * direction.numel() ** 0.5 for direction in directions])
    torch._foreach_clamp_min_(divisors, 1.0)
    return divisors


class Adafactor(AdamW):
    """Adafactor on all parameters, with AdamW's schedule: linear warm-up and cosine decay to zero."""

    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.01, 0.45),
        weight_decay=log_uniform(1e-3, 1.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The search space's geometric middle, for the ruleset without tuning: no such point was published.
    hyperparameters = {
        "learning_rate": 1e-3,
        "one_minus_beta1": 0.0671,
        "weight_decay": 0.0316,
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return AdafactorOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            beta1=1 - hyperparameters.one_minus_beta1,
            weight_decay=hyperparameters.weight_decay,
        )
