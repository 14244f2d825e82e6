"""Score reports as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from timetrial.scoring.report import ScoreReport

_WARNINGS_SHOWN = 10


def print_scores(report: ScoreReport, console: Console, warnings: Console) -> None:
    """Print the ranking, the times to target, and what must be known about them; warnings to `warnings`."""
    console.print(ranking_table(report))
    for sentence in _groups(report):
        console.print(sentence, highlight=False)
    console.print(times_table(report))
    for note in report.notes:
        console.print(f"Note: {escape(note)}.", highlight=False)
    for warning in report.warnings[:_WARNINGS_SHOWN]:
        warnings.print(f"warning: {escape(warning)}", highlight=False, soft_wrap=True)
    if (more := len(report.warnings) - _WARNINGS_SHOWN) > 0:
        warnings.print(f"warning: and {more} more like these (all of them: --json)", highlight=False)


def ranking_table(report: ScoreReport) -> Table:
    """Submissions by score, with 95 % intervals and the speed-up against the report's reference."""
    title = f"{report.suite}, {report.ruleset} ruleset" + (", as the public code scores" if report.rules.compat else "")
    table = Table(title=title, caption=_method(report))
    table.add_column("rank", justify="right")
    table.add_column("submission", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("95 % interval", no_wrap=True)
    table.add_column(f"speed-up against {escape(report.reference)}", justify="right")
    table.add_column("95 % interval", no_wrap=True)
    reference = report.submissions.index(report.reference)
    known = report.uncertainty
    for rank, i in enumerate(report.order, start=1):
        scores, speedups = (known.scores["corrected"], known.speedups["corrected"]) if known else (None, None)
        table.add_row(
            str(rank),
            escape(report.submissions[i]),
            f"{report.scores[i]:.4f}",
            f"{scores.low[i]:.3f} to {scores.high[i]:.3f}" if scores else "unknown",
            f"{report.speedups[i, reference]:.2f}x",
            f"{speedups.low[i, reference]:.2f} to {speedups.high[i, reference]:.2f}" if speedups else "unknown",
        )
    return table


def times_table(report: ScoreReport) -> Table:
    """Median seconds to the validation target by workload, one column a submission in the order of the ranking."""
    table = Table(
        title="Time to target (s), median over studies, with its 95 % interval",
        caption="- not reached; * reached, but struck out by the rules (too slow, or its held-out variant missed)",
    )
    table.add_column("workload", overflow="fold")
    for i in report.order:
        table.add_column(escape(report.submissions[i]), justify="right", overflow="fold")
    for j, workload in enumerate(report.table.selection.workloads):
        held_out = j >= len(report.workloads)
        name = escape(workload) + (" (held out)" if held_out else "")
        table.add_row(name, *(_cell(report, i, j) for i in report.order), end_section=j == len(report.workloads) - 1)
    return table


def format_seconds(seconds: float) -> str:
    """Seconds with at least three significant digits, or a dash for a target not reached."""
    if not np.isfinite(seconds):
        return "-"
    return f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"


def _cell(report: ScoreReport, i: int, j: int) -> str:
    text = format_seconds(report.times[i, j])
    if j < len(report.workloads) and np.isfinite(report.times[i, j]) and not np.isfinite(report.counted_times[i, j]):
        text += "*"
    if report.uncertainty is None or text == "-":
        return text
    interval = report.uncertainty.times["corrected"]
    low, high = format_seconds(interval.low[i, j]), format_seconds(interval.high[i, j])
    return f"{text}\n[dim]{low} to {'not reached' if high == '-' else high}[/dim]"


def _groups(report: ScoreReport) -> Sequence[str]:
    if report.uncertainty is None:
        return []
    if not report.groups:
        return ["All neighbours in the ranking can be told apart at 95 %."] if len(report.submissions) > 1 else []
    return [f"Cannot be told apart at 95 %: {escape(', '.join(group))}." for group in report.groups]


def _method(report: ScoreReport) -> str:
    if report.uncertainty is None:
        return "no uncertainty computed"
    return f"{report.resamples:,} resamples of studies, seed {report.seed}"
