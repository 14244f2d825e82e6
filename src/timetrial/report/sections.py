"""The numbers of the page's tables: ranking, pairs, cost, sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from timetrial.report.pool import Pool
from timetrial.report.svg import drawing, element
from timetrial.report.tables import format_seconds

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankedRow:
    """One submission in the ranking."""

    place: int
    name: str
    score: str
    interval: str
    bar: Markup
    speedup: str
    speedup_interval: str
    by_steps: str
    letters: str
    """Submissions that share a letter cannot be told apart."""


def ranking(pool: Pool) -> Sequence[RankedRow]:
    """Submissions by score, best first."""
    report = pool.report
    known, reference = report.uncertainty, report.submissions.index(report.reference)
    scores = known.scores["corrected"] if known else None
    speedups = known.speedups["corrected"] if known else None
    letters = group_letters(pool.names, report.groups)
    return [
        RankedRow(
            place=place,
            name=report.submissions[i],
            score=f"{report.scores[i]:.4f}",
            interval=f"{scores.low[i]:.3f} to {scores.high[i]:.3f}" if scores else "unknown",
            bar=_bar(report.scores[i], (scores.low[i], scores.high[i]) if scores else None),
            speedup=f"{report.speedups[i, reference]:.2f}×",
            speedup_interval=f"{speedups.low[i, reference]:.2f} to {speedups.high[i, reference]:.2f}"
            if speedups
            else "unknown",
            by_steps=f"{report.scores_by_steps[i]:.4f}",
            letters=letters[report.submissions[i]],
        )
        for place, i in enumerate(report.order)
    ]


def group_letters(names: Sequence[str], groups: Sequence[Sequence[str]]) -> Mapping[str, str]:
    """Letters by submission: two share one exactly when they stand in a group that cannot be told apart."""
    alone = [(name,) for name in names if not any(name in group for group in groups)]
    runs = sorted([*map(tuple, groups), *alone], key=lambda run: names.index(run[0]))
    letters = dict.fromkeys(names, "")
    for number, run in enumerate(runs):
        for name in run:
            letters[name] += ascii_lowercase[number % 26] * (1 + number // 26)
    return letters


def _bar(score: float, interval: tuple[float, float] | None) -> Markup:
    """The score as a tick on a line from 0 to 1, its interval as a bar."""
    x = 4 + 112 * float(score)
    parts = [element("path", d="M4 9H116", class_="grid"), element("path", d="M4 5v8m112-8v8", class_="grid")]
    if interval:
        low, high = (4 + 112 * float(end) for end in interval)
        parts.append(element("path", d=f"M{low:.1f} 9H{high:.1f}", class_="whisker"))
    parts.append(element("path", d=f"M{x:.1f} 2V16", class_="dot"))
    return drawing((120, 18), *parts, label=f"{score:.2f} on a scale from 0 to 1", class_="bar")


def pairs(pool: Pool) -> Sequence[tuple[str, Sequence[str]]]:
    """Rows of the probability that the row's score is above the column's; empty where it is not known."""
    known, order = pool.report.uncertainty, pool.report.order
    if known is None or len(order) < 2:
        return []
    return [
        (pool.report.submissions[a], ["" if a == b else _probability(float(known.beats[a, b])) for b in order])
        for a in order
    ]


def _probability(value: float) -> str:
    return "> 0.99" if value > 0.995 else "< 0.01" if value < 0.005 else f"{value:.2f}"


def tuning_costs(pool: Pool) -> Sequence[tuple[str, Sequence[str]]]:
    """Seconds a study costs whoever runs all its trials: a row a workload, and their sum over base workloads."""
    costs = pool.report.tuning_costs[list(pool.report.order)]
    rows = [
        (workload, ["not recorded" if np.isnan(value) else format_seconds(value) for value in costs[:, j]])
        for j, workload in enumerate(pool.workloads)
    ]
    bases = costs[:, : len(pool.report.workloads)]
    with np.errstate(over="ignore", invalid="ignore"):  # broken logs: huge times, and infinities of both signs
        sums = bases.sum(axis=1)
    totals = ["not recorded" if np.isnan(total) else format_seconds(total) for total in sums]
    return [*rows, ("all base workloads", totals)]


def time_shares(pool: Pool) -> Sequence[Mapping[str, Any]]:
    """Where the wall time of our own trials went, by submission; empty where no record says."""
    rows = []
    for name in pool.names:
        results = [
            record.result
            for record in pool.records
            if record.plan and record.plan.submission.name == name and record.result is not None
        ]
        total = sum(result.total for result in results)
        if not results or total <= 0:
            continue
        steps = sum(result.steps for result in results)
        on_clock = sum(result.harness_us_per_step * result.steps for result in results) / max(steps, 1)
        shares = {kind: sum(result.seconds.get(kind, 0.0) for result in results) / total for kind in _KINDS}
        rows.append(
            {
                "name": name,
                "trials": len(results),
                "total": format_seconds(total),
                "shares": [f"{100 * share:.1f} %" for share in shares.values()],
                "harness": f"{on_clock:.1f}",
            }
        )
    return rows


_KINDS = ("submission", "evaluation", "checkpoint", "logging", "harness")


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A score with something left out, and how many ranks the submission gained (or lost, below zero)."""

    score: str
    gained: int


def sensitivity(pool: Pool, left_out: Mapping[str, Floats]) -> Sequence[tuple[str, Sequence[Moved | None]]]:
    """A row for each workload or submission left out; None for the submission that is left out itself."""
    order = pool.report.order
    rows = []
    for name, scores in left_out.items():
        there = [i for i in order if not np.isnan(scores[i])]
        before = {i: rank for rank, i in enumerate(there)}
        # a stable sort: equal scores keep the order that they have with everything in
        after = {i: rank for rank, i in enumerate(sorted(there, key=lambda i: -round(float(scores[i]), 12)))}
        moved = [Moved(score=f"{scores[i]:.3f}", gained=before[i] - after[i]) if i in before else None for i in order]
        rows.append((name, moved))
    return rows
