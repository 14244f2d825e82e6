"""SGD with heavy-ball momentum: one of the four algorithms that set the benchmark's targets.

B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964. With gradient g, parameters
w, momentum m, scheduled rate r and coupled weight decay d:

    b <- m b + (g + d w)        (b starts as the first g + d w)
    w <- w - r b

Rates rise linearly, then fall linearly (spec: algorithms/sgd_momentum.md).
"""

from __future__ import annotations

import torch

from timetrial.api import (
    Hyperparameters,
    ScheduledGradientDescent,
    SearchSpace,
    Task,
    choice,
    log_uniform,
    warmup_linear,
    warmup_steps,
)

SEARCH_SPACE = SearchSpace(
    learning_rate=log_uniform(0.02, 5.0),
    one_minus_beta1=log_uniform(0.005, 0.3),
    weight_decay=log_uniform(1e-7, 5e-5),
    warmup_factor=choice(0.05),
    decay_steps_factor=choice(0.9),
    end_factor=choice(1e-3, 1e-2),
    label_smoothing=choice(0.1, 0.2),
    dropout_rate=choice(0.0, 0.1),
)
"""The published search space of both momentum baselines (spec: algorithms/sgd_momentum.md)."""

MIDDLE = {
    "learning_rate": 0.316,
    "one_minus_beta1": 0.0387,
    "weight_decay": 2.24e-6,
    "warmup_factor": 0.05,
    "decay_steps_factor": 0.9,
    "end_factor": 1e-3,
    "label_smoothing": 0.1,
    "dropout_rate": 0.0,
}
"""The search space's geometric middle, for the ruleset without tuning: no such point was published."""


class HeavyBall(ScheduledGradientDescent):
    """SGD with heavy-ball momentum, linear warm-up and linear decay."""

    search_space = SEARCH_SPACE
    hyperparameters = MIDDLE
    nesterov = False

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
        """Return PyTorch's SGD, which is this rule."""
        return torch.optim.SGD(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            momentum=1 - hyperparameters.one_minus_beta1,
            weight_decay=hyperparameters.weight_decay,
            nesterov=self.nesterov,
            foreach=True,
        )

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rate: linear up, linear down, constant."""
        return warmup_linear(
            step,
            warmup_steps=warmup_steps(task, hyperparameters),
            total_steps=task.step_hint,
            decay_steps_factor=hyperparameters.decay_steps_factor,
            end_factor=hyperparameters.end_factor,
        )
