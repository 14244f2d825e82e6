"""Plain tables and single trials for the terminal, or the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from timetrial.records.files import encode, flatten


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows that have the same keys: as a table with the keys as its head, or as a JSON list."""
    if as_json:
        print(json.dumps(encode(list(rows)), indent=2))
        return
    table = Table()
    for key in rows[0] if rows else ():
        numeric = any(isinstance(row[key], int | float) for row in rows)
        table.add_column(escape(key), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console().print(table)


def print_trial(details: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one trial: its plan, where it ran, its evaluations and how it ended."""
    if as_json:
        print(json.dumps(encode(dict(details)), indent=2))
        return
    console = Console()
    result = details["result"] or {"reason": "has not ended; run the same command again to go on"}
    for title, facts in (
        ("Trial", flatten(details["plan"])),
        ("Machine", flatten(details["environment"])),
        ("Result", flatten({key: value for key, value in result.items() if key != "traceback"})),
    ):
        console.print(f"[bold]{title}[/bold]")
        for key, value in facts.items():
            console.print(f"  {escape(key)}: {_cell(value)}", highlight=False)
    console.print("[bold]Evaluations[/bold]")
    print_rows([_without_details(row) for row in details["evaluations"]], as_json=False)
    if result.get("traceback"):
        console.print(escape(result["traceback"]), style="red", highlight=False)


def _without_details(row: Mapping[str, Any]) -> dict[str, Any]:
    """What fits a terminal: step, submission time, and the metrics of validation and test; --json has it all."""
    wanted = ("step", "submission_time")
    return {key: value for key, value in row.items() if key in wanted or key.startswith(("validation/", "test/"))}


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return escape(str(value))
