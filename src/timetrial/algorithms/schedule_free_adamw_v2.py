"""Schedule-Free AdamW, second entry: decay at y, plain weights, and batch norm's statistics taken at x.

Defazio et al., "The Road Less Scheduled", 2024 (arXiv 2405.15682), as entered in AlgoPerf in 2025 (spec:
algorithms/schedule_free.md, "v2"). As `schedule_free_adamw`, but for

    z <- z - s (g / (sqrt(v) + eps) + d y);    w = r_t^p

and for batch norm: the passes at y, where gradients are taken, leave the running statistics alone. An additional
pass over the batch, at x and in training mode, moves them: at every third step under the self-tuning ruleset, at the
other two of three under the external one.

Memory: 2 numbers a parameter (z, v), 1 more during the pass at x. Extra work: with batch norm a forward pass in one
(or two) of three steps; none without.
"""

from __future__ import annotations

import torch

from timetrial.algorithms.parts.averaging import batch_norm_statistics
from timetrial.algorithms.parts.schedule_free import ScheduleFree, ScheduleFreeOptimizer
from timetrial.algorithms.schedule_free_adamw import ScheduleFreeAdamWOptimizer
from timetrial.api import Batch, Hyperparameters, SearchSpace, Task

ROWS = (
    {"dropout_rate": 0.0, "label_smoothing": 0.2, "learning_rate": 0.003},
    {"dropout_rate": 0.1, "label_smoothing": 0.4, "learning_rate": 0.004},
    {"dropout_rate": 0.0, "label_smoothing": 0.4, "learning_rate": 0.005, "beta2": 0.62918},
    {
        "dropout_rate": 0.0,
        "label_smoothing": 0.1,
        "learning_rate": 0.01,
        "one_minus_beta1": 0.075,
        "beta2": 0.99,
        "weight_decay": 0.04,
    },
)
"""The first four of the five published points, of this entry and of the weighted one."""

COMMON = {"one_minus_beta1": 0.1, "beta2": 0.9955, "weight_decay": 0.08, "warmup_factor": 0.02 * 0.75}
"""What the points have in common unless they say otherwise."""

SELF_TUNING = {
    "learning_rate": 0.0025,
    "one_minus_beta1": 0.1,
    "beta2": 0.9955159689799007,
    "weight_decay": 0.08121616522670176,
    "warmup_factor": 0.02 * 0.75,
    "label_smoothing": 0.2,
}
"""The published self-tuning point: dropout is the workload's own."""


class ScheduleFreeAdamWV2(ScheduleFree):
    """Schedule-Free AdamW as entered the second time."""

    search_space = SearchSpace.from_points(
        [*ROWS, {"dropout_rate": 0.0, "label_smoothing": 0.2, "learning_rate": 0.002}],
        **COMMON,
        statistics_passes=2,
    )
    # Of three steps, how many have a pass at x.
    hyperparameters = {**SELF_TUNING, "statistics_passes": 1}

    def build_optimizer(self, task: Task, hyperparameters: Hyperparameters) -> ScheduleFreeOptimizer:
        """Return the rule, in the form of the entry."""
        return ScheduleFreeAdamWOptimizer(
            task.model.parameters(),
            lr=hyperparameters.learning_rate,
            betas=(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
            weight_decay=hyperparameters.weight_decay,
            p=2.0,
            running_max=False,
            decay_at="y",
            correction="step",
        )

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer; see whether there is batch norm."""
        super().setup(task, hyperparameters)
        self._has_batch_norm = bool(batch_norm_statistics(task.model))

    def backward(self, task: Task, batch: Batch, *, update_batch_norm: bool = True) -> None:
        """Take the gradient at y; before it, in some of the steps, move batch norm's statistics by a pass at x."""
        if self._has_batch_norm and (task.step % 3 == 0) == (self._tuned.statistics_passes == 1):
            super().prepare_for_eval(task)
            with torch.no_grad():
                task.forward(batch, train=True, update_batch_norm=True, dropout=self._tuned.get("dropout_rate"))
            self.back_to_training(task)
        super().backward(task, batch, update_batch_norm=update_batch_norm and not self._has_batch_norm)
