"""Learning-rate schedules: multipliers of the base rate, pure functions of the zero-based step."""

from __future__ import annotations

import math


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Rise linearly from 0 over `warmup_steps`, then fall to 0 at `total_steps` along half a cosine.

    The benchmark's baseline starts at 1e-10 instead of 0 (spec: algorithms/common.md, 5); past the end it stays 0.
    """
    if step < warmup_steps:
        return 1e-10 + (1 - 1e-10) * step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(total_steps - warmup_steps, 1))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def warmup_linear(
    step: int, *, warmup_steps: int, total_steps: int, decay_steps_factor: float, end_factor: float
) -> float:
    """Rise linearly over `warmup_steps`, fall linearly to `end_factor`, stay there.

    The fall takes `int(decay_steps_factor * (total_steps - warmup_steps))` steps: the schedule of the momentum
    baselines (spec: algorithms/sgd_momentum.md, "Update").
    """
    if step < warmup_steps:
        return 1e-10 + (1 - 1e-10) * step / warmup_steps
    decay_steps = max(int(decay_steps_factor * (total_steps - warmup_steps)), 1)
    progress = min(1.0, (step - warmup_steps) / decay_steps)
    return 1.0 + (end_factor - 1.0) * progress
