"""`timetrial list`: what there is to run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from timetrial.cli.options import AsJson


class What(StrEnum):
    """What can be listed."""

    workloads = "workloads"
    submissions = "submissions"
    suites = "suites"


def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    suite: Annotated[str | None, typer.Option(help="Only this suite's workloads.", show_default="all suites")] = None,
    as_json: AsJson = False,
) -> None:
    """List workloads, submissions or suites.

    [bold]Examples[/bold]

    timetrial list suites

    timetrial list workloads --suite algoperf-0.6
    """
    from timetrial.errors import UserError
    from timetrial.report.rows import print_rows

    if suite is not None and what is not What.workloads:
        raise UserError(f"--suite goes with `list workloads`, not with `list {what.value}`")
    rows = {What.workloads: _workloads, What.submissions: _submissions, What.suites: _suites}[what](suite)
    print_rows(rows, as_json=as_json)


def _suites(_: str | None) -> list[dict[str, Any]]:
    from timetrial.suite import load_suite, suite_names
    from timetrial.workloads.registry import is_runnable

    suites = [load_suite(name) for name in suite_names()]
    return [
        {
            "suite": suite.name,
            "workloads": len(suite.workloads),
            "of these ready": sum(map(is_runnable, suite.workloads.values())),
            "variants": len(suite.variants),
            "rulesets": ", ".join(suite.rulesets),
            "title": suite.title,
        }
        for suite in suites
    ]


def _workloads(only: str | None) -> list[dict[str, Any]]:
    from timetrial.suite import load_suite, suite_names
    from timetrial.workloads.registry import status

    return [
        {
            "suite": suite.name,
            "workload": workload.name,
            "preset": workload.preset,
            "metric": workload.metric,
            "target": workload.validation_target,
            "step hint": workload.step_hint,
            "budget (s)": workload.budget,
            "status": status(workload),
        }
        for suite in (load_suite(name) for name in ([only] if only else suite_names()))
        for workload in suite.all_workloads.values()
    ]


def _submissions(_: str | None) -> list[dict[str, Any]]:
    import ast
    from importlib.util import find_spec
    from pathlib import Path

    from timetrial.algorithms.registry import known_submissions

    rows = []
    for name, location in sorted(known_submissions().items()):
        spec = find_spec(location.partition(":")[0])
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        rows.append({"submission": name, "about": summary, "class": location})
    return rows
