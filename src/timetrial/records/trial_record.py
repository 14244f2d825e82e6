"""One trial's folder: `trial.json`, `evals.jsonl`, `result.json`, `checkpoint/` while it runs, and a lock."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from timetrial.errors import FileError, UserError
from timetrial.records.files import RecordWriteError, append_line, read_lines, write_json, write_lines
from timetrial.records.plan import FORMAT, PLAN, RESULT, TrialPlan, TrialResult


class NewerRecordError(FileError):
    """A record that this version cannot read: unlike a damaged one it is never passed over."""


class TrialRecord:
    """Reads and writes one trial's folder. Reading changes nothing; nothing torn is read as valid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / "checkpoint"
        self.checkpoint_file = self.checkpoint / "state.pt"
        self._trial = folder / "trial.json"
        self._evaluations = folder / "evals.jsonl"
        self._result = folder / "result.json"

    @cached_property
    def plan(self) -> TrialPlan | None:
        """What determined the trial; None where there is no record. Raises FileError for one that is broken."""
        data = _read_json(self._trial)
        return None if data is None else _validated(PLAN, data.get("plan"), self._trial)

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Versions and hardware of the machine that (last) ran the trial."""
        environment = (_read_json(self._trial) or {}).get("environment", {})
        return environment if isinstance(environment, dict) else {}

    @cached_property
    def result(self) -> TrialResult | None:
        """How the trial ended; None while it has not. Raises FileError for a broken file."""
        data = _read_json(self._result)
        if data is None:
            return None
        data.pop("format")
        return _validated(RESULT, data, self._result)

    @property
    def evaluations(self) -> list[dict[str, float]]:
        """All complete evaluations, oldest first. Raises FileError for a line that is not an evaluation."""
        try:
            rows = read_lines(self._evaluations)
            return [{key: float(value) for key, value in row.items()} for row in rows]
        except (ValueError, TypeError) as error:
            raise FileError(self._evaluations, f"expected one JSON object of numbers a line: {error}") from None

    def change(self, identities: Mapping[str, str]) -> str | None:
        """Return in words which of these SHA-256 is another than when the trial was begun; None for none."""
        for name, now in identities.items():
            began = self.environment.get(name, now)
            if began != now:
                return f"the SHA-256 of its {name} was {str(began)[:12]}... and is now {now[:12]}..."
        return None

    def begin(self, plan: TrialPlan, environment: Mapping[str, Any]) -> None:
        """Write `trial.json`; what an earlier, interrupted attempt left is kept for resuming."""
        try:
            self.checkpoint.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordWriteError(self.checkpoint, error) from error
        data = {"format": FORMAT, "plan": PLAN.dump_python(plan, mode="json"), "environment": environment}
        write_json(self._trial, data)
        self._forget()

    def restore_evaluations(self, evaluations: list[dict[str, float]]) -> None:
        """Make the log hold the evaluations of the checkpoint that the trial goes on from, and no more.

        A checkpoint is written before its evaluation is logged: the log can lack the last one, or its line be
        torn, but it never holds one that the checkpoint does not.
        """
        write_lines(self._evaluations, evaluations)

    def append_evaluation(self, row: Mapping[str, float]) -> None:
        """Add one evaluation and flush it to the disk."""
        append_line(self._evaluations, row)

    def finish(self, result: TrialResult) -> None:
        """Write `result.json`, the last file of a record, and remove the checkpoint."""
        write_json(self._result, {"format": FORMAT, **RESULT.dump_python(result, mode="json")})
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        self._forget()

    def discard(self) -> None:
        """Remove the record."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._forget()

    def _forget(self) -> None:
        for name in ("plan", "environment", "result"):
            self.__dict__.pop(name, None)


def find_records(runs: Path) -> list[TrialRecord]:
    """Return the records below `runs`, in the order of their paths; raises UserError where there is no folder."""
    if not runs.is_dir():
        raise UserError(f"{runs}: no such runs folder; `timetrial run` makes one, `--runs-dir` names another")
    return [TrialRecord(path.parent) for path in sorted(runs.glob("**/trial.json"))]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(path, f"not valid JSON ({error}); the record is damaged") from None
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise FileError(path, "expected a whole number: this is not a timetrial record", key="format")
    if data["format"] > FORMAT:
        raise NewerRecordError(
            path,
            f"written by a newer timetrial (format {data['format']}; this version reads up to {FORMAT}): "
            "update timetrial to read it",
            key="format",
        )
    return data


def _validated(adapter: Any, data: Any, path: Path) -> Any:
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise FileError.from_validation(path, error) from None
