"""Facts are read from records: the steps to a value that both algorithms reached, the best value of all."""

from __future__ import annotations

import importlib
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from timetrial.algorithms.registry import identify
from timetrial.records.algoperf_logs import read_algoperf_logs
from timetrial.records.history import TrialHistory
from timetrial.records.plan import TrialPlan, TrialResult
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import load_suite
from timetrial.workloads.registry import workload_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def face_validity(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("face_validity")
    for name in ("face_validity", "fastest"):
        sys.modules.pop(name, None)


def history(submission: str, trial: int, values: list[float], *, study: int = 0) -> TrialHistory:
    steps = 100 * np.arange(1, len(values) + 1)
    return TrialHistory(
        submission=submission,
        study=study,
        workload="ogbg",
        trial=trial,
        steps=steps,
        times=steps / 100.0,
        metrics={"validation/mean_average_precision": np.array(values)},
        path=Path("trial"),
    )


def records(module: ModuleType, *found: TrialHistory) -> object:
    trials: dict[tuple[str, str], list[TrialHistory]] = {}
    for each in found:
        trials.setdefault((each.submission, each.workload), []).append(each)
    suite = load_suite("mini-1")
    return module.Records([], suite, trials, suite.ruleset("external"))


def test_steps_are_compared_at_the_worse_of_both_best_values(face_validity: ModuleType) -> None:
    found = records(
        face_validity,
        history("muon", 1, [0.1, 0.2, 0.3]),
        history("muon", 2, [0.15, 0.15, np.nan]),
        history("nadamw_baseline", 1, [0.05, 0.1, 0.15, 0.2]),
        history("nadamw_baseline", 2, [0.05, np.inf, 0.15, 0.15]),
    )
    assert found.against_nadamw("muon") == {"ogbg": pytest.approx(400 / 200)}


def test_the_median_over_studies_counts(face_validity: ModuleType) -> None:
    found = records(
        face_validity,
        history("muon", 1, [0.3]),
        *(history("nadamw_baseline", 1, [*[0.1] * late, 0.3], study=late) for late in range(3)),
    )
    assert found.against_nadamw("muon") == {"ogbg": pytest.approx(2.0)}


def test_a_step_costs_what_it_does_in_the_fastest_trial(face_validity: ModuleType) -> None:
    slow = history("distributed_shampoo", 1, [0.1, 0.1])
    found = records(
        face_validity,
        replace(slow, times=4 * slow.times),
        replace(slow, trial=2, times=3 * slow.times),
        history("nadamw_baseline", 1, [0.1]),
        history("nadamw_baseline", 2, []),
    )
    assert found.step_price("distributed_shampoo") == {"ogbg": pytest.approx(3.0)}
    assert found.step_price("muon") == {}


@pytest.mark.slow
def test_what_a_step_of_shampoo_costs_in_the_public_logs(face_validity: ModuleType, algoperf_logs: Path) -> None:
    seconds: dict[tuple[str, str], list[float]] = {}
    only = dict.fromkeys(face_validity.PUBLIC, ())
    for trial in read_algoperf_logs(algoperf_logs, only=only, hyperparameters=False).trials:
        if len(trial.steps) > 2:
            cost = (trial.times[-1] - trial.times[1]) / (trial.steps[-1] - trial.steps[1])
            seconds.setdefault((trial.submission, trial.workload), []).append(cost)
    shampoo, baseline = (
        {workload: statistics.median(seconds[name, workload]) for workload in face_validity.PUBLIC}
        for name in ("shampoo_submission", "baseline")
    )
    prices = {workload: shampoo[workload] / baseline[workload] for workload in shampoo}
    assert min(prices.values()) == pytest.approx(0.80, abs=0.005)
    assert max(prices, key=lambda workload: prices[workload]) == "fastmri"
    assert prices["fastmri"] == pytest.approx(face_validity.STEP_PRICE, abs=0.005)


def test_what_is_not_on_record_is_not_known(face_validity: ModuleType) -> None:
    found = records(face_validity, history("muon", 1, [np.nan]), history("nadamw_baseline", 1, [0.1]))
    assert found.against_nadamw("muon") == {}
    facts = [*face_validity.families(found), *face_validity.others(found), *face_validity.agreement(found)]
    assert {fact.holds for fact in facts} == {None}
    assert len(facts) == 18


def test_public_submissions_are_ranked_by_when_they_reach_the_target(face_validity: ModuleType) -> None:
    """Of three pairs all stand as published by time, and one by steps: tau is 1 and (1 - 2) / 3."""
    target = load_suite("mini-1").workload("ogbg").validation_target
    shampoo = history("distributed_shampoo", 1, [0.1, 0.1, 0.1, target])
    found = records(
        face_validity,
        replace(shampoo, times=shampoo.times / 3),
        history("nadamw_baseline", 1, [0.1, target]),
        history("lawa_queue", 1, [0.1, 0.1, target]),
        history("adamw", 1, [target]),
    )
    (fact,) = face_validity.agreement(found)
    by_time, by_steps, workloads = fact.numbers.split("; ")
    assert by_time.startswith("1.00 by time: distributed_shampoo 1.00 > nadamw_baseline ")
    assert by_steps.startswith("-0.33 by steps: nadamw_baseline 1.00 > lawa_queue ")
    assert workloads == "on ogbg"
    assert fact.holds is True


def test_submissions_are_ranked_on_workloads_that_all_of_them_ran_on(face_validity: ModuleType) -> None:
    """Three share two workloads, one of them ran on a third; with the fourth, all share one."""
    names = ("distributed_shampoo", "nadamw_baseline", "lawa_queue")
    both = [replace(history(name, 1, [0.1]), workload=workload) for name in names for workload in ("ogbg", "wmt")]
    both = [replace(each, metrics={**each.metrics, "validation/bleu": np.array([1.0])}) for each in both]
    third = replace(both[0], workload="criteo1tb", metrics={"validation/loss": np.array([0.2])})
    other = replace(both[1], submission="muon", workload="finewebedu_lm")
    found = records(face_validity, *both, history("amos", 1, [0.1]), third, other)
    three, four = face_validity.agreement(found)
    assert three.fact.startswith("3 public submissions rank")
    assert three.numbers.endswith("; on ogbg, wmt")
    assert four.fact.startswith("4 public submissions rank")
    assert four.numbers.endswith("; on ogbg")
    assert "amos" in four.numbers
    assert "amos" not in three.numbers


@pytest.fixture
def recorded(tmp_path: Path, reached: TrialResult) -> Callable[..., TrialHistory]:
    """Makes records of trials on ogbg, which may have ended otherwise than under today's suite."""
    suite = load_suite("mini-1")
    entry = suite.workload("ogbg")

    def record(
        trial: int,
        ended: str | None = "budget_spent",
        *,
        steps: int = entry.step_hint,
        study: int = 0,
        step_hint: int = entry.step_hint,
        environment: Mapping[str, str] | None = None,
    ) -> TrialHistory:
        plan = TrialPlan(
            suite=suite.name,
            workload=replace(entry, step_hint=step_hint),
            protocol=suite.protocol,
            submission=identify("adamw"),
            ruleset="external",
            study=study,
            trial=trial,
            hyperparameters={},
            seed=0,
            budget=entry.budget / 3,
        )
        own = TrialRecord(tmp_path / plan.folder)
        own.begin(plan, environment or workload_of(entry).identities())
        if ended:
            own.finish(replace(reached, ended=ended, steps=steps, submission_time=entry.budget / 3))  # type: ignore[arg-type]
        return replace(history("adamw", trial, [0.1], study=study), path=own.folder)

    return record


def test_trials_of_the_suite_as_it_was_are_left_out(
    face_validity: ModuleType, recorded: Callable[..., TrialHistory], tmp_path: Path
) -> None:
    suite = load_suite("mini-1")
    hint = suite.workload("ogbg").step_hint
    trials = [
        recorded(1),
        recorded(2, step_hint=hint // 2),
        recorded(3, environment={"model": "of other sizes"}),
        recorded(4, None),
        recorded(5, "target_reached", steps=hint + 1),
        recorded(6, "target_reached"),
        recorded(7, "failed", steps=3),
        recorded(8, "training_complete", steps=3),
        replace(history("adamw", 9, [0.1]), path=tmp_path / "none"),
    ]
    found = face_validity.valid_today(trials, suite, suite.ruleset("external"))
    assert [trial.trial for trial in found] == [1, 6, 7, 8]


def test_a_study_that_seconds_cut_short_says_something_once_a_trial_reached_the_target(
    face_validity: ModuleType, recorded: Callable[..., TrialHistory]
) -> None:
    """With more seconds study 0 might have reached it; the trial of study 1 that was cut short had been overtaken."""
    suite = load_suite("mini-1")
    trials = [
        recorded(1),
        recorded(2, steps=1000),
        recorded(1, "target_reached", study=1, steps=900),
        recorded(2, study=1, steps=1000),
        recorded(1, study=2),
    ]
    found = face_validity.valid_today(trials, suite, suite.ruleset("external"))
    assert [(trial.study, trial.trial) for trial in found] == [(1, 1), (1, 2), (2, 1)]


def test_rankings_take_as_many_trials_of_each(face_validity: ModuleType) -> None:
    """The third trial of one submission counts for nothing where the others have two."""
    target = load_suite("mini-1").workload("ogbg").validation_target
    names = ("distributed_shampoo", "nadamw_baseline", "lawa_queue")
    two = [history(name, trial, [0.1, target]) for name in names for trial in (1, 2)]
    (fact,) = face_validity.agreement(records(face_validity, *two, history("lawa_queue", 3, [target])))
    assert "lawa_queue 1.00" in fact.numbers
    assert fact.numbers.count(" 1.00") == 6, "all level, by time and by steps"
