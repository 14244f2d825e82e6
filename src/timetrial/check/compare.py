"""Whether two observations show the same decisions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from timetrial.check.probe import Observation

_TOLERANCE = 0.3
"""Relative change of a number that goes with a workload some per cent larger; a table's next entry is further off.

Algorithms may scale with sizes and horizons. Of ours, Amos changes its base rate most: by a tenth.
"""


def same_weights(one: Observation, other: Observation, *, tolerance: float = 0.0) -> bool:
    """Whether two runs ended with the same parameters, NaN equal to NaN."""
    if one.weights.shape != other.weights.shape:
        return False
    return np.allclose(one.weights, other.weights, rtol=tolerance, atol=tolerance, equal_nan=True)


def differences(plain: Observation, other: Observation) -> list[str]:
    """Return, in words, each decision that is another one."""
    found = []
    for name in sorted({*plain.decisions, *other.decisions}):
        before, after = plain.decisions.get(name), other.decisions.get(name)
        if not _alike(before, after):
            found.append(f"{name} is {_short(before)} and becomes {_short(after)}")
    return found


def _alike(one: Any, other: Any) -> bool:
    ones, others = list(_flat(one)), list(_flat(other))
    return len(ones) == len(others) and all(map(_equal, ones, others))


def _equal(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-12) if numbers else one == other


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _short(value: Any) -> str:
    """Return a value on one line, a list of one as its item."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if len(str(value)) <= 80 else f"{str(value)[:77]}..."
