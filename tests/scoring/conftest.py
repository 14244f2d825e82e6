"""Fixtures of the scoring tests: a pocket suite and histories from lists."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from timetrial.records.history import TrialHistory
from timetrial.suite import Suite, parse_suite

_WORKLOAD = """
preset = "tiny"
metric = "{metric}"
direction = "{direction}"
validation_target = {target}
test_target = {test_target}
budget = 100.0
evaluation_period = {{seconds = 10.0}}
step_hint = 10
batch_size = 10
eval_batch_size = 10
train_examples = 100
eval_examples = {{train = 10, validation = 100, test = 100}}
"""

_SUITE = """
name = "pocket"
title = "Three workloads and a held-out variant"
source = "made up for these tests"
protocol = {setup_on_clock = false, stop_when = "validation_target", precision = "float32", sampler = "sobol"}
rulesets.external = {studies = 3, trials = 2}
rulesets.self = {studies = 3, trials = 1, budget_factor = 1.5}
[held_out]
draw_seed = 0
pools = {apples = ["apple_sour"]}
drawn = ["apple_sour"]
[variants.apple_sour]
base = "apple"
validation_target = 0.7
"""


@pytest.fixture(scope="session")
def suite() -> Suite:
    accuracy = {"metric": "accuracy", "direction": "maximize", "target": 0.8, "test_target": 0.7}
    loss = {"metric": "loss", "direction": "minimize", "target": 0.5, "test_target": 0.6}
    tables = {"apple": accuracy, "pear": loss, "plum": accuracy}
    workloads = "".join(f"[workloads.{name}]{_WORKLOAD.format(**table)}" for name, table in tables.items())
    return parse_suite(_SUITE + workloads, "test")


HistoryMaker = Callable[..., TrialHistory]


@pytest.fixture(scope="session")
def make_history(suite: Suite) -> HistoryMaker:
    """Build a history from (time, value) pairs of the workload's validation metric."""

    def make(
        evaluations: Sequence[tuple[float, float]],
        *,
        submission: str = "a",
        workload: str = "apple",
        study: int = 0,
        trial: int = 1,
        steps: Sequence[int] | None = None,
        test: Sequence[float] | None = None,
    ) -> TrialHistory:
        metric = suite.workload(workload).metric
        times, values = np.array(evaluations, dtype=np.float64).reshape(-1, 2).T
        metrics = {f"validation/{metric}": values}
        if test is not None:
            metrics[f"test/{metric}"] = np.array(test, dtype=np.float64)
        return TrialHistory(
            submission=submission,
            study=study,
            workload=workload,
            trial=trial,
            steps=np.arange(1, len(times) + 1) if steps is None else np.array(steps, dtype=np.int64),
            times=times,
            metrics=metrics,
            path=Path(submission, f"study_{study}", workload, f"trial_{trial}"),
        )

    return make


@pytest.fixture(scope="session")
def make_pool(make_history: HistoryMaker) -> Callable[..., list[TrialHistory]]:
    """Build a pool from seconds to target by submission, workload and study; None is a study that missed."""

    def make(seconds: dict[str, dict[str, Sequence[float | None]]]) -> list[TrialHistory]:
        good = {"apple": 0.9, "apple_sour": 0.9, "pear": 0.1, "plum": 0.9}
        bad = {"apple": 0.1, "apple_sour": 0.1, "pear": 0.9, "plum": 0.1}
        return [
            make_history(
                [(1e-9, bad[workload]), (50.0, bad[workload]) if time is None else (time, good[workload])],
                submission=submission,
                workload=workload,
                study=study,
            )
            for submission, workloads in seconds.items()
            for workload, times in workloads.items()
            for study, time in enumerate(times)
        ]

    return make
