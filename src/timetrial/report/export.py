"""The report for papers and scripts: CSV, Markdown, SVG, PNG."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import numpy as np

from timetrial.errors import UserError
from timetrial.report.figures import standalone
from timetrial.report.pool import Pool
from timetrial.report.sections import ranking
from timetrial.report.times import heat_rows

_COLUMNS = ("quantity", "submission", "workload", "study", "value", "low", "high", "counts")


def csv_text(pool: Pool) -> str:
    """All times and scores, one value a row.

    `low` and `high` are the ends of 95 % intervals; `inf` is a target not reached, an empty field is not known.
    `counts` says of a time whether it enters the score. Units: seconds, steps, and ratios against the reference.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for place in range(len(pool.names)):
        writer.writerows(_rows(pool, place))
    return buffer.getvalue()


def _rows(pool: Pool, place: int) -> Iterator[tuple[object, ...]]:
    report = pool.report
    i, name = report.order[place], pool.names[place]
    reference = report.submissions.index(report.reference)
    known = report.uncertainty

    def ends(quantity: str, where: tuple[int, ...]) -> tuple[object, object]:
        if known is None:
            return "", ""
        interval = getattr(known, quantity)["corrected"]
        return _plain(interval.low[where]), _plain(interval.high[where])

    yield "score", name, "", "", _plain(report.scores[i]), *ends("scores", (i,)), ""
    yield "score by steps", name, "", "", _plain(report.scores_by_steps[i]), "", "", ""
    yield "speed-up", name, "", "", _plain(report.speedups[i, reference]), *ends("speedups", (i, reference)), ""
    for j, workload in enumerate(pool.workloads):
        base = j < len(report.workloads)
        counts = str(bool(np.isfinite(report.counted_times[i, j]))).lower() if base else ""
        yield "time to target", name, workload, "", _plain(report.times[i, j]), *ends("times", (i, j)), counts
        yield "steps to target", name, workload, "", _plain(report.steps[i, j]), "", "", ""
        yield "time to test target", name, workload, "", _plain(report.test_times[i, j]), "", "", ""
        yield "tuning cost", name, workload, "", _plain(report.tuning_costs[i, j]), "", "", ""
        for study, seconds in enumerate(report.table.seconds[i, j]):
            yield "time to target of a study", name, workload, study, _plain(seconds), "", "", ""


def _plain(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def markdown(pool: Pool) -> str:
    """The ranking and the times to target as Markdown tables."""
    report = pool.report
    heads = ("rank", "submission", "score", "95 % interval", f"speed-up against {report.reference}", "95 % interval")
    ranked = [
        (str(row.place + 1), row.name, row.score, row.interval, row.speedup, row.speedup_interval)
        for row in ranking(pool)
    ]
    times = [
        (
            workload + (" (held out)" if held_out else ""),
            *(cell.text + (f" ({cell.interval})" if cell.interval else "") for cell in cells),
        )
        for workload, held_out, cells in heat_rows(pool)
    ]
    groups = [f"Cannot be told apart at 95 %: {_escaped(', '.join(group))}." for group in report.groups]
    lines = [
        f"# {_escaped(report.suite)}, {report.ruleset} ruleset",
        "",
        *_table(heads, ranked),
        "",
        *[line for group in groups for line in (group, "")],
        "Time to target (s), median over studies, with its 95 % interval; — missed; \\* reached, but struck out by "
        "the rules:",
        "",
        *_table(("workload", *pool.names), times),
        "",
        *[f"- {_escaped(note)}" for note in report.notes],
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *rows]
    return [f"| {' | '.join(map(_escaped, line))} |" for line in lines]


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: neither a table's bar nor HTML nor emphasis."""
    return "".join(f"\\{character}" if character in r"\`*_[]<>|" else character for character in text)


def svg_text(pool: Pool) -> str:
    """Performance profiles and heat map as one SVG file."""
    return standalone(pool)


def png_bytes(pool: Pool, *, zoom: int = 2) -> bytes:
    """The same as PNG, `zoom` pixels for each of the drawing's. Raises UserError without the extra `report`."""
    try:
        import resvg_py
    except ImportError:
        raise UserError("--format png needs an SVG renderer: pip install 'timetrial[report]'") from None
    return bytes(resvg_py.svg_to_bytes(svg_string=standalone(pool), zoom=zoom))
