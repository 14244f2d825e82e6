"""The table that everything else is computed from: times by submission, workload and study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timetrial.errors import UserError
from timetrial.records.history import TrialHistory
from timetrial.scoring.compat import fastest_compat, trial_times_compat, with_stale_columns
from timetrial.scoring.times import TrialTimes, fastest, median_over_studies, trial_times
from timetrial.suite import Ruleset, Suite

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which workloads are scored: base workloads, and the held-out variants that guard some of them."""

    bases: tuple[str, ...]
    variants: tuple[str, ...] = ()
    base_of: tuple[int, ...] = ()
    """For each variant, the position of its base workload among `bases`."""

    @property
    def workloads(self) -> tuple[str, ...]:
        """Base workloads, then variants: the order of every table's columns."""
        return self.bases + self.variants


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyTable:
    """Times by study. Arrays have shape (submissions, workloads, studies); infinity is a target not reached."""

    submissions: tuple[str, ...]
    selection: Selection
    seconds: Floats
    """Submission time of the study's fastest trial to the validation target."""
    steps: Floats
    """Fewest steps in which a trial of the study reached it."""
    test_seconds: Floats
    """Submission time of the fastest trial to the test target."""
    spent: Floats
    """Submission time that all recorded trials of the study cost together."""
    trials: NDArray[np.int64]
    """How many trials of the study were recorded; 0 where the study is missing."""
    fastest_trial: NDArray[np.int64]
    """Number of the trial that counts; -1 where none reached the target."""
    counted: NDArray[np.bool_] | None
    """Which studies enter a median; None for all of them, missing ones as not reached."""

    def medians(self, values: Floats) -> Floats:
        """Median over the studies that count: shape (submissions, workloads)."""
        return median_over_studies(values, self.counted)


def select_workloads(
    histories: Iterable[TrialHistory], suite: Suite, wanted: Sequence[str] | None
) -> tuple[Selection, list[str]]:
    """Choose the workloads to score and say, in a note, what is left out and why.

    Without `wanted`, base workloads that no submission has a record of are left out. The same goes for held-out
    variants. Raises UserError for a name that is not a base workload, and when nothing is left to score.
    """
    recorded = {history.workload for history in histories}
    notes = []
    if wanted is None:
        bases = tuple(name for name in suite.workloads if name in recorded)
        if missing := [name for name in suite.workloads if name not in recorded]:
            notes.append(
                f"no submission has a record of {', '.join(missing)}: scores are over the other {len(bases)} of "
                f"{len(suite.workloads)} workloads and cannot be compared with scores over all"
            )
    else:
        bases = tuple(dict.fromkeys(suite.workload(name).name for name in wanted))
        if variants := [name for name in bases if name not in suite.workloads]:
            raise UserError(f"{variants[0]} is a held-out variant; choose among {', '.join(suite.workloads)}")
    if not bases:
        raise UserError(f"nothing to score: no trial of a workload of suite {suite.name} was found")
    drawn = suite.held_out.drawn if suite.held_out else ()
    guards = [name for name in drawn if suite.variants[name].base in bases]
    if absent := [name for name in guards if name not in recorded]:
        notes.append(f"no submission has a record of the held-out {', '.join(absent)}: left out")
    guards = [name for name in guards if name in recorded]
    if unused := sorted(recorded - {*bases, *guards}):
        notes.append(f"not scored: {', '.join(unused)}")
    return Selection(
        bases=bases,
        variants=tuple(guards),
        base_of=tuple(bases.index(suite.variants[name].base) for name in guards),
    ), notes


