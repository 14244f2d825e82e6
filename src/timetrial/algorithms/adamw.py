"""AdamW: one of the four algorithms that set the benchmark's targets.

Loshchilov and Hutter, "Decoupled weight decay regularization", 2019 (arXiv 1711.05101). With t counted from 1:

    w <- (1 - r d) w
    m <- b1 m + (1 - b1) g;    v <- b2 v + (1 - b2) g^2
    w <- w - r m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)

Rates rise linearly and fall along a cosine (spec: algorithms/nadamw_and_adam_family.md, 1).
"""

from __future__ import annotations

from typing import ClassVar

import torch

from timetrial.api import Hyperparameters, ScheduledGradientDescent, SearchSpace, Task, choice, log_uniform


class AdamW(ScheduledGradientDescent):
    """AdamW on all parameters, linear warm-up and cosine decay to zero."""

    search_space: ClassVar[SearchSpace | None] = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.02, 0.5),
        beta2=choice(0.999),
        weight_decay=log_uniform(0.005, 1.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    # The search space's geometric middle, for the ruleset without tuning: no such point was published.
    hyperparameters = {
        "learning_rate": 1e-3,
        "one_minus_beta1": 0.1,
        "beta2": 0.999,
        "weight_decay": 0.0707,
        "warmup_factor": 0.05,
        "label_smoothing": 0.1,
        "dropout_rate": 0.0,
    }

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return PyTorch's AdamW, which is this rule."""
        return torch.optim.AdamW(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            eps=1e-8,
            weight_decay=hyperparameters.weight_decay,
            foreach=True,
        )
