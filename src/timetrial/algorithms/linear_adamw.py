"""AdamW whose rate falls linearly to zero.

Defazio et al., "Optimal linear decay learning rate schedules and further refinements", 2023 (arXiv 2310.07831), for
the schedule; the update rule is `adamw`. After the warm-up W of T steps (spec: algorithms/wsd_and_schedules.md), the
rate's multiplier is

    1 - (t - W) / (T - W)

Memory: 2 floats a parameter.
"""

from __future__ import annotations

from timetrial.algorithms.adamw import AdamW
from timetrial.api import Hyperparameters, Task, horizon, warmup_linear, warmup_steps


class LinearAdamW(AdamW):
    """AdamW with AdamW's search space, linear warm-up and linear decay to zero."""

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rate."""
        return warmup_linear(
            step, warmup_steps=warmup_steps(task, hyperparameters), total_steps=horizon(task, hyperparameters)
        )
