"""NAdamW sequential: three runs of NAdamW one after another, each from the initial weights.

AlgoPerf submission (self-tuning, 2024; spec: algorithms/nadamw_and_adam_family.md, 6). The update rule is `nadamw`;
the three runs take 1, 1 and 0.75 step hints, and each has its own warm-up and cosine decay to zero. The time to the
target includes the attempts that failed. Behind the third run nothing is left to do, and the training ends.

Dropout is the workload's own: the submission has values for it and does not use them.

Memory: 3 floats a parameter: NAdamW's two and the initial weights. No work beyond the update.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor

from timetrial.algorithms.nadamw import NAdamW
from timetrial.api import Batch, Hyperparameters, Task, TrainingComplete, horizon

_NAMES = (
    "learning_rate",
    "one_minus_beta1",
    "beta2",
    "weight_decay",
    "warmup_factor",
    "label_smoothing",
    "horizon_factor",
)
_RUNS = (
    (1.42720e-3, 0.0338048, 0.9957304, 0.0915314, 0.01, 0.1, 1.0),
    (1.76851e-3, 0.0585021, 0.9768053, 0.0279514, 0.02, 0.2, 1.0),
    (2.37926e-3, 0.0199034, 0.9632739, 0.3417568, 0.01, 0.0, 0.75),
)


class NAdamWSequential(NAdamW):
    """Three runs in one; the hyperparameters of each carry its number: `learning_rate_1`, ..."""

    search_space = None
    hyperparameters = {
        f"{name}_{number}": value
        for number, run in enumerate(_RUNS, start=1)
        for name, value in zip(_NAMES, run, strict=True)
    }

    run: int
    """Number of the run, from 0."""
    initial: dict[str, Tensor]
    """Weights and buffers that each run starts from."""

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Keep the initial weights, and begin the first run."""
        self._runs = [
            Hyperparameters({name: hyperparameters[f"{name}_{number}"] for name in _NAMES})
            for number in range(1, len(_RUNS) + 1)
        ]
        self._ends = list(accumulate(horizon(task, run) for run in self._runs))
        self.initial = {name: value.detach().clone() for name, value in task.model.state_dict().items()}
        self.run = 0
        super().setup(task, self._runs[0])

    def step(self, task: Task, batch: Batch) -> None:
        """Train one step of the run that it is time for; the last one ends the training."""
        if self.run < len(self._runs) - 1 and task.step >= self._ends[self.run]:
            self.restart(task)
        super().step(task, batch)
        if task.step + 1 >= self._ends[-1]:
            raise TrainingComplete

    def restart(self, task: Task) -> None:
        """Begin the next run, from the initial weights."""
        self.run += 1
        task.model.load_state_dict(self.initial)
        super().setup(task, self._runs[self.run])

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rate, counted from the beginning of the run."""
        began = self._ends[self.run - 1] if self.run else 0
        return super().schedule(step - began, task, hyperparameters)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned: also which run it was."""
        super().load_state_dict(state)
        self._tuned = self._runs[self.run]
