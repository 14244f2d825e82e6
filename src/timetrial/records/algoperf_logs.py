"""Read and write the public benchmark's logs (spec: protocol.md, section 6).

    <submission>/study_<j>/<workload>_<framework>/trial_<i>/eval_measurements.csv  (and hparams.json)

Reading never fails on what a file holds: what cannot be used is left out and said in a warning.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timetrial.errors import UserError
from timetrial.records.history import Histories, TrialHistory
from timetrial.records.measurements_csv import parse_measurements

MEASUREMENTS = "eval_measurements.csv"
HYPERPARAMETERS = "hparams.json"

_STUDY = re.compile(r"study_(\d{1,9})")
_TRIAL = re.compile(r"trial_(\d{1,9})")
_FRAMEWORK = re.compile(r"_(jax|pytorch)$")
_SPLITS = ("train/", "validation/", "test/")
_TIMES = ("score", "accumulated_submission_time")  # the same number twice; the public scoring reads `score`
_STEPS = "global_step"


def is_algoperf_logs(path: str | Path) -> bool:
    """Whether a folder holds AlgoPerf logs: some study in it has a workload folder that names a framework."""
    return any(
        _FRAMEWORK.search(workload.name)
        for submission in _submissions(Path(path))
        for _, study in _numbered(submission, _STUDY)
        for workload in _folders(study)
    )


def read_algoperf_logs(
    path: str | Path,
    *,
    only: Mapping[str, Collection[str]] | None = None,
    hyperparameters: bool = True,
    compat: bool = False,
) -> Histories:
    """Read a tree of submissions, or the folder of one submission.

    `only` names the metrics wanted of each workload (other workloads are left out), None reads everything.
    `compat` keeps torn rows as pandas would, for scores that must equal the public code's.
    Raises UserError when the folder is missing or holds no study.
    """
    root = Path(path)
    submissions = list(_submissions(root))
    if not submissions:
        raise UserError(f"{root}: expected AlgoPerf logs, <submission>/study_<j>/<workload>_<framework>/trial_<i>")
    found = Histories()
    for folder in submissions:
        for study, workload, trial, trial_folder in _trials(folder):
            if only is not None and workload not in only:
                continue
            wanted = None if only is None else frozenset(only[workload])
            history = _read_trial(trial_folder, wanted, found.warnings, hyperparameters, compat)
            if history is not None:
                steps, times, metrics, points = history
                found.trials.append(
                    TrialHistory(
                        submission=folder.resolve().name if folder.name in {"", ".."} else folder.name,
                        study=study,
                        workload=workload,
                        trial=trial,
                        steps=steps,
                        times=times,
                        metrics=metrics,
                        hyperparameters=points,
                        path=trial_folder / MEASUREMENTS,
                    )
                )
    return found


def write_algoperf_logs(histories: Iterable[TrialHistory], folder: str | Path, framework: str = "pytorch") -> None:
    """Write histories as a tree that the public scoring code reads.

    Written are the columns that a history knows: global_step, score, accumulated_submission_time and the metrics,
    sorted as the public logger sorts them. Raises UserError rather than replace a trial that is already there.
    """
    for history in histories:
        trial = Path(folder) / history.submission / f"study_{history.study}"
        trial = trial / f"{history.workload}_{framework}" / f"trial_{history.trial}"
        if (trial / MEASUREMENTS).exists():
            raise UserError(f"{trial / MEASUREMENTS} is already there; export into an empty folder")
        trial.mkdir(parents=True, exist_ok=True)
        if history.hyperparameters is not None:
            _write(trial / HYPERPARAMETERS, json.dumps(dict(history.hyperparameters), indent=2))
        _write(trial / MEASUREMENTS, _as_csv(history))


def _submissions(root: Path) -> Iterator[Path]:
    if any(True for _ in _numbered(root, _STUDY)):
        yield root
        return
    for folder in _folders(root):
        if any(True for _ in _numbered(folder, _STUDY)):
            yield folder


def _trials(submission: Path) -> Iterator[tuple[int, str, int, Path]]:
    for study, study_folder in _numbered(submission, _STUDY):
        for workload_folder in _folders(study_folder):
            workload = _FRAMEWORK.sub("", workload_folder.name)
            for trial, trial_folder in _numbered(workload_folder, _TRIAL):
                yield study, workload, trial, trial_folder


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / name for name in sorted(entry.name for entry in entries if entry.is_dir())]
    except OSError:
        return []


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    matches = ((pattern.fullmatch(path.name), path) for path in _folders(folder))
    return sorted((int(match[1]), path) for match, path in matches if match)


_Parts = tuple[NDArray[np.int64], NDArray[np.float64], dict[str, NDArray[np.float64]], Mapping[str, Any] | None]


def _read_trial(
    folder: Path, wanted: frozenset[str] | None, warnings: list[str], hyperparameters: bool, compat: bool
) -> _Parts | None:
    path = folder / MEASUREMENTS
    try:
        data = _read_bytes(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        problem = "there is no such file" if missing else f"cannot be read ({error.strerror})"
        warnings.append(f"{path}: {problem}; the trial is left out")
        return None
    columns, complaints = parse_measurements(data, path, _column_filter(wanted), keep_torn=compat)
    warnings += complaints
    length = max((len(column) for column in columns.values()), default=0)
    if not length:
        warnings.append(f"{path}: holds no evaluation")
    unknown = np.full(length, np.nan)
    times = next((columns[name] for name in _TIMES if name in columns), None)
    if times is None and length:
        warnings.append(f"{path}: expected a column {_TIMES[0]!r}; none of its evaluations can count")
    return (
        _as_steps(columns.get(_STEPS, unknown)),
        unknown if times is None else times,
        {name: column for name, column in columns.items() if name.startswith(_SPLITS)},
        _read_hyperparameters(folder / HYPERPARAMETERS, warnings) if hyperparameters else None,
    )


def _column_filter(wanted: frozenset[str] | None) -> Callable[[str], bool]:
    always = {*_TIMES, _STEPS}
    if wanted is None:
        return lambda name: name in always or name.startswith(_SPLITS)
    return (wanted | always).__contains__


def _read_bytes(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _as_steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    known = np.isfinite(values) & (values >= 0) & (values < 2**53)
    return np.where(known, values, -1.0).astype(np.int64)


def _read_hyperparameters(path: Path, warnings: list[str]) -> Mapping[str, Any] | None:
    try:
        data = json.loads(_read_bytes(path))
    except FileNotFoundError:
        return None  # the self-tuning ruleset has none
    except (OSError, ValueError, RecursionError):
        warnings.append(f"{path}: not valid JSON; the trial's hyperparameters are unknown")
        return None
    if not isinstance(data, dict):
        warnings.append(f"{path}: expected a JSON object; the trial's hyperparameters are unknown")
        return None
    return data


def _as_csv(history: TrialHistory) -> str:
    columns: dict[str, list[str]] = {name: [_text(value) for value in history.times] for name in _TIMES}
    columns[_STEPS] = ["" if step < 0 else str(step) for step in history.steps]
    columns |= {name: [_text(value) for value in values] for name, values in history.metrics.items()}
    names = sorted(columns)
    rows = zip(*(columns[name] for name in names), strict=True)
    return "\n".join([",".join(names), *(",".join(row) for row in rows)]) + "\n"


def _text(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
