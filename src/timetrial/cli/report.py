"""`timetrial report`: logs as one page for the browser, or as figures and tables for a paper."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli.logs import (
    Compat,
    Logs,
    Reference,
    Resamples,
    ResampleSeed,
    RulesetName,
    ScoreRequest,
    Studies,
    SuiteName,
    Trials,
    Workloads,
    read_and_score,
)

if TYPE_CHECKING:
    from timetrial.records.trial_record import TrialRecord
    from timetrial.report.pool import Pool

FORMATS = ("html", "png", "svg", "csv", "md")


def report(  # typer turns parameters into options
    logs: Logs,
    suite: SuiteName = None,
    ruleset: RulesetName = "external",
    compat: Compat = False,
    workloads: Workloads = None,
    studies: Studies = None,
    trials: Trials = None,
    reference: Reference = None,
    resamples: Resamples = 10_000,
    seed: ResampleSeed = 0,
    output: Annotated[
        Path | None, typer.Option(help="The file to write; replaced if it is there.", show_default="report.FORMAT")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="html: everything, on one page; svg, png: profiles and heat map; csv: times and scores; md: tables.",
            show_default="as the output's ending, or html",
        ),
    ] = None,
) -> None:
    """Write a report: one HTML page that works offline, or figures and tables for a paper.

    Reads the records of `timetrial run`, and the public benchmark's logs.

    [bold]Examples[/bold]

    timetrial report runs

    timetrial report logs --suite algoperf-0.5 --output comparison.html

    timetrial report runs --format svg
    """
    chosen, path = _target(output, format_)
    request = ScoreRequest(
        logs=logs,
        suite=suite,
        ruleset=ruleset,
        compat=compat,
        workloads=workloads,
        studies=studies,
        trials=trials,
        reference=reference,
        resamples=resamples,
        seed=seed,
    )
    benchmark, found, scores = read_and_score(request, hyperparameters=True)

    from timetrial.report.pool import Pool

    pool = Pool(
        report=scores,
        suite=benchmark,
        trials=found.trials,
        records=_records(logs, benchmark.name, ruleset),
        command=shlex.join(["timetrial", *sys.argv[1:]]),
    )
    _write(path, _content(pool, chosen))
    if scores.warnings:
        typer.echo(f"warning: {len(scores.warnings)} things could not be read; the report's end lists them", err=True)
    typer.echo(f"Written: {path}")


def _target(output: Path | None, chosen: str | None) -> tuple[str, Path]:
    """Return the format and the file; raises UserError for a format that is not known or a folder that is not there."""
    from timetrial.errors import UserError

    if chosen is None:
        ending = output.suffix.removeprefix(".").lower() if output else ""
        chosen = ending if ending in FORMATS else "html"
    if chosen not in FORMATS:
        raise UserError(f"--format: expected one of {', '.join(FORMATS)}, found {chosen!r}")
    path = output or Path(f"report.{chosen}")
    if path.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"--output: there is no folder {path.parent}; make it, or name another")
    return chosen, path


def _records(logs: list[Path], suite: str, ruleset: str) -> list[TrialRecord]:
    """Return timetrial's own records among the logs; what is wrong with others was said when they were read."""
    from timetrial.errors import FileError
    from timetrial.records.algoperf_logs import is_algoperf_logs
    from timetrial.records.trial_record import find_records

    chosen = []
    for record in (record for path in logs if not is_algoperf_logs(path) for record in find_records(path)):
        try:
            plan, _ = record.plan, record.result
        except FileError:
            continue
        if plan is not None and plan.race and (plan.suite, plan.ruleset) == (suite, ruleset):
            chosen.append(record)
    return chosen


def _content(pool: Pool, chosen: str) -> bytes:
    from timetrial.report import export

    if chosen == "html":
        from timetrial.report.page import html_page

        return html_page(pool).encode(errors="replace")  # a folder's name may hold what is no text
    if chosen == "png":
        return export.png_bytes(pool)
    text = {"svg": export.svg_text, "csv": export.csv_text, "md": export.markdown}[chosen]
    return text(pool).encode(errors="replace")


def _write(path: Path, content: bytes) -> None:
    from timetrial.errors import UserError
    from timetrial.records.files import RecordWriteError, atomic_file

    try:
        with atomic_file(path) as file:
            file.write(content)
    except RecordWriteError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        raise UserError(f"--output: {path} cannot be written ({reason}); name another file") from None
