"""A Markdown table of how a suite's raced submissions fared: time and steps to the target, misses named.

    timetrial run quickstart-1 --studies 1 --runs-dir RUNS --submission adam --submission adamw ...
    python benchmarks/algorithm_table.py RUNS [--suite quickstart-1] [--ruleset external]

Of each study the fastest trial counts, of the studies the median, as in scoring. "missed" is followed by the best value
that any trial reached, as it stands to the target.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from timetrial.records.trial_record import TrialRecord
from timetrial.suite import SuiteWorkload, load_suite

Reached = tuple[float, float]
"""Seconds and steps to the target."""


def first_reached(record: TrialRecord, entry: SuiteWorkload) -> Reached:
    """Return when a trial first reached the target; infinity where it never did."""
    for row in record.evaluations:
        if entry.reached(row[f"validation/{entry.metric}"], entry.validation_target):
            return row["submission_time"], row["step"]
    return math.inf, math.inf


def cell(records: Sequence[TrialRecord], entry: SuiteWorkload) -> str:
    """Return what one submission did on one workload."""
    if not records:
        return "-"
    studies: dict[int, list[Reached]] = {}
    for record in records:
        assert record.plan is not None, "it is on record"
        studies.setdefault(record.plan.study, []).append(first_reached(record, entry))
    fastest = [min(trials) for trials in studies.values()]
    seconds, steps = (statistics.median(column) for column in zip(*fastest, strict=True))
    if math.isfinite(seconds):
        return f"{seconds:.3g} s, {steps:.0f} steps"
    choose = min if entry.direction == "minimize" else max
    values = [row[f"validation/{entry.metric}"] for record in records for row in record.evaluations]
    best = choose((value for value in values if math.isfinite(value)), default=math.nan)
    return f"missed ({best:.3g} of {entry.validation_target:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--suite", default="quickstart-1")
    parser.add_argument("--ruleset", default="external")
    options = parser.parse_args()
    suite = load_suite(options.suite)
    folder = options.runs / suite.name / options.ruleset
    print(f"| submission | {' | '.join(suite.workloads)} |\n|---|{'---|' * len(suite.workloads)}")
    for submission in sorted(path.name for path in folder.iterdir()):
        cells = [
            cell([TrialRecord(path) for path in sorted((folder / submission).glob(f"study_*/{name}/trial_*"))], entry)
            for name, entry in suite.workloads.items()
        ]
        print(f"| `{submission}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
