"""`timetrial check`: what would break a submission, or disqualify it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from timetrial.cli.options import AsJson, Device, Jobs

if TYPE_CHECKING:
    from rich.console import Console

    from timetrial.check.findings import CheckReport


def check(
    submission: Annotated[str, typer.Argument(help="A file, a folder or an installed name.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="One workload, ten steps: seconds instead of minutes.")
    ] = False,
    jobs: Jobs = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Check a submission: it trains every kind of workload, resumes, and keeps the benchmark's rules.

    Two minutes on two cores. Exit code 0: nothing is wrong. 1: something is. 2: there is no such submission.

    [bold]Examples[/bold]

    timetrial check my_optimizer.py

    timetrial check my_optimizer.py --quick --json
    """
    from rich.console import Console
    from rich.progress import Progress

    from timetrial.check.run import QUICK, Scale, check_submission
    from timetrial.cli.race import choose_device
    from timetrial.launch.local import default_jobs

    console = Console(stderr=as_json)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"checking {submission}", total=None)
        report = check_submission(
            submission,
            QUICK if quick else Scale(),
            jobs=jobs or default_jobs(1),
            device=choose_device(device),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        _print(report, console)
    if not report.passed:
        raise typer.Exit(1)


def _print(report: CheckReport, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    styles = {"pass": "green", "note": "yellow", "fail": "bold red"}
    table = Table(title=f"Check of {escape(report.submission)}")
    for column in ("check", "verdict", "what was found"):
        table.add_column(column, overflow="fold")
    for each in report.checks:
        found = [f"{finding.message}\n  {finding.where}".rstrip() for finding in each.findings]
        table.add_row(each.name, f"[{styles[each.verdict]}]{each.verdict}[/]", escape("\n".join(found) or each.detail))
    console.print(table)
    failed = sum(each.verdict == "fail" for each in report.checks)
    console.print(
        f"{failed} of {len(report.checks)} checks failed." if failed else "Nothing is wrong with it.", highlight=False
    )
