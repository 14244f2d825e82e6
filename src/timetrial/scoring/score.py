"""Score a pool: the one entry that the command line and the report use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from timetrial.errors import UnknownNameError, UserError
from timetrial.records.history import TrialHistory
from timetrial.scoring.report import ScoreReport
from timetrial.scoring.rules import Rules, ranking
from timetrial.scoring.table import build_table, select_workloads
from timetrial.scoring.uncertainty import estimate_uncertainty, pairwise_speedups
from timetrial.scoring.views import Budgets, sensitivity, tuning_cost
from timetrial.suite import Suite


def score_histories(
    histories: Iterable[TrialHistory],
    suite: Suite,
    *,
    ruleset: str = "external",
    compat: bool = False,
    workloads: Sequence[str] | None = None,
    studies: int | None = None,
    trials: int | None = None,
    reference: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    warnings: Sequence[str] = (),
) -> ScoreReport:
    """Score all submissions among `histories` as one pool.

    `workloads` restricts the base workloads (default: all of which there is any record); `studies` says how many
    studies there are meant to be, `trials` how many of each count (default: as the ruleset); `reference` is the
    submission that speed-ups are against (default: the first whose name contains "baseline", else the best).
    `resamples` = 0 leaves uncertainty out. `warnings` are the readers', handed on.
    Raises UserError for unknown names and when nothing can be scored.
    """
    recorded = list(histories)
    rules_of_tuning = suite.ruleset(ruleset)
    if trials is not None:
        rules_of_tuning = replace(rules_of_tuning, trials=trials)
    selection, notes = select_workloads(recorded, suite, workloads)
    table, more = build_table(recorded, suite, selection, rules_of_tuning, compat=compat, studies=studies)
    rules = Rules(selection=selection, r_max=suite.scoring.r_max, compat=compat)
    budgets = Budgets(
        seconds=np.array([rules_of_tuning.seconds(suite.workload(name)) for name in selection.workloads]),
        bases=len(selection.bases),
        compat=compat,
    )
    times = table.medians(table.seconds)
    scores = rules.scores(times)
    steps = table.medians(table.steps)
    enough = table.seconds.shape[2] > 1
    if resamples and not enough:
        more.append("a single study was recorded, so nothing can be said about uncertainty")
    if 0 < resamples < 1000:
        raise UserError(f"expected at least 1000 resamples (or 0 for none), found {resamples}")
    return ScoreReport(
        suite=suite.name,
        ruleset=ruleset,
        rules=rules,
        resamples=resamples,
        seed=seed,
        reference=_reference(reference, table.submissions, scores),
        table=table,
        times=times,
        counted_times=rules.counted(times),
        steps=steps,
        test_times=table.medians(table.test_seconds),
        budget_fractions=budgets.fractions(times),
        scores=scores,
        scores_by_steps=rules.scores(steps),
        speedups=pairwise_speedups(budgets.mean_log_times(times)),
        tuning_costs=tuning_cost(table),
        sensitivity=sensitivity(times, table.submissions, rules),
        uncertainty=estimate_uncertainty(table, rules, budgets.mean_log_times, resamples=resamples, seed=seed)
        if resamples and enough
        else None,
        notes=(*notes, *more),
        warnings=tuple(warnings) + _without_metric(recorded, suite, selection.workloads),
    )


def scored_metrics(suite: Suite) -> dict[str, tuple[str, str]]:
    """The metrics that scoring looks at, by workload: what a reader may confine itself to."""
    return {
        name: (f"validation/{workload.metric}", f"test/{workload.metric}")
        for name, workload in suite.all_workloads.items()
    }


def _reference(name: str | None, submissions: Sequence[str], scores: np.ndarray) -> str:
    if name is not None:
        if name not in submissions:
            raise UnknownNameError("submission", name, submissions)
        return name
    baselines = [submission for submission in submissions if "baseline" in submission]
    return baselines[0] if baselines else submissions[ranking(scores, submissions)[0]]


def _without_metric(trials: Sequence[TrialHistory], suite: Suite, workloads: Sequence[str]) -> tuple[str, ...]:
    metrics = {name: f"validation/{suite.workload(name).metric}" for name in workloads}
    return tuple(
        f"{trial.path}: expected values of {metrics[trial.workload]}; the trial counts as not reaching its target"
        for trial in trials
        if trial.workload in metrics and len(trial.times) and metrics[trial.workload] not in trial.metrics
    )
