"""A trial that is killed at any instant goes on as if nothing had happened."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import pytest
from tiny import plan_of

from timetrial.launch import worker
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Suite
from timetrial.trial.run import run_trial

KILLS = 20


@pytest.fixture(scope="module")
def context() -> Any:
    """Processes as the local runner starts them."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["timetrial.launch.worker", "timetrial.workloads.digits_resnet.workload"])
    return server


def start(context: Any, plan: TrialPlan, runs: Path) -> Any:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=worker.work, args=(plan, runs, frozenset({0}), sender))
    process.start()
    return process, receiver


def metrics_of(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Everything but the times, which differ from run to run."""
    return [{name: value for name, value in row.items() if "_time" not in name} for row in rows]


def test_kills_change_nothing(tiny_suite: Suite, tmp_path: Path, context: Any) -> None:
    # An hour, so that however slow the machine the trial ends by its steps.
    plan = plan_of(tiny_suite, "digits_resnet", "Restless", max_steps=300, race=False, budget=3600.0)
    process, _open = start(context, plan, tmp_path / "whole")
    process.join()
    whole = TrialRecord(tmp_path / "whole" / plan.folder)
    assert whole.result is not None
    assert whole.result.ended == "training_complete", whole.result
    expected = metrics_of(whole.evaluations)
    assert len(expected) == 31

    moments = random.Random(20260801)
    kills = attempt = 0
    while kills < KILLS:
        attempt += 1
        runs = tmp_path / f"killed_{attempt}"
        record = TrialRecord(runs / plan.folder)
        committed: list[dict[str, float]] = []
        while record.result is None:
            process, _open = start(context, plan, runs)
            process.join(moments.uniform(0, whole.result.total / 10) if kills < KILLS else None)
            if process.exitcode is None:
                process.kill()
                process.join()
                kills += 1
            record = TrialRecord(runs / plan.folder)
            assert record.evaluations[: len(committed)] == committed, "a committed evaluation was lost or changed"
            committed = record.evaluations
        assert record.result.ended == "training_complete", record.result
        assert metrics_of(record.evaluations) == expected, "not bit for bit the uninterrupted trial"
        assert record.result.examples == whole.result.examples
        times = [row["submission_time"] for row in record.evaluations]
        assert times == sorted(times)
        assert times[-1] <= record.result.submission_time <= record.result.total
        assert not (record.folder / "lock").exists()
    assert kills >= KILLS


class Killed(BaseException):
    """Stands for kill -9 at a chosen line."""


@pytest.mark.parametrize("line", ["save", "append_evaluation", "report", "finish"])
def test_kills_at_the_worst_lines(
    tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Between checkpoint, log and report there is no instant that loses or doubles an evaluation."""
    plan = plan_of(tiny_suite, "digits_mlp", "Restless", max_steps=40, race=False)
    run_trial(plan, tmp_path / "whole", lambda evaluation: None)
    expected = metrics_of(TrialRecord(tmp_path / "whole" / plan.folder).evaluations)
    calls = 0

    def die_at_the_third_call(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == (1 if line == "finish" else 3):
            raise Killed

    with monkeypatch.context() as patch:
        if line == "save":
            patch.setattr("timetrial.trial.loop.Trial.save", die_at_the_third_call)
        elif line != "report":
            patch.setattr(TrialRecord, line, die_at_the_third_call)
        with pytest.raises(Killed):
            run_trial(plan, tmp_path / "killed", die_at_the_third_call if line == "report" else lambda _: None)
    result = run_trial(plan, tmp_path / "killed", lambda evaluation: None)
    assert metrics_of(TrialRecord(tmp_path / "killed" / plan.folder).evaluations) == expected
    assert result.resumes == (0 if line == "save" else 1)


def test_time_is_counted_once(tiny_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that ticks a second at each look, lost work leaves no trace in the submission time."""
    ticks = iter(range(0, 10**15, 10**9))
    monkeypatch.setattr("timetrial.trial.clock.Clock.__init__.__kwdefaults__", {"now": lambda: next(ticks)})
    plan = plan_of(tiny_suite, "digits_mlp", "Sgd", max_steps=30, race=False, budget=1e9)
    whole = run_trial(plan, tmp_path / "whole", lambda evaluation: None)

    def die(evaluation: dict[str, float]) -> None:
        if evaluation["step"] == 20:
            raise Killed

    with pytest.raises(Killed):
        run_trial(plan, tmp_path / "killed", die)
    killed = run_trial(plan, tmp_path / "killed", lambda evaluation: None)
    assert killed.resumes == 1
    assert killed.submission_time == whole.submission_time
    for name in ("submission/data", "submission/algorithm", "submission/loop", "submission/setup"):
        assert killed.seconds[name] == whole.seconds[name]
