"""`timetrial score`: read logs, score them as one pool, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def score(  # typer turns parameters into options
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
    _, found, report = read_and_score(request, everything=export_algoperf is not None)
    if export_algoperf is not None:
        from timetrial.records.algoperf_logs import write_algoperf_logs

        write_algoperf_logs(found.trials, export_algoperf)
    if json:
        from json import dumps

        typer.echo(dumps(report.to_json(), indent=2, allow_nan=False))
        return
    from rich.console import Console

    from timetrial.report.tables import print_scores

    print_scores(report, Console(), Console(stderr=True))
