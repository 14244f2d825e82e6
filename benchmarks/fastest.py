"""What several benchmarks read from a folder of records: of each study the trial that counts."""

from __future__ import annotations

from pathlib import Path

from timetrial.records.history import TrialHistory
from timetrial.records.runs import read_runs
from timetrial.scoring.times import TrialTimes, fastest, trial_times
from timetrial.suite import Ruleset, Suite, SuiteWorkload

Trials = dict[tuple[str, str], list[TrialHistory]]
"""By submission and workload."""


def read_trials(runs: Path, suite: Suite, ruleset: str) -> Trials:
    """Return the trials that raced on a suite under a ruleset."""
    found: Trials = {}
    for trial in read_runs(runs, suite=suite.name, ruleset=ruleset).trials:
        found.setdefault((trial.submission, trial.workload), []).append(trial)
    return found


def times_of_studies(trials: list[TrialHistory], entry: SuiteWorkload, rules: Ruleset) -> list[list[TrialTimes]]:
    """Return the times of each study's trials."""
    studies: dict[int, list[TrialTimes]] = {}
    for trial in trials:
        studies.setdefault(trial.study, []).append(trial_times(trial, entry, rules.seconds(entry)))
    return list(studies.values())


def fastest_of_studies(trials: list[TrialHistory], entry: SuiteWorkload, rules: Ruleset) -> list[TrialTimes]:
    """Return each study's fastest trial."""
    return [fastest(times) for times in times_of_studies(trials, entry, rules)]
