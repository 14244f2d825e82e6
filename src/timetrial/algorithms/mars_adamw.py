"""MARS-AdamW: AdamW on a gradient whose variance is reduced by the previous one.

Yuan et al., "MARS: unleashing the power of variance reduction for training large models", 2024 (arXiv 2411.10438),
in the approximate form, without a second gradient each step. With t counted from 1 and the previous step's gradient g'
(zero at first; spec: algorithms/mars.md):

    c = g + gamma b1 / (1 - b1) (g - g');    c <- c / max(1, |c|), the norm over the tensor
    m <- b1 m + (1 - b1) c;    v <- b2 v + (1 - b2) c^2
    w <- (1 - r d) w - r m / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps)

Weights of fewer than two axes take AdamW at a rate and moments of their own. The public code does the same to all that
does not have exactly two; that convolutions are matrices here is our decision.

Memory: 3 floats a parameter. Extra work: a norm of each tensor, and a copy of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer, adam_denominator, adam_moments
from timetrial.algorithms.parts.matrix_optimizer import auxiliary_adamw
from timetrial.algorithms.parts.routing import OptimizerChain, route
from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform


class MARSAdamWOptimizer(ListOptimizer):
    """The update rule above, for whole parameter lists at a time; `clip` is the bound on |c|, None for none."""

    tensorwise = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.95, 0.99),
        gamma: float = 0.025,
        clip: float | None = 1.0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, gamma=gamma, clip=clip, eps=eps, weight_decay=weight_decay)

    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; see `ListOptimizer.update`."""
        first, second = self.buffers(weights, "first"), self.buffers(weights, "second")
        previous = self.buffers(weights, "previous")
        rate, (beta1, beta2), step = group["lr"], group["betas"], group["step"]

        strength = group["gamma"] * beta1 / (1 - beta1)
        corrected = list(torch._foreach_mul(gradients, 1 + strength))
        torch._foreach_add_(corrected, previous, alpha=-strength)
        torch._foreach_copy_(previous, gradients)  # a copy: the gradients may be overwritten in place
        if group["clip"] is not None:
            lengths = list(torch._foreach_norm(corrected))
            torch._foreach_div_(lengths, group["clip"])
            torch._foreach_clamp_min_(lengths, 1.0)
            torch._foreach_div_(corrected, lengths)
        adam_moments(first, second, corrected, beta1, beta2)
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        denominator = adam_denominator(second, beta2, step, group["eps"])
        torch._foreach_addcdiv_(weights, first, denominator, -rate / (1 - beta1**step))


class MARSAdamW(ScheduledGradientDescent):
    """MARS-AdamW on all weights of two or more axes, AdamW on the others; linear warm-up, cosine decay to zero."""

    # No space was published: AdamW's (spec: algorithms/nadamw_and_adam_family.md, 1) for the matrices' rule.
    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.02, 0.5),
        weight_decay=log_uniform(0.005, 1.0),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The paper's defaults, and its decay for language models; warm-up, smoothing and dropout as `adamw`.
    hyperparameters = {
        "learning_rate": 3e-3,
        "one_minus_beta1": 0.05,
        "beta2": 0.99,
        "gamma": 0.025,
        "weight_decay": 0.1,
        "vector_learning_rate": 3e-3,
        "vector_beta1": 0.9,
        "vector_beta2": 0.95,
        "vector_weight_decay": 0.1,
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return the optimizer of this file and PyTorch's AdamW, each over its own weights."""
        routes = route(task)
        return OptimizerChain(
            [
                MARSAdamWOptimizer(
                    [{"params": [*routes.hidden, *routes.embeddings, *routes.output]}],
                    lr=hyperparameters.learning_rate,
                    betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
                    gamma=hyperparameters.gamma,
                    weight_decay=hyperparameters.weight_decay,
                ),
                auxiliary_adamw(
                    routes.vectors,
                    lr=hyperparameters.vector_learning_rate,
                    betas=(hyperparameters.vector_beta1, hyperparameters.vector_beta2),
                    weight_decay=hyperparameters.vector_weight_decay,
                ),
            ]
        )
