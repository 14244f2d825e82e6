"""NAdamW with a cyclic learning rate: one or two full cycles of warm-up and cosine decay.

AlgoPerf submission "Cyclic LR" (external tuning, 2024), after Loshchilov and Hutter, "SGDR", 2017 (arXiv 1608.03983).
The update rule is `nadamw`; of the step hint h, each of C cycles has h / C steps. With t counted within the cycle, W
warm-up steps and l = 1e-10 (spec: algorithms/nadamw_and_adam_family.md, 5), the rate's multiplier is

    l + (1 - l) t / W  up to W,    then  l + (1 - l) / 2 (1 + cos(pi (t - W) / (h / C - W)))

Memory: 2 floats a parameter. No work beyond the update.
"""

from __future__ import annotations

from timetrial.algorithms.nadamw import NAdamW
from timetrial.algorithms.nadamw_baseline import FIVE_POINTS
from timetrial.api import Hyperparameters, SearchSpace, Task, cyclic_cosine, horizon, warmup_steps


class CyclicNAdamW(NAdamW):
    """NAdamW on all parameters, at the published points of the submission."""

    # The baseline's rows 2, 3 and 5 in one cycle, 1 and 5 in two.
    search_space = SearchSpace.from_points(
        [{**FIVE_POINTS[row - 1], "cycles": cycles} for row, cycles in ((2, 1), (3, 1), (5, 1), (1, 2), (5, 2))]
    )
    # The last of them: no point was published for the ruleset without tuning.
    hyperparameters = {**FIVE_POINTS[4], "cycles": 2}

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rate."""
        return cyclic_cosine(
            step,
            warmup_steps=warmup_steps(task, hyperparameters),
            total_steps=horizon(task, hyperparameters),
            cycles=hyperparameters.cycles,
        )
