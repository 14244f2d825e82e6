"""`timetrial score`: read logs, score them as one pool, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from timetrial.records.history import Histories
    from timetrial.suite import Suite


def score(  # typer turns parameters into options
    logs: Annotated[
        list[Path],
        typer.Argument(help="Folders of logs: trees of submissions, or single submissions.", show_default=False),
    ],
    suite: Annotated[
        str | None,
        typer.Option(help="The suite to score under: a name, or a .toml file.", show_default="that of the records"),
    ] = None,
    ruleset: Annotated[str, typer.Option(help="external or self.")] = "external",
    compat: Annotated[bool, typer.Option("--compat", help="Score exactly as the public code does.")] = False,
    workloads: Annotated[
        str | None, typer.Option(help="Base workloads to score, separated by commas (default: all recorded).")
    ] = None,
    studies: Annotated[
        int | None, typer.Option(min=1, help="How many studies there are meant to be (default: as the ruleset).")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many trials of a study count (default: as the ruleset).")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The submission that speed-ups are against (default: a baseline, or the best)."),
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap resamples; 0 leaves intervals out.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    export_algoperf: Annotated[
        Path | None, typer.Option(help="Also write the trials as AlgoPerf logs into this folder.")
    ] = None,
) -> None:
    """Score submissions from their logs: times to target, scores, intervals, and who cannot be told apart.

    Reads the records of `timetrial run`, and the public benchmark's logs.

    [bold]Examples[/bold]

    timetrial score runs

    timetrial score logs --suite algoperf-0.5 --compat
    """
    from timetrial.records.algoperf_logs import write_algoperf_logs
    from timetrial.scoring.score import score_histories
    from timetrial.suite import load_suite

    benchmark = load_suite(suite or _suite_of(logs))
    found = _read(logs, benchmark, ruleset, everything=export_algoperf is not None, compat=compat)
    report = score_histories(
        found.trials,
        benchmark,
        ruleset=ruleset,
        compat=compat,
        workloads=[name.strip() for name in workloads.split(",")] if workloads else None,
        studies=studies,
        trials=trials,
        reference=reference,
        resamples=resamples,
        seed=seed,
        warnings=found.warnings,
    )
    if export_algoperf is not None:
        write_algoperf_logs(found.trials, export_algoperf)
    if json:
        from json import dumps

        typer.echo(dumps(report.to_json(), indent=2, allow_nan=False))
        return
    from rich.console import Console

    from timetrial.report.tables import print_scores

    print_scores(report, Console(), Console(stderr=True))


def _suite_of(logs: list[Path]) -> str:
    """Return the suite that timetrial's own records name; AlgoPerf's logs name none."""
    from timetrial.errors import UserError
    from timetrial.records.runs import suites_of

    names = sorted({name for path in logs for name in suites_of(path)})
    if len(names) != 1:
        found = f"records of {', '.join(names)}" if names else "no records of timetrial's own, which name theirs"
        raise UserError(f"--suite is needed: found {found}")
    return names[0]


def _read(logs: list[Path], suite: Suite, ruleset: str, *, everything: bool, compat: bool) -> Histories:
    """Read AlgoPerf's logs and timetrial's own records; `everything` means also what scoring does not look at."""
    from timetrial.records.algoperf_logs import is_algoperf_logs, read_algoperf_logs
    from timetrial.records.history import Histories
    from timetrial.records.runs import read_runs
    from timetrial.scoring.score import scored_metrics

    found = Histories()
    for path in logs:
        if is_algoperf_logs(path):
            only = None if everything else scored_metrics(suite)
            found.extend(read_algoperf_logs(path, only=only, hyperparameters=everything, compat=compat))
        else:
            found.extend(read_runs(path, suite=suite.name, ruleset=ruleset))
    return found
