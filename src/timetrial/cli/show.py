"""`timetrial show`: one trial in full, or all trials of a runs folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timetrial.cli.options import AsJson

if TYPE_CHECKING:
    from timetrial.records.trial_record import TrialRecord


def show(
    path: Annotated[Path, typer.Argument(help="A runs folder, any folder below it, or one trial's.")],
    as_json: AsJson = False,
) -> None:
    """Show one trial, or list all trials of a folder.

    [bold]Examples[/bold]

    timetrial show runs

    timetrial show runs/quickstart-1/external/adamw/study_0/digits_mlp/trial_1
    """
    from timetrial.errors import UserError
    from timetrial.records.trial_record import TrialRecord, find_records
    from timetrial.report.rows import print_rows, print_trial

    if (path / "trial.json").is_file():
        print_trial(_details(TrialRecord(path)), as_json=as_json)
        return
    records = find_records(path)
    if not records:
        raise UserError(f"{path}: no trials are on record here")
    print_rows([_row(record) for record in records], as_json=as_json)


def _row(record: TrialRecord) -> dict[str, Any]:
    plan, result = record.plan, record.result
    assert plan is not None, "find_records finds folders with a trial.json"
    return {
        "suite": plan.suite,
        "submission": plan.submission.name,
        "workload": plan.workload.name,
        "study": plan.study,
        "trial": plan.trial,
        "state": result.ended if result else "not ended",
        "time to target (s)": result.time_to_target if result else None,
        "steps": result.steps if result else None,
        "reason": result.reason if result else "",
    }


def _details(record: TrialRecord) -> dict[str, Any]:
    from timetrial.records.plan import PLAN, RESULT

    plan, result = record.plan, record.result
    assert plan is not None, "the caller saw its trial.json"
    return {
        "plan": PLAN.dump_python(plan, mode="json"),
        "environment": record.environment,
        "evaluations": record.evaluations,
        "result": RESULT.dump_python(result, mode="json") if result else None,
    }
