"""Which published facts about training algorithms a suite shows without having been asked to.

    python benchmarks/face_validity.py RUNS [--suite mini-1] [--json]

`RUNS` is a folder of records: of `timetrial targets SUITE` for the first fact, and for the others of

    timetrial run SUITE --ruleset self --submission nadamw --submission distributed_shampoo \
        --submission schedule_free_adamw --submission lawa_queue --submission muon

The facts are those of spec: mini_suite.md, "Face validity". For each are printed the numbers behind it and whether it
holds; what is not on record is said.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastest import Trials, median_steps, read_trials
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Suite, load_suite

MOMENTUM = ("nesterov", "sgd_momentum")
ADAM = ("nadamw", "adamw")
MOMENTUM_WINS = ("imagenet_resnet", "fastmri", "ogbg")
ADAM_WINS = ("criteo1tb", "imagenet_vit", "librispeech_deepspeech", "librispeech_conformer", "wmt")


@dataclass(frozen=True)
class Fact:
    """One published fact, the numbers found, and whether they show it (None: not on record)."""

    fact: str
    numbers: str
    holds: bool | None


def best_tuned(runs: Path, suite: Suite, submission: str, workload: str) -> float:
    """Return the best validation value of the search of target setting; NaN where there is none."""
    entry = suite.workload(workload)
    choose = min if entry.direction == "minimize" else max
    folders = (runs / suite.name / "targets" / submission).glob(f"study_0/{workload}/trial_*")
    records = [TrialRecord(folder) for folder in sorted(folders)]
    values = [
        row[f"validation/{entry.metric}"]
        for record in records
        if record.result is not None
        for row in record.evaluations
    ]
    return choose((value for value in values if math.isfinite(value)), default=math.nan)


def families(runs: Path, suite: Suite) -> list[Fact]:
    """Which of the four target-setting algorithms reaches the best value, workload by workload."""
    facts = []
    for winners, losers, workloads in ((MOMENTUM, ADAM, MOMENTUM_WINS), (ADAM, MOMENTUM, ADAM_WINS)):
        for workload in workloads:
            values = {name: best_tuned(runs, suite, name, workload) for name in (*winners, *losers)}
            known = {name: value for name, value in values.items() if math.isfinite(value)}
            sign = -1 if suite.workload(workload).direction == "minimize" else 1
            winner = max(known, key=lambda name: sign * known[name]) if known else None
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            kind = "momentum" if winners is MOMENTUM else "an Adam"
            facts.append(Fact(f"{workload}: {kind} is best", numbers, None if winner is None else winner in winners))
    return facts


def in_steps(trials: Trials, suite: Suite, submission: str) -> dict[str, float]:
    """Return NAdamW's steps to the target as a multiple of a submission's, on the workloads where both reached it."""
    rules = suite.ruleset("self")
    ratios = {}
    for workload, entry in suite.workloads.items():
        own, other = trials.get((submission, workload)), trials.get(("nadamw", workload))
        if own and other:
            steps = [median_steps(found, entry, rules) for found in (own, other)]
            if math.isfinite(max(steps)):
                ratios[workload] = steps[1] / steps[0]
    return ratios


def spelled(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{workload} {ratio:.2f}" for workload, ratio in ratios.items()) or "nothing on record"


def against_nadamw(runs: Path, suite: Suite) -> list[Fact]:
    """The facts about algorithms beside the four."""
    trials = read_trials(runs, suite, "self")
    shampoo, free = in_steps(trials, suite, "distributed_shampoo"), in_steps(trials, suite, "schedule_free_adamw")
    lawa, muon = in_steps(trials, suite, "lawa_queue"), in_steps(trials, suite, "muon")
    most = sum(ratio > 1.05 for ratio in shampoo.values()) > len(shampoo) / 2
    helped = sorted(free, key=lambda workload: -free[workload])[:3]
    facts = [
        Fact("Shampoo needs clearly fewer steps than NAdamW on most", spelled(shampoo), most if shampoo else None),
        Fact(
            "Schedule-Free AdamW helps most on WMT and Criteo",
            spelled(free),
            {"wmt", "criteo1tb"} <= set(helped) if free else None,
        ),
        Fact(
            "weight averaging alone (LAWA) does not win",
            spelled(lawa),
            statistics.geometric_mean(min(ratio, 10) for ratio in lawa.values()) <= 1.05 if lawa else None,
        ),
    ]
    for workload, words, least in (("ogbg", "2.7 times fewer", 1.5), ("finewebedu_lm", "17 % fewer", 1.1)):
        ratio = muon.get(workload)
        facts.append(
            Fact(
                f"Muon needs {words} steps than NAdamW on {workload}",
                "nothing on record" if ratio is None else f"{ratio:.2f} times fewer",
                None if ratio is None else ratio >= least,
            )
        )
    return facts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--suite", default="mini-1")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    suite = load_suite(options.suite)
    facts = [*families(options.runs, suite), *against_nadamw(options.runs, suite)]
    if options.json:
        rows: list[dict[str, Any]] = [asdict(fact) for fact in facts]
        print(json.dumps(rows, indent=2))
        return
    print("| fact | found | holds |\n|---|---|---|")
    for fact in facts:
        print(
            f"| {fact.fact} | {fact.numbers} | {'not known' if fact.holds is None else 'yes' if fact.holds else 'no'} |"
        )


if __name__ == "__main__":
    main()
