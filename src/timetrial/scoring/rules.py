"""From median times to scores, with one set of rules for estimates, resamples and sensitivity views alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.held_out import apply_rules
from timetrial.scoring.profiles import GRID_POINTS, performance_ratios, scores
from timetrial.scoring.table import Selection

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The scoring rules of a suite, applied to a selection of workloads."""

    selection: Selection
    r_max: float
    compat: bool = False

    def counted(self, medians: Floats) -> Floats:
        """Times of base workloads after the rules of `held_out.apply_rules`: shape (..., submissions, bases)."""
        return apply_rules(medians, len(self.selection.bases), self.selection.base_of, self.r_max)

    def ratios(self, medians: Floats) -> Floats:
        """Performance ratios on base workloads: shape (..., submissions, bases)."""
        return performance_ratios(self.counted(medians))

    def scores(self, medians: Floats) -> Floats:
        """Scores: shape (..., submissions)."""
        return scores(self.ratios(medians), self.r_max, grid=GRID_POINTS if self.compat else None)

    def without_workload(self, base: int, medians: Floats) -> Floats:
        """Scores when a base workload and its variants are taken out: shape (..., submissions)."""
        bases = len(self.selection.bases)
        guards = [i for i, guarded in enumerate(self.selection.base_of) if guarded != base]
        columns = [*(i for i in range(bases) if i != base), *(bases + i for i in guards)]
        base_of = [self.selection.base_of[i] - (self.selection.base_of[i] > base) for i in guards]
        rest = apply_rules(medians[..., columns], bases - 1, base_of, self.r_max)
        return scores(performance_ratios(rest), self.r_max, grid=GRID_POINTS if self.compat else None)


def ranking(values: Floats, names: Sequence[str]) -> tuple[int, ...]:
    """Positions from the highest value to the lowest; equal ones by name."""
    return tuple(sorted(range(len(names)), key=lambda i: (-values[i], names[i])))
