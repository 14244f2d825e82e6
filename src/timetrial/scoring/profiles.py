"""Performance profiles and the score, the normalised area below them.

Source: Dolan and Moré 2002, "Benchmarking optimization software with performance profiles"; Dahl et al. 2023
(arXiv 2306.07179), section 4.5 and 4.6; spec: protocol.md, section 9, steps 5 to 7.

A profile is a step function, so its area is a mean of credits: a workload on which a submission is r times slower
than the fastest is above the profile's jump for all τ in [r, r_max], hence worth (r_max - r) / (r_max - 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID_POINTS = 100
"""Points of the public code's trapezoid rule (spec: protocol.md, section 9, step 6)."""


def performance_ratios(times: Floats) -> Floats:
    """Divide by the fastest submission on each workload: shape (..., submissions, workloads).

    Infinite where a submission missed the target, also where all of them did.
    """
    best = times.min(axis=-2, keepdims=True)
    reached = np.isfinite(times)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # a log may hold a time of 0
        return np.asarray(np.divide(times, best, out=np.full_like(times, np.inf), where=reached))


def credits(ratios: Floats, r_max: float, *, grid: int | None = None) -> Floats:
    """What each workload adds to a score, in [0, 1], exactly; with `grid` points, by the trapezoid rule instead.

    The trapezoid rule sees a jump at ratio r at the first grid point τ_k >= r, counting half the interval before.
    """
    if grid is None:
        return np.asarray((r_max - np.minimum(ratios, r_max)) / (r_max - 1))
    first = np.searchsorted(np.linspace(1.0, r_max, grid), ratios)
    return np.where(first == 0, 1.0, np.maximum(grid - 0.5 - first, 0) / (grid - 1)) * (first < grid)


def scores(ratios: Floats, r_max: float, *, grid: int | None = None) -> Floats:
    """Scores in [0, 1]: the area below each submission's profile, over r_max - 1. Shape (..., submissions)."""
    return np.asarray(credits(ratios, r_max, grid=grid).mean(axis=-1))


def profile_steps(ratios: Floats, r_max: float) -> tuple[Floats, Floats]:
    """One submission's profile as a step function: (τ at which it jumps, its height from there on).

    `ratios` has one entry a workload; the first τ is 1 and the last is r_max, so that it can be drawn as it is.
    """
    jumps = np.sort(ratios[ratios <= r_max])
    taus = np.unique(np.concatenate([[1.0], jumps, [r_max]]))
    heights = np.searchsorted(jumps, taus, side="right") / len(ratios)
    return taus, heights
