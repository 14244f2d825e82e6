"""Which published facts about training algorithms a suite shows without having been asked to.

    python benchmarks/face_validity.py RUNS [RUNS ...] [--suite mini-1] [--ruleset external] [--json]

`RUNS` are folders of records. Which family reaches the best value is seen from those of `timetrial targets SUITE`, the
other facts from races with the same number of points for each algorithm, among them momentum in ranges that suit small
batches:

    timetrial run mini-1 --studies 1 --trials 5 --submission nadamw_baseline --submission schedule_free_adamw \
        --submission distributed_shampoo --submission lawa_queue --runs-dir RUNS
    timetrial run mini-1 --studies 1 --trials 5 --submission muon --workload ogbg --workload finewebedu_lm \
        --runs-dir RUNS
    timetrial run mini-1 --studies 1 --trials 5 --submission nesterov --workload imagenet_resnet --workload fastmri \
        --workload ogbg --search-space docs/mini-1/momentum_search_space.json --runs-dir RUNS

Two algorithms are compared by the evaluations' steps to a value that both reached: the worse of their best ones, which
is about the target where both reached that, since trials stop there. NAdamW is the published baseline with its five
points, which are also LAWA's: what LAWA gains on it, averaging gains.

Last comes what a suite is for: the submissions to the public benchmark's first leaderboard that are on record, their
scores here, and Kendall's tau of their ranking and the published one, by seconds and by steps. Only that leaderboard's
workloads are scored, only under the external ruleset, as there: of all submissions on the workloads that they share,
and before that, while some ran on fewer than others, of those that share more.

Trials that would end otherwise under the suite as it is are left out: of another step hint or model, of more steps than
are granted, or cut short by seconds of which there are more now. The ranking takes as many trials of each submission as
there are of all that it compares.

What a step of Shampoo costs, over what one of NAdamW does, is of each the trial with the least seconds a step: noise
adds to them, and dropout does. In the public logs the ratios are 0.80 to 1.14 by workload (medians; Shampoo in PyTorch,
the baseline in JAX).

The facts are those of spec: mini_suite.md, "Face validity". For each are printed the numbers behind it and whether it
holds; what is not on record is said.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scipy.stats import kendalltau

from fastest import Trials, read_trials, times_of_studies
from timetrial.records.history import TrialHistory
from timetrial.records.trial_record import TrialRecord
from timetrial.scoring.score import score_histories
from timetrial.suite import Ruleset, Suite, SuiteWorkload, load_suite
from timetrial.workloads.registry import workload_of

NADAMW = "nadamw_baseline"
MOMENTUM = ("nesterov", "sgd_momentum")
ADAM = ("nadamw", "adamw")
MOMENTUM_WINS = ("imagenet_resnet", "fastmri", "ogbg")
ADAM_WINS = ("criteo1tb", "imagenet_vit", "librispeech_deepspeech", "librispeech_conformer", "wmt")
PUBLIC = {*MOMENTUM_WINS, *ADAM_WINS}
"""Workloads of the first leaderboard."""
PUBLISHED = {
    "distributed_shampoo": 0.7784,
    "schedule_free_adamw": 0.7077,
    "generalized_adam": 0.6383,
    "cyclic_nadamw": 0.6301,
    "nadamp": 0.5909,
    "nadamw_baseline": 0.5707,
    "amos": 0.4918,
    "caspr": 0.4722,
    "lawa_queue": 0.3699,
    "lawa_ema": 0.3384,
    "schedule_free_prodigy": 0.0,
}
"""Scores of AlgoPerf v0.5, external tuning (spec: algorithms/EVIDENCE.md)."""
STEP_PRICE = 1.14
"""Shampoo's step over the baseline's on the costliest workload of the public logs, fastMRI (a test recomputes it)."""
AGREEMENT = 0.75
"""Kendall's tau of the public three-workload qualification set: the mark to beat (spec: mini_suite.md)."""
AGREE = f"rank as at full size (Kendall's tau at least {AGREEMENT})"


@dataclass(frozen=True)
class Fact:
    """One published fact, the numbers found, and whether they show it (None: not on record)."""

    fact: str
    numbers: str
    holds: bool | None


