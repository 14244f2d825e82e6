"""One trial from its first step to its record."""

import errno
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Spy, plan_of

from timetrial.algorithms.registry import load_submission
from timetrial.records.files import RecordWriteError
from timetrial.records.plan import TrialPlan, TrialResult
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Suite
from timetrial.trial.run import run_trial
from timetrial.workloads.base import HostBatch
from timetrial.workloads.digits_mlp.workload import DigitsMlp
from timetrial.workloads.sources import ArrayData, ArraySource


def run(plan: TrialPlan, runs: Path) -> tuple[TrialResult, list[dict[str, float]]]:
    result = run_trial(plan, runs, lambda evaluation: None)
    return result, TrialRecord(runs / plan.folder).evaluations


def test_a_trial_reaches_its_target(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", hyperparameters={"learning_rate": 0.5})
    result, evaluations = run(plan, tmp_path)
    assert result.ended == "target_reached"
    assert evaluations[-1]["validation/accuracy"] >= 0.6
    assert all(row["validation/accuracy"] < 0.6 for row in evaluations[:-1]), "it stops at the first crossing"
    assert result.time_to_target == evaluations[-1]["submission_time"]
    assert [row["step"] for row in evaluations] == [1, *range(10, result.steps + 1, 10)]
    assert result.examples == 32 * result.steps
    assert sum(seconds for kind, seconds in result.seconds.items() if "/" not in kind) == pytest.approx(result.total)
    assert 0 < result.submission_time <= result.seconds["submission"]


def test_the_same_seed_gives_the_same_trial(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_resnet", "Restless", max_steps=40, race=False)
    other = plan_of(tiny_suite, "digits_resnet", "Restless", max_steps=40, race=False, seed=8)
    first, second, third = (run(p, tmp_path / str(i))[1] for i, p in enumerate((plan, plan, other)))
    metrics = [
        [(row["step"], row["validation/loss"], row["test/accuracy"]) for row in rows] for rows in (first, second, third)
    ]
    assert metrics[0] == metrics[1]
    assert metrics[0] != metrics[2]


def test_the_second_call_only_reads(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", max_steps=5, race=False)
    first, _ = run(plan, tmp_path)
    assert run(plan, tmp_path)[0] == first


def test_the_budget_ends_a_trial_without_a_further_evaluation(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", budget=0.05, hyperparameters={"learning_rate": 0.0})
    result, evaluations = run(plan, tmp_path)
    assert result.ended == "budget_spent"
    assert result.time_to_target is None
    assert result.submission_time >= 0.05
    assert all(row["submission_time"] < 0.05 for row in evaluations)


def test_completion_brings_a_last_evaluation(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_mlp", "Quitter", race=False)
    result, evaluations = run(plan, tmp_path)
    assert result.ended == "training_complete"
    assert result.steps == 25
    assert [row["step"] for row in evaluations] == [1, 10, 20, 25]


def test_without_a_race_targets_end_nothing(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", race=False, max_steps=150, hyperparameters={"learning_rate": 0.5})
    result, evaluations = run(plan, tmp_path)
    assert (result.ended, result.steps, result.time_to_target) == ("training_complete", 150, None)
    assert evaluations[-1]["step"] == 150
    assert max(row["validation/accuracy"] for row in evaluations) > 0.6


def test_an_error_is_on_record_with_its_traceback(tiny_suite: Suite, tmp_path: Path) -> None:
    result, evaluations = run(plan_of(tiny_suite, "digits_mlp", "Crasher"), tmp_path)
    assert result.ended == "failed"
    assert result.reason == "ValueError: the fifteenth step is"
    assert result.traceback is not None
    assert "unlucky" in result.traceback
    assert (result.steps, len(evaluations)) == (14, 2)


def test_nan_reaches_nothing_and_does_not_hang(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_resnet", "Diverger", max_steps=30)
    result, evaluations = run(plan, tmp_path)
    assert result.ended == "budget_spent"
    assert result.time_to_target is None
    assert "diverged" in result.reason
    assert math.isnan(evaluations[-1]["validation/loss"])
    assert evaluations[-1]["validation/accuracy"] == 0.0


@pytest.mark.parametrize("write", range(1, 9))
def test_a_full_disk_ends_nothing_and_loses_nothing(
    tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """The disk is full at the n-th flush, be it of the plan, a checkpoint, the log or the result."""
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", max_steps=10, race=False)
    _, expected = run(plan, tmp_path / "whole")
    flushes = itertools.count(1)

    def full(descriptor: int) -> None:
        if next(flushes) == write:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("timetrial.records.files.os.fsync", full)
        with pytest.raises(RecordWriteError, match=r"cannot be written \(No space left on device\)"):
            run(plan, tmp_path / "full")
    record = TrialRecord(tmp_path / "full" / plan.folder)
    assert record.result is None
    assert not list(record.folder.rglob("*.partial"))
    committed = record.evaluations
    result, evaluations = run(plan, tmp_path / "full")
    assert result.ended == "training_complete"
    assert evaluations[: len(committed)] == committed
    assert [(row["step"], row["test/loss"]) for row in evaluations] == [
        (row["step"], row["test/loss"]) for row in expected
    ]


def test_changed_precision_is_found_out(tiny_suite: Suite, tmp_path: Path) -> None:
    result, _ = run(plan_of(tiny_suite, "digits_mlp", "Cheat", max_steps=3, race=False), tmp_path)
    torch.set_float32_matmul_precision("highest")
    assert result.ended == "failed"
    assert "torch.get_float32_matmul_precision() is medium, must be highest" in result.reason


def seen_during(plan: TrialPlan, folder: Path) -> list[dict[str, Any]]:
    """Run a trial of `Spy` and return what it saw, step by step."""
    spy = load_submission(plan.submission.location)
    assert issubclass(spy, object)
    assert spy.__name__ == Spy.__name__
    spy.seen.clear()  # type: ignore[attr-defined]  # the class was imported anew, under its submission's name
    run(plan, folder)
    return spy.seen  # type: ignore[attr-defined,no-any-return]


def test_what_a_submission_sees(tiny_suite: Suite, tmp_path: Path) -> None:
    seen = seen_during(plan_of(tiny_suite, "digits_resnet", "Spy", max_steps=12, race=False), tmp_path)
    assert [look["step"] for look in seen] == list(range(12))
    assert [look["evaluations"] for look in seen] == [0, *[1] * 9, 2, 2]
    assert {look["subnormal"] for look in seen} == {0.0}, "too small for a fast path of the processor"
    elapsed = [look["elapsed"] for look in seen]
    assert elapsed == sorted(elapsed)
    assert {look["step_limit"] for look in seen} == {12}
    assert [look["fraction"] for look in seen[1:]] == [step / 12 for step in range(1, 12)], "of 20 s, far less"


def test_the_fraction_of_the_budget_is_that_of_the_seconds_where_these_are_fewer(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    seen = seen_during(plan_of(tiny_suite, "digits_resnet", "Spy", max_steps=10**6, budget=0.2), tmp_path)
    assert len(seen) > 1
    assert all(look["fraction"] == pytest.approx(look["elapsed"] / 0.2, rel=0.5) for look in seen[1:])


def test_a_race_ends_with_the_last_step_granted(tiny_suite: Suite, tmp_path: Path) -> None:
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", max_steps=25, hyperparameters={"learning_rate": 0.0})
    result, evaluations = run(plan, tmp_path)
    assert (result.ended, result.steps) == ("budget_spent", 25)
    assert result.reason == "made its 25 steps without reaching the target"
    assert evaluations[-1]["step"] == 25, "what the last step came to is looked at"


def test_smaller_batches_make_for_more_steps(tiny_suite: Suite, tmp_path: Path) -> None:
    """As many examples for every batch size up to the suite's of 32, and no fewer steps above it."""
    plan = plan_of(tiny_suite, "digits_mlp", "SmallBatches", max_steps=7, hyperparameters={"learning_rate": 0.0})
    assert {size: plan.step_limit(size) for size in (1, 16, 32, 64)} == {1: 224, 16: 14, 32: 7, 64: 7}
    result, _ = run(plan, tmp_path)
    assert (result.batch_size, result.steps) == (12, 19)
    assert replace(plan, max_steps=None).step_limit(12) == math.inf


def test_a_batch_size_that_is_none_is_said_to_be(tiny_suite: Suite, tmp_path: Path) -> None:
    result, _ = run(plan_of(tiny_suite, "digits_mlp", "NoBatches", max_steps=5), tmp_path)
    assert (result.ended, result.reason) == ("failed", "UserError: batch size: expected at least 1, found 0")


@pytest.mark.parametrize("stop_when", ["validation_target", "both_targets"])
def test_both_targets_may_be_asked_for(tiny_suite: Suite, tmp_path: Path, stop_when: str) -> None:
    workload = replace(tiny_suite.workload("digits_mlp"), test_target=0.9)
    plan = plan_of(
        tiny_suite,
        "digits_mlp",
        "Sgd",
        hyperparameters={"learning_rate": 0.5},
        workload=workload,
        protocol=replace(tiny_suite.protocol, stop_when=stop_when),
    )
    result, evaluations = run(plan, tmp_path)
    first = next(row for row in evaluations if row["validation/accuracy"] >= 0.6)
    assert result.ended == "target_reached"
    assert result.time_to_target == first["submission_time"], "scoring uses the validation target alone"
    assert (evaluations[-1]["test/accuracy"] >= 0.9) == (stop_when == "both_targets")


def spoilt(batch: HostBatch) -> HostBatch:
    """The batch with a label that is none of the ten digits."""
    return {**batch, "targets": np.where(np.arange(len(batch["targets"])) == 3, 10, batch["targets"])}


@pytest.mark.parametrize("where", ["first training batch", "validation split"])
def test_bad_data_end_a_trial_with_a_clear_error(
    tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "first training batch":
        batch = ArraySource.batch
        monkeypatch.setattr(ArraySource, "batch", lambda self, index: spoilt(batch(self, index)))
    else:
        batches = ArrayData.eval_batches
        monkeypatch.setattr(ArrayData, "eval_batches", lambda *args: map(spoilt, batches(*args)))
    result, evaluations = run(plan_of(tiny_suite, "digits_mlp", "Sgd", max_steps=5, race=False), tmp_path)
    assert result.ended == "failed"
    assert result.reason == "UserError: batch, targets: expected integers at least 0 and at most 9, found 10 at [3]"
    assert evaluations == []
    assert result.steps == (0 if where == "first training batch" else 1)


def test_data_are_checked_once(tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first training batch, and in the first evaluation as many as there are; not again at each step."""
    seen = []
    monkeypatch.setattr(DigitsMlp, "check_batch", lambda self, batch: seen.append(len(batch["targets"])))
    _, evaluations = run(plan_of(tiny_suite, "digits_mlp", "Sgd", max_steps=25, race=False), tmp_path)
    assert len(evaluations) > 2
    size = tiny_suite.workload("digits_mlp").eval_batch_size
    splits = [[min(size, count - start) for start in range(0, count, size)] for count in (400, 400, 397)]
    assert seen == [32, *(length for split in splits for length in split)]
