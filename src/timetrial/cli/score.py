"""`timetrial score`: read logs, score them as one pool, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(  # typer turns parameters into options
    logs: Annotated[
        list[Path],
        typer.Argument(help="Folders of logs: trees of submissions, or single submissions.", show_default=False),
    ],
    suite: Annotated[str, typer.Option(help="The suite to score under: a name, or a .toml file.")],
    ruleset: Annotated[str, typer.Option(help="external or self.")] = "external",
    compat: Annotated[bool, typer.Option("--compat", help="Score exactly as the public code does.")] = False,
    workloads: Annotated[
        str | None, typer.Option(help="Base workloads to score, separated by commas (default: all recorded).")
    ] = None,
    studies: Annotated[
        int | None, typer.Option(min=1, help="How many studies there are meant to be (default: as the ruleset).")
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
    """Score submissions from their logs: times to target, scores, intervals, and who cannot be told apart."""
    from timetrial.records.algoperf_logs import read_algoperf_logs, write_algoperf_logs
    from timetrial.records.history import Histories
    from timetrial.scoring.score import score_histories, scored_metrics
    from timetrial.suite import load_suite

    benchmark = load_suite(suite)
    found = Histories()
    everything = export_algoperf is not None
    for path in logs:
        only = None if everything else scored_metrics(benchmark)
        found.extend(read_algoperf_logs(path, only=only, hyperparameters=everything, compat=compat))
    report = score_histories(
        found.trials,
        benchmark,
        ruleset=ruleset,
        compat=compat,
        workloads=[name.strip() for name in workloads.split(",")] if workloads else None,
        studies=studies,
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
