"""LAMB: Adam's direction, in each tensor as long as the tensor's weights; one of the paper's baselines.

You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020 (arXiv 1904.00962), as in
the benchmark: every tensor alike, no bound on the ratio. With t counted from 1 (spec: algorithms/lamb.md):

    m <- b1 m + (1 - b1) g;    v <- b2 v + (1 - b2) g^2
    u = m / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps) + d w
    w <- w - r |w| / |u| u        (norms over the tensor; w <- w - r u where either is zero)

A step's length is r |w|, whatever the decay. The public PyTorch baseline asks for a hyperparameter `beta1` that its
search space does not have; here, b1 is 1 - one_minus_beta1.

Memory: 2 floats a parameter. Extra work: two norms of each tensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.adamw import AdamW
from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, adam_moments
from timetrial.api import Hyperparameters, SearchSpace, Task, choice, log_uniform


class LAMBOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        (beta1, beta2), step = group["betas"], group["step"]

        adam_moments(first, second, gradients, beta1, beta2)
        direction = list(torch._foreach_div(first, adam_denominator(second, beta2, step, group["eps"])))
        torch._foreach_div_(direction, 1 - beta1**step)
        torch._foreach_add_(direction, weights, alpha=group["weight_decay"])
        torch._foreach_mul_(direction, trust_ratios(weights, direction))
        torch._foreach_add_(weights, direction, alpha=-group["lr"])


def trust_ratios(weights: list[Tensor], directions: list[Tensor]) -> list[Tensor]:
    """Return |w| / |u| of each tensor, and 1 where either is zero."""
    length, other = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, directions))
    return list(torch.where((length > 0) & (other > 0), length / other, 1.0).unbind())


class LAMB(AdamW):
    """LAMB on all parameters, with AdamW's schedule: linear warm-up and cosine decay to zero."""

    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.05, 0.3),
        beta2=choice(0.999),
        weight_decay=log_uniform(1e-3, 1.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The search space's geometric middle, for the ruleset without tuning: no such point was published.
    hyperparameters = {**AdamW.hyperparameters, "one_minus_beta1": 0.122, "weight_decay": 0.0316}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file."""
        return LAMBOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
        )