@dataclass(frozen=True)
class Records:
    """What was found in the folders of records."""

    runs: Sequence[Path]
    suite: Suite
    trials: Trials
    """Of races under the ruleset."""
    rules: Ruleset

    def best_tuned(self, submission: str, workload: str) -> float:
        """Return the best validation value of target setting's search; NaN where there is none."""
        entry = self.suite.workload(workload)
        folders = [
            folder
            for runs in self.runs
            for folder in sorted((runs / self.suite.name / "targets" / submission).glob(f"study_0/{workload}/trial_*"))
        ]
        values = [
            row[f"validation/{entry.metric}"]
            for record in map(TrialRecord, folders)
            if record.result is not None
            for row in record.evaluations
        ]
        return best(values, entry)

    def best_raced(self, submission: str, workload: str) -> float:
        """Return the best validation value of the races; NaN where there is none."""
        entry = self.suite.workload(workload)
        trials = self.trials.get((submission, workload), [])
        return best([value for trial in trials for value in trial.metrics[f"validation/{entry.metric}"]], entry)

    def steps_to(self, submission: str, workload: str, value: float) -> float:
        """Return the median over studies of the fewest steps to a validation value; infinity where that is a miss."""
        entry = replace(self.suite.workload(workload), validation_target=value)
        studies = times_of_studies(self.trials[submission, workload], entry, self.rules)
        return statistics.median(min(times.steps for times in study) for study in studies)

    def against_nadamw(self, submission: str) -> dict[str, float]:
        """Return NAdamW's steps as a multiple of a submission's, by workload, to a value that both reached."""
        ratios = {}
        for workload, entry in self.suite.workloads.items():
            reached = [self.best_raced(name, workload) for name in (submission, NADAMW)]
            if all(map(math.isfinite, reached)):
                common = max(reached) if entry.direction == "minimize" else min(reached)
                own, other = (self.steps_to(name, workload, common) for name in (submission, NADAMW))
                if math.isfinite(own) and math.isfinite(other):
                    ratios[workload] = other / own
        return ratios

    def step_price(self, submission: str) -> dict[str, float]:
        """Return the seconds of a submission's step as a multiple of NAdamW's, by workload."""
        prices = {}
        for workload in self.suite.workloads:
            own, other = (self._seconds_a_step(name, workload) for name in (submission, NADAMW))
            if math.isfinite(own) and math.isfinite(other):
                prices[workload] = own / other
        return prices

    def _seconds_a_step(self, submission: str, workload: str) -> float:
        trials = [trial for trial in self.trials.get((submission, workload), []) if len(trial.steps)]
        return min((float(trial.times[-1] / trial.steps[-1]) for trial in trials), default=math.inf)


def best(values: Sequence[float], entry: SuiteWorkload) -> float:
    """Return the best of the finite values; NaN where there is none."""
    choose = min if entry.direction == "minimize" else max
    return choose((value for value in values if math.isfinite(value)), default=math.nan)


def families(records: Records) -> list[Fact]:
    """Which of the four target-setting algorithms reaches the best value, workload by workload."""
    facts = []
    for winners, losers, workloads in ((MOMENTUM, ADAM, MOMENTUM_WINS), (ADAM, MOMENTUM, ADAM_WINS)):
        for workload in workloads:
            values = {name: records.best_tuned(name, workload) for name in (*winners, *losers)}
            found = best(list(values.values()), records.suite.workload(workload))
            winner = next((name for name, value in values.items() if value == found), None)
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            kind = "momentum" if winners is MOMENTUM else "an Adam"
            facts.append(Fact(f"{workload}: {kind} is best", numbers, None if winner is None else winner in winners))
    return facts


