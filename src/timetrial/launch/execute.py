"""Carrying a run out: what is on record stays, the rest is run, and what could not be is told."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timetrial.errors import UserError
from timetrial.launch.plan import Sorted, sort_by_record
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The trials of a run before it starts."""

    todo: list[TrialPlan]
    kept: int
    """On record, and not run again."""
    failed: int
    """Of those kept, how many had failed."""


def prepare(plans: Sequence[TrialPlan], runs: Path, *, overwrite: bool, retry_failed: bool) -> Standing:
    """Decide what is to be run, and remove the records that the user wants replaced.

    Raises UserError: the runs folder cannot be written, or it holds records of other trials in the same places.
    """
    _check_writable(runs)
    found = sort_by_record(plans, runs)
    if found.different and not overwrite:
        plan, difference = found.different[0]
        raise UserError(
            f"{runs / plan.folder}: on record with another plan ({difference}), as are "
            f"{len(found.different)} trials in all: --overwrite replaces them, another --runs-dir keeps both"
        )
    again = _to_be_replaced(found, retry_failed=retry_failed)
    for plan in again:
        TrialRecord(runs / plan.folder).discard()
    wanted = {plan.folder for plan in [*found.todo, *again]}
    todo = [plan for plan in plans if plan.folder in wanted]
    return Standing(todo=todo, kept=len(plans) - len(todo), failed=0 if retry_failed else len(found.failed))


def _to_be_replaced(found: Sorted, *, retry_failed: bool) -> list[TrialPlan]:
    return [plan for plan, _ in found.different] + (found.failed if retry_failed else [])


def _check_writable(runs: Path) -> None:
    try:
        runs.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=runs, prefix=".writable")
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise UserError(
            f"{runs}: cannot write to the runs folder ({error.strerror}); --runs-dir names another"
        ) from None
