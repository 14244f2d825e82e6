"""A Markdown table of how a suite's raced submissions fared: time and steps to the target, misses named.

    timetrial run quickstart-1 --studies 1 --runs-dir RUNS --submission adam --submission adamw ...
    python benchmarks/algorithm_table.py RUNS [--suite quickstart-1] [--ruleset external]

Of each study the fastest trial counts, of the studies the median, as in scoring. "missed" is followed by the best value
that any trial reached, as it stands to the target.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

from fastest import fastest_of_studies, read_trials
from timetrial.records.history import TrialHistory
from timetrial.suite import Ruleset, SuiteWorkload, load_suite


def cell(trials: list[TrialHistory], entry: SuiteWorkload, rules: Ruleset) -> str:
    """Return what one submission did on one workload."""
    if not trials:
        return "-"
    counted = fastest_of_studies(trials, entry, rules)
    seconds = statistics.median(times.seconds for times in counted)
    if np.isfinite(seconds):
        return f"{seconds:.3g} s, {statistics.median(times.steps for times in counted):.0f} steps"
    empty = np.array([np.nan])
    values = np.concatenate([trial.metrics.get(f"validation/{entry.metric}", empty) for trial in trials])
    finite = values[np.isfinite(values)]
    choose = np.min if entry.direction == "minimize" else np.max
    best = choose(finite) if len(finite) else np.nan
    return f"missed ({best:.3g} of {entry.validation_target:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--suite", default="quickstart-1")
    parser.add_argument("--ruleset", default="external")
    options = parser.parse_args()
    suite = load_suite(options.suite)
    trials = read_trials(options.runs, suite, options.ruleset)
    rules = suite.ruleset(options.ruleset)
    print(f"| submission | {' | '.join(suite.workloads)} |\n|---|{'---|' * len(suite.workloads)}")
    for submission in sorted({submission for submission, _ in trials}):
        cells = [cell(trials.get((submission, name), []), entry, rules) for name, entry in suite.workloads.items()]
        print(f"| `{submission}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