def spelled(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{workload} {ratio:.2f}" for workload, ratio in ratios.items()) or "nothing on record"


def others(records: Records) -> list[Fact]:
    """The facts about algorithms beside the four."""
    shampoo, free = records.against_nadamw("distributed_shampoo"), records.against_nadamw("schedule_free_adamw")
    lawa, muon = records.against_nadamw("lawa_queue"), records.against_nadamw("muon")
    momentum = records.against_nadamw("nesterov")
    most = sum(ratio > 1.05 for ratio in shampoo.values()) > len(shampoo) / 2
    helped = sorted(free, key=lambda workload: -free[workload])[:3]
    price = records.step_price("distributed_shampoo")
    facts = [
        Fact(
            "a step of Shampoo takes about as long as one of NAdamW",
            spelled(price),
            statistics.geometric_mean(price.values()) <= STEP_PRICE if price else None,
        ),
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
    ahead = [(momentum, workload, "momentum in its own ranges needs fewer", 1.0) for workload in MOMENTUM_WINS]
    ahead += [(muon, "ogbg", "Muon needs 2.7 times fewer", 1.5), (muon, "finewebedu_lm", "Muon needs 17 % fewer", 1.1)]
    for ratios, workload, words, above in ahead:
        ratio = ratios.get(workload)
        numbers = "nothing on record" if ratio is None else f"{ratio:.2f}"
        facts.append(Fact(f"{workload}: {words} steps than NAdamW", numbers, None if ratio is None else ratio > above))
    return facts


def agreement(records: Records) -> list[Fact]:
    """Whether the submissions of the public leaderboard rank as they do there.

    At least three on the workloads that they share, and as many as do share those.
    """
    raced = {name: PUBLIC & {workload for each, workload in records.trials if each == name} for name in PUBLISHED}
    names = sorted(filter(raced.get, raced), key=lambda name: -len(raced[name]))
    groups = {}
    for count in range(3, len(names) + 1):
        found = names[:count]
        groups[frozenset(PUBLIC.intersection(*(raced[name] for name in found)))] = found
    facts = [_ranking(records, found, workloads) for workloads, found in groups.items() if workloads]
    return facts or [Fact(f"public submissions {AGREE}", "nothing on record", None)]


def _ranking(records: Records, found: Sequence[str], workloads: Set[str]) -> Fact:
    shared = [name for name in records.suite.workloads if name in workloads]
    trials = [trial for each in found for name in shared for trial in records.trials[each, name]]
    report = score_histories(
        trials,
        records.suite,
        workloads=shared,
        studies=len({trial.study for trial in trials}),
        trials=min(max(trial.trial for trial in records.trials[each, name]) for each in found for name in shared),
        resamples=0,
    )
    published = [PUBLISHED[name] for name in report.submissions]
    rankings = []
    for scores, unit in ((report.scores, "time"), (report.scores_by_steps, "steps")):
        ranked = sorted(zip(report.submissions, scores, strict=True), key=lambda each: -each[1])
        order = " > ".join(f"{name} {score:.2f}" for name, score in ranked)
        rankings.append((float(kendalltau(published, scores).statistic), f"by {unit}: {order}"))
    numbers = "; ".join(f"{tau:.2f} {order}" for tau, order in rankings) + f"; on {', '.join(shared)}"
    return Fact(f"{len(found)} public submissions {AGREE}", numbers, rankings[0][0] >= AGREEMENT)


def valid_today(trials: Sequence[TrialHistory], suite: Suite, rules: Ruleset) -> list[TrialHistory]:
    """Return the trials of a submission on a workload that would end the same under the suite as it is.

    Left out are those of another step hint or model, those that have not ended, and those that reached the target
    after more steps than are granted today. Of a study whose trials all missed, and some because they had fewer
    seconds than today and made fewer steps, nothing is known; where one did reach the target, it was the fastest.
    """
    ended = [(trial, end_today(trial, suite, rules)) for trial in trials]
    open_studies = {trial.study for trial, end in ended if end == "cut short"}
    open_studies -= {trial.study for trial, end in ended if end == "reached"}
    return [trial for trial, end in ended if end and trial.study not in open_studies]


def end_today(trial: TrialHistory, suite: Suite, rules: Ruleset) -> str | None:
    """Return how a trial ended, seen from the suite as it is: reached, missed, cut short; None for another suite's."""
    record, entry = TrialRecord(trial.path), suite.workload(trial.workload)
    plan, result = record.plan, record.result
    if plan is None or result is None or plan.workload.step_hint != entry.step_hint:
        return None
    if record.change(workload_of(entry).identities()):
        return None
    today = replace(plan, max_steps=rules.steps(entry), budget=rules.seconds(entry))
    limit = today.step_limit(result.batch_size or entry.batch_size)
    if result.ended == "target_reached":
        return "reached" if result.steps <= limit else None
    spent = result.steps >= limit or result.submission_time >= today.budget
    return "cut short" if result.ended == "budget_spent" and not spent else "missed"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--suite", default="mini-1")
    parser.add_argument("--ruleset", choices=("external", "self"), default="external")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    suite = load_suite(options.suite)
    rules = suite.ruleset(options.ruleset)
    trials: Trials = {}
    for folder in options.runs:
        for key, found in read_trials(folder, suite, options.ruleset).items():
            current = valid_today(found, suite, rules)
            if len(current) < len(found):
                print(f"{folder}: {' on '.join(key)}: {len(found) - len(current)} trials left out", file=sys.stderr)
            if current:
                trials.setdefault(key, []).extend(current)
    records = Records(options.runs, suite, trials, rules)
    facts = [*families(records), *others(records)]
    if options.ruleset == "external":
        facts += agreement(records)
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
