"""Times to target as cells: what they say, and whether they count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timetrial.report.pool import Pool
from timetrial.report.tables import format_seconds
from timetrial.scoring.held_out import apply_rules

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One submission on one workload."""

    text: str
    """Median seconds; a dash for a miss, and an asterisk where the rules strike the time out."""
    kind: Literal["counts", "struck out", "missed"]
    ratio: float
    """Time over the fastest submission's; infinite for a miss."""
    interval: str
    """The 95 % interval, empty where it is not known."""
    studies: str
    """The times of the single studies, in their order."""


def time_cell(pool: Pool, place: int, workload: str) -> Cell:
    """The median time to target of the submission at a place of the ranking."""
    report = pool.report
    i, j = report.order[place], pool.workloads.index(workload)
    seconds = float(report.times[i, j])
    studies = ", ".join(_text(value) for value in report.table.seconds[i, j])
    if not np.isfinite(seconds):
        return Cell(text="—", kind="missed", ratio=np.inf, interval=_interval(pool, i, j), studies=studies)
    best = float(np.nanmin(report.times[:, j]))
    counts = bool(np.isfinite(_counted_times(pool)[i, j]))
    return Cell(
        text=format_seconds(seconds) + ("" if counts else "*"),
        kind="counts" if counts else "struck out",
        ratio=seconds / best if best > 0 else 1.0,
        interval=_interval(pool, i, j),
        studies=studies,
    )


def _counted_times(pool: Pool) -> Floats:
    """Times that count, (submissions, workloads): held-out variants too, as far as the rules concern them alone."""
    report = pool.report
    bases = len(report.workloads)
    trained = np.isfinite(report.times[:, list(report.table.selection.base_of)])
    variants = np.where(trained, report.times[:, bases:], np.inf)
    return np.concatenate([report.counted_times, apply_rules(variants, variants.shape[1], (), report.rules.r_max)], 1)


def heat_rows(pool: Pool) -> Sequence[tuple[str, bool, Sequence[Cell]]]:
    """Rows of the heat map: workload, whether it is a held-out variant, and a cell for each submission."""
    return [
        (name, name in pool.report.held_out, [time_cell(pool, place, name) for place in range(len(pool.names))])
        for name in pool.workloads
    ]


def _interval(pool: Pool, i: int, j: int) -> str:
    known = pool.report.uncertainty
    if known is None:
        return ""
    low, high = known.times["corrected"].low[i, j], known.times["corrected"].high[i, j]
    if not np.isfinite(low):
        return ""
    return f"{_text(low)} to {_text(high)}"


def _text(seconds: float) -> str:
    return format_seconds(seconds) if np.isfinite(seconds) else "missed"
