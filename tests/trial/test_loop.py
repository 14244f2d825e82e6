"""When the loop pauses: evaluation periods in seconds, on a clock that the test moves."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import plan_of

from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Period, Suite
from timetrial.trial.clock import Clock, Kind
from timetrial.trial.loop import Trial


class FakeTime:
    """Nanoseconds that pass when the algorithm says so."""

    now = 0

    def __call__(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


class Sleeper:
    """Takes a second a step and half a second to prepare."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time

    def select_batch(self, task: Any, batches: Any) -> None:
        return None

    def step(self, task: Any, batch: Any) -> None:
        self.time.pass_by(1.0)

    def prepare_for_eval(self, task: Any) -> None:
        self.time.pass_by(0.5)

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def trial_of(suite: Suite, folder: Path, time: FakeTime, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Trial:
    def evaluate(*_: Any, **__: Any) -> dict[str, float]:
        time.pass_by(100.0)  # off the clock, however long it takes
        return {"validation/accuracy": 0.0, "test/accuracy": 0.0}

    monkeypatch.setattr("timetrial.trial.loop.evaluate", evaluate)
    monkeypatch.setattr("timetrial.trial.loop.checkpoint.save", lambda *_: time.pass_by(7.0))
    seconds = changes.pop("seconds")
    workload = replace(suite.workload("digits_mlp"), evaluation_period=Period(seconds=seconds))
    record = TrialRecord(folder)
    plan = plan_of(suite, "digits_mlp", "Sgd", workload=workload, **changes)
    record.begin(plan, {})
    stub: Any = SimpleNamespace
    return Trial(
        plan=plan,
        record=record,
        workload=stub(),
        data=stub(),
        model=torch.nn.Linear(1, 1),
        algorithm=Sleeper(time),  # type: ignore[arg-type]
        task=stub(step=0, evaluations=(), generator=torch.Generator()),
        stream=stub(examples=0, position=0),
        clock=Clock(setup_on_clock=True, now=time),
        seeds=stub(),
        device=torch.device("cpu"),
        step_limit=plan.step_limit(plan.workload.batch_size),
        report=lambda evaluation: time.pass_by(3.0),
    )


def test_evaluations_are_due_a_period_after_the_last(
    tiny_suite: Suite, tmp_path: Path, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first right after the first step; then whenever 4 s of submission time have passed since the last."""
    trial = trial_of(tiny_suite, tmp_path, time, monkeypatch, seconds=4.0, max_steps=11)
    trial.train()
    assert [row["step"] for row in trial.evaluations] == [1, 5, 9, 11]
    # Preparing is on the clock: half a second before each evaluation.
    assert [row["submission_time"] for row in trial.evaluations] == [1.5, 6.0, 10.5, 13.0]
    assert trial.clock.spent(Kind.EVALUATION) == 400.0
    assert trial.clock.spent(Kind.CHECKPOINT) == 28.0
    assert trial.clock.spent(Kind.LOGGING) == 12.0
    assert trial.clock.submission == 13.0


def test_the_budget_is_noticed_at_once_and_forbids_an_evaluation(
    tiny_suite: Suite, tmp_path: Path, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(tiny_suite, tmp_path, time, monkeypatch, seconds=100.0, budget=6.0)
    trial.train()
    assert trial.step == 6, "not a step after the budget is spent: 6 steps and one preparation"
    assert [row["step"] for row in trial.evaluations] == [1]


def test_preparing_may_spend_the_rest_of_the_budget(
    tiny_suite: Suite, tmp_path: Path, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(tiny_suite, tmp_path, time, monkeypatch, seconds=4.0, budget=5.9)
    trial.train()
    assert [row["step"] for row in trial.evaluations] == [1], "the second would have been at 6.0 s"


def test_an_evaluation_just_in_time_counts(
    tiny_suite: Suite, tmp_path: Path, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(tiny_suite, tmp_path, time, monkeypatch, seconds=4.0, budget=6.1)
    trial.train()
    assert [row["submission_time"] for row in trial.evaluations] == [1.5, 6.0]
    assert trial.step == 6
