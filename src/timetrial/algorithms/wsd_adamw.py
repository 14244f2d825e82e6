"""AdamW with the schedule "warm-up, stable, decay" (WSD), which falls as 1 - sqrt(x).

Hu et al., "MiniCPM", 2024 (arXiv 2404.06395); Hägele et al., "Scaling laws and compute-optimal training beyond fixed
training durations", 2024 (arXiv 2405.18392), whose best shape this is. With x the share of the decay that is over
(spec: algorithms/wsd_and_schedules.md), the rate's multiplier is

    t / warm-up,    then 1,    then in the last steps 1 - sqrt(x)

The update rule is `adamw`. Memory: 2 floats a parameter.
"""

from __future__ import annotations

from timetrial.algorithms.adamw import AdamW
from timetrial.api import (
    Hyperparameters,
    SearchSpace,
    Task,
    choice,
    horizon,
    log_uniform,
    warmup_stable_decay,
    warmup_steps,
)


class WSDAdamW(AdamW):
    """AdamW with linear warm-up, constant rate, and a decay over the last steps."""

    # AdamW's space (spec: algorithms/nadamw_and_adam_family.md, 1), and the two ends of the published decay lengths,
    # 10 to 20 % of the steps.
    search_space = SearchSpace(
        learning_rate=log_uniform(1e-4, 1e-2),
        one_minus_beta1=log_uniform(0.02, 0.5),
        beta2=choice(0.999),
        weight_decay=log_uniform(0.005, 1.0),
        warmup_factor=choice(0.05),
        decay_factor=choice(0.1, 0.2),
        label_smoothing=choice(0.1, 0.2),
        dropout_rate=choice(0.0, 0.1),
    )
    hyperparameters = {**AdamW.hyperparameters, "decay_factor": 0.2}

    def schedule(self, step: int, task: Task, hyperparameters: Hyperparameters) -> float:
        """Return the multiplier of the learning rate."""
        steps = horizon(task, hyperparameters)
        return warmup_stable_decay(
            step,
            warmup_steps=warmup_steps(task, hyperparameters),
            total_steps=steps,
            decay_steps=int(hyperparameters.decay_factor * steps),
            shape="one_minus_sqrt",
        )
