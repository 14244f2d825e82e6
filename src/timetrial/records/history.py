"""A trial as scoring sees it: when it was evaluated, and what was measured then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialHistory:
    """The evaluations of one trial, in the order in which they were recorded.

    `steps`, `times` and every array of `metrics` have the same length, one entry an evaluation. A reader puts
    NaN (and -1 among the steps) where a record holds no number; scoring never counts those as reached.
    """

    submission: str
    study: int
    workload: str
    trial: int
    steps: NDArray[np.int64]
    """Steps taken; -1 where unknown."""
    times: NDArray[np.float64]
    """Seconds of submission time; NaN where unknown."""
    metrics: Mapping[str, NDArray[np.float64]]
    """Values by split and metric, such as `validation/accuracy`."""
    hyperparameters: Mapping[str, Any] | None = None
    path: Path
    """The file (or folder) it was read from: what a warning names."""


@dataclass(kw_only=True)
class Histories:
    """What a reader found: the trials, and one sentence (naming the file) for everything it could not use."""

    trials: list[TrialHistory] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def extend(self, other: Histories) -> None:
        """Add what another reader found."""
        self.trials += other.trials
        self.warnings += other.warnings
