"""What a report is made of: the scores, the trials behind them, and where they came from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from timetrial.records.history import TrialHistory
from timetrial.records.trial_record import TrialRecord
from timetrial.scoring.compat import trial_times_compat
from timetrial.scoring.report import ScoreReport
from timetrial.scoring.times import TrialTimes, trial_times
from timetrial.suite import Suite, SuiteWorkload

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Race:
    """One trial of a scored workload, with what it came to."""

    place: int
    """Of its submission in the ranking, from 0."""
    history: TrialHistory
    times: TrialTimes
    fastest: bool
    """Whether it counts for its study; where no trial of a study reached the target, the one that came nearest."""

    @property
    def reached(self) -> bool:
        """Whether it reached the validation target in time."""
        return bool(np.isfinite(self.times.seconds))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Scores and trials of one suite and ruleset; `records` are those of the trials that timetrial ran itself."""

    report: ScoreReport
    suite: Suite
    trials: Sequence[TrialHistory]
    records: Sequence[TrialRecord] = ()
    command: str = ""
    """The command line that made the report, for its provenance."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Submissions from the best score to the worst."""
        return tuple(self.report.submissions[i] for i in self.report.order)

    @property
    def workloads(self) -> tuple[str, ...]:
        """Scored base workloads, then their held-out variants."""
        return self.report.table.selection.workloads

    def metric(self, workload: str) -> str:
        """The name under which histories have the metric that a workload is raced for."""
        return f"validation/{self.suite.workload(workload).metric}"

    def budget(self, workload: str) -> float:
        """Seconds of submission time that the ruleset grants."""
        return self.suite.ruleset(self.report.ruleset).seconds(self.suite.workload(workload))

    @cached_property
    def races(self) -> Mapping[str, Sequence[Race]]:
        """Trials by workload, in the order of ranking, study and trial; without those that the score leaves out."""
        places = {name: place for place, name in enumerate(self.names)}
        studies: dict[tuple[str, int, int], list[TrialHistory]] = defaultdict(list)
        for trial in self.trials:
            if trial.workload in self.workloads and self._slot(trial) < self.report.table.trials.shape[2]:
                studies[trial.workload, places[trial.submission], trial.study].append(trial)
        races: dict[str, list[Race]] = {name: [] for name in self.workloads}
        for (workload, place, _), trials in sorted(studies.items(), key=lambda item: item[0]):
            trials.sort(key=lambda trial: trial.trial)
            races[workload] += self._study(trials, place, self.suite.workload(workload))
        return races

    def _study(self, trials: Sequence[TrialHistory], place: int, workload: SuiteWorkload) -> list[Race]:
        table = self.report.table
        cell = self.report.order[place], self.workloads.index(workload.name), self._slot(trials[0])
        trials = trials[: table.trials[cell]]  # the surplus is not scored
        if self.report.rules.compat:
            times = [trial_times_compat(trial, workload) for trial in trials]
        else:
            times = [trial_times(trial, workload, self.budget(workload.name)) for trial in trials]
        fastest = int(table.fastest_trial[cell])
        if fastest == -1:
            fastest = min(trials, key=lambda trial: _distance(trial, workload)).trial
        return [
            Race(place=place, history=trial, times=own, fastest=trial.trial == fastest)
            for trial, own in zip(trials, times, strict=True)
        ]

    def _slot(self, trial: TrialHistory) -> int:
        """The position of a trial's study in the score's table; beyond its end where fewer studies were asked for."""
        return self._studies[trial.submission].index(trial.study)

    @cached_property
    def _studies(self) -> Mapping[str, Sequence[int]]:
        """Numbers of each submission's studies, in the order in which the score's table has them."""
        numbers: dict[str, set[int]] = defaultdict(set)
        for trial in self.trials:
            if trial.workload in self.workloads:
                numbers[trial.submission].add(trial.study)
        return {name: sorted(found) for name, found in numbers.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that was read of the trials: the same for the same numbers, wherever they lie."""
        digest = hashlib.sha256()
        for trial in sorted(self.trials, key=lambda t: (t.submission, t.study, t.workload, t.trial)):
            digest.update(repr((trial.submission, trial.study, trial.workload, trial.trial)).encode())
            for array in (trial.steps, trial.times, *(trial.metrics[name] for name in sorted(trial.metrics))):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _distance(trial: TrialHistory, workload: SuiteWorkload) -> float:
    """How far a trial's best validation value stayed from the target; infinite without any."""
    values = trial.metrics.get(f"validation/{workload.metric}", np.array([]))
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.inf
    return float((finite if workload.direction == "minimize" else -finite).min())
