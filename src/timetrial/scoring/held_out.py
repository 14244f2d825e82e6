"""The order in which slow and failed workloads are struck out (spec: protocol.md, section 9, steps 2 to 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def apply_rules(times: Floats, bases: int, base_of: Sequence[int], r_max: float) -> Floats:
    """Strike out what does not count and return the base workloads' times, shape (..., submissions, bases).

    `times` holds the base workloads' columns, then one for each held-out variant; `base_of[v]` is the column of
    variant v's base. The rules, in this order:

    - a variant counts only for submissions that train its base workload;
    - a time more than `r_max` times the fastest is a miss, on base workloads and variants alike;
    - a base workload counts only for submissions that also train its variant.

    Without variants only the second does anything. A NaN among the times counts as a miss.
    """
    times = np.where(np.isnan(times), np.inf, times)  # a copy, which the rules may write into
    variants = range(bases, bases + len(base_of))
    for variant, base in zip(variants, base_of, strict=True):
        times[..., variant] = np.where(np.isfinite(times[..., base]), times[..., variant], np.inf)
    with np.errstate(over="ignore"):
        times = np.where(times > r_max * times.min(axis=-2, keepdims=True), np.inf, times)
    for variant, base in zip(variants, base_of, strict=True):
        times[..., base] = np.where(np.isfinite(times[..., variant]), times[..., base], np.inf)
    return times[..., :bases]
