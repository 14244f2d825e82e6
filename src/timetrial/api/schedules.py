"""Learning-rate schedules: multipliers of the base rate, pure functions of the zero-based step and the horizon.

Each rises linearly over `warmup_steps` (from 1e-10 rather than 0, as the benchmark's baselines do; spec:
algorithms/common.md, 5) and is given from there on by its name. Past the horizon `total_steps` they stay where they
ended.
"""

from __future__ import annotations

import math
from typing import Literal

_FLOOR = 1e-10
"""Where the warm-up starts: the first step of a run moves nothing."""


def warmup_constant(step: int, *, warmup_steps: int) -> float:
    """Rise linearly, stay there: what averaging methods are run with."""
    return _rise(step, warmup_steps) if step < warmup_steps else 1.0


def warmup_cosine(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Rise linearly, then fall to 0 along half a cosine (Loshchilov and Hutter 2017; spec: algorithms/common.md, 5)."""
    if step < warmup_steps:
        return _rise(step, warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * _progress(step, warmup_steps, total_steps)))


def warmup_linear(
    step: int, *, warmup_steps: int, total_steps: int, decay_steps_factor: float = 1.0, end_factor: float = 0.0
) -> float:
    """Rise linearly, fall linearly to `end_factor`, stay there; by default to zero at the horizon.

    The fall takes `int(decay_steps_factor * (total_steps - warmup_steps))` steps: the schedule of the momentum
    baselines (spec: algorithms/sgd_momentum.md, "Update").
    """
    if step < warmup_steps:
        return _rise(step, warmup_steps)
    decay_steps = int(decay_steps_factor * (total_steps - warmup_steps))
    return 1.0 + (end_factor - 1.0) * _progress(step, warmup_steps, warmup_steps + decay_steps)


def warmup_stable_decay(
    step: int,
    *,
    warmup_steps: int,
    total_steps: int,
    decay_steps: int,
    shape: Literal["linear", "one_minus_sqrt", "cosine"] = "linear",
) -> float:
    """Rise linearly, stay, and fall to 0 in the last `decay_steps` ("WSD").

    Sources: Hu et al. 2024 (MiniCPM, arXiv 2404.06395); Hägele et al. 2024 (arXiv 2405.18392), whose best shape is
    `one_minus_sqrt`; spec: algorithms/wsd_and_schedules.md.
    """
    if step < warmup_steps:
        return _rise(step, warmup_steps)
    progress = _progress(step, total_steps - decay_steps, total_steps) if step > total_steps - decay_steps else 0.0
    match shape:
        case "linear":
            return 1.0 - progress
        case "one_minus_sqrt":
            return 1.0 - math.sqrt(progress)
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))


def cyclic_cosine(step: int, *, warmup_steps: int, total_steps: int, cycles: int) -> float:
    """Run `cycles` equal cycles, each a full warm-up and half a cosine (spec: algorithms/nadamw_and_adam_family.md, 5).

    The multiplier at a cycle's last step and at the next one's first is the floor, 1e-10; past the horizon it stays.
    """
    length = total_steps / cycles
    cycle = min(math.ceil(step / length) - 1, cycles - 1) if step > 0 else 0
    within = min(step - cycle * length, length)
    if within <= warmup_steps:
        return _FLOOR + (1.0 - _FLOOR) * within / max(warmup_steps, 1)
    fall = min((within - warmup_steps) / max(length - warmup_steps, 1e-12), 1.0)
    return _FLOOR + 0.5 * (1.0 - _FLOOR) * (1.0 + math.cos(math.pi * fall))


def _rise(step: int, warmup_steps: int) -> float:
    return _FLOOR + (1.0 - _FLOOR) * step / warmup_steps


def _progress(step: int, start: int, end: int) -> float:
    """Return how far `step` is on the way from `start` to `end`, at most 1."""
    return min(1.0, (step - start) / max(end - start, 1))