def build_table(
    histories: Sequence[TrialHistory],
    suite: Suite,
    selection: Selection,
    ruleset: Ruleset,
    *,
    compat: bool = False,
    studies: int | None = None,
) -> tuple[StudyTable, list[str]]:
    """Reduce trials to studies; returns the table and notes on missing or surplus studies and trials.

    A submission's studies are taken in the order of their numbers. There are as many as the ruleset has (or more
    if more were recorded), or exactly `studies`; missing ones count as not reached. In `compat` mode the studies
    are those present, and no trial is surplus. Raises UserError when one trial is given twice.
    """
    notes: list[str] = []
    cells = _cells(histories, suite, selection, ruleset, notes, compat=compat)
    submissions = tuple(sorted({submission for submission, _, _ in cells}))
    numbers = {name: sorted({study for sub, _, study in cells if sub == name}) for name in submissions}
    recorded = max(map(len, numbers.values()))
    slots = studies or (recorded if compat else max(recorded, ruleset.studies))
    if slots > ruleset.studies and studies is None:
        notes.append(f"{slots} studies were recorded, the ruleset asks for {ruleset.studies}; all of them count")
    arrays = _empty(len(submissions), len(selection.workloads), slots)
    where_submission = {name: i for i, name in enumerate(submissions)}
    where_workload = {name: i for i, name in enumerate(selection.workloads)}
    for (submission, workload, study), trials in cells.items():
        slot = numbers[submission].index(study)
        if slot < slots:
            where = (where_submission[submission], where_workload[workload], slot)
            _fill(arrays, where, trials, fastest_compat(trials) if compat else fastest(trials))
    present = arrays["trials"] > 0
    if not compat:
        notes += _missing(submissions, selection, present)
    table = StudyTable(
        submissions=submissions,
        selection=selection,
        seconds=arrays["seconds"],
        steps=arrays["steps"],
        test_seconds=arrays["test_seconds"],
        spent=arrays["spent"],
        trials=arrays["trials"].astype(np.int64),
        fastest_trial=arrays["fastest_trial"].astype(np.int64),
        counted=present if compat else None,
    )
    return table, notes


_Cell = tuple[str, str, int]


def _cells(
    histories: Sequence[TrialHistory],
    suite: Suite,
    selection: Selection,
    ruleset: Ruleset,
    notes: list[str],
    *,
    compat: bool,
) -> dict[_Cell, list[TrialTimes]]:
    """Group trials by (submission, workload, study), in the order of their numbers."""
    names = set(selection.workloads)
    grouped: dict[_Cell, list[TrialHistory]] = defaultdict(list)
    seen: dict[tuple[str, str, int, int], TrialHistory] = {}
    for history in histories:
        if history.workload in names:
            key = (history.submission, history.workload, history.study)
            if (twin := seen.setdefault((*key, history.trial), history)) is not history:
                raise UserError(f"{twin.path} and {history.path} are the same trial of {history.submission}")
            grouped[key].append(history)
    surplus = 0
    cells = {}
    for key, trials in grouped.items():
        workload = suite.workload(key[1])
        trials.sort(key=lambda history: history.trial)
        if compat:
            cells[key] = [trial_times_compat(history, workload) for history in with_stale_columns(trials)]
            continue
        surplus += max(0, len(trials) - ruleset.trials)
        budget = ruleset.seconds(workload)
        cells[key] = [trial_times(history, workload, budget) for history in trials[: ruleset.trials]]
    if surplus:
        notes.append(
            f"the ruleset grants {ruleset.trials} trials a study; where there are more, "
            f"those with the lowest numbers count ({surplus} left out)"
        )
    return cells


def _empty(submissions: int, workloads: int, studies: int) -> dict[str, Floats]:
    shape = (submissions, workloads, studies)
    missed = {name: np.full(shape, np.inf) for name in ("seconds", "steps", "test_seconds")}
    return {**missed, "spent": np.zeros(shape), "trials": np.zeros(shape), "fastest_trial": np.full(shape, -1.0)}


def _fill(
    arrays: Mapping[str, Floats], where: tuple[int, int, int], trials: Sequence[TrialTimes], best: TrialTimes
) -> None:
    arrays["seconds"][where] = best.seconds
    arrays["steps"][where] = min(trial.steps for trial in trials)
    arrays["test_seconds"][where] = min(trial.test_seconds for trial in trials)
    arrays["spent"][where] = sum(trial.spent for trial in trials)
    arrays["trials"][where] = len(trials)
    arrays["fastest_trial"][where] = -1 if np.isposinf(best.seconds) else best.trial


def _missing(submissions: Sequence[str], selection: Selection, present: NDArray[np.bool_]) -> list[str]:
    studies = present.shape[2]
    notes = []
    for i, submission in enumerate(submissions):
        counts = present[i].sum(axis=1)
        by_count: dict[int, list[str]] = defaultdict(list)
        for name, count in zip(selection.workloads, counts, strict=True):
            by_count[int(count)].append(name)
        notes += [
            f"{submission}: {count} of {studies} studies recorded on {', '.join(names)}; "
            "missing ones count as not reached"
            for count, names in sorted(by_count.items())
            if count < studies
        ]
    return notes
