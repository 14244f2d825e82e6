"""Adam, with weight decay in the gradient: the first adaptive moment method.

Kingma and Ba, "Adam: a method for stochastic optimization", 2015 (arXiv 1412.6980). With t counted from 1 (spec:
algorithms/nadamw_and_adam_family.md, 1):

    g <- g + d w
    m <- b1 m + (1 - b1) g;    v <- b2 v + (1 - b2) g^2
    w <- w - r m / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps)

Memory: 2 floats a parameter. No work beyond the update.
"""

from __future__ import annotations

import torch

from timetrial.algorithms.adamw import AdamW
from timetrial.api import Hyperparameters, SearchSpace, Task, choice, log_uniform


class Adam(AdamW):
    """Adam on all parameters, with AdamW's schedule: linear warm-up and cosine decay to zero."""

    # No space was published for Adam: AdamW's (spec: algorithms/nadamw_and_adam_family.md, 1), without its decay,
    # whose range is meant for decay outside the moments.
    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.02, 0.5),
        beta2=choice(0.999),
        weight_decay=choice(0.0),
        warmup_factor=choice(0.05),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    hyperparameters = {**AdamW.hyperparameters, "weight_decay": 0.0}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return PyTorch's Adam, which is this rule."""
        return torch.optim.Adam(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            eps=1e-8,
            weight_decay=hyperparameters.weight_decay,
            foreach=True,
        )
