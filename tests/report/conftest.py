"""Pools for the report's tests: a small one with hostile names, one of our own records, and the made-up leaderboard."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from timetrial.records.history import TrialHistory
from timetrial.report.pool import Pool
from timetrial.scoring.score import score_histories
from timetrial.suite import parse_suite

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&_|`{{7*7}}"
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "report.py"

SUITE = """
name = "pocket"
title = "Two workloads"
source = "made up for these tests"
protocol = {setup_on_clock = false, stop_when = "validation_target", precision = "float32", sampler = "sobol"}
rulesets.external = {studies = 3, trials = 2}
"""
for _workload in ("digits_mlp", "digits_resnet"):
    SUITE += f"""
[workloads.{_workload}]
preset = "tiny"
metric = "accuracy"
direction = "maximize"
validation_target = 0.9
budget = 1.0
evaluation_period = {{seconds = 0.1}}
step_hint = 10
batch_size = 10
eval_batch_size = 10
train_examples = 100
eval_examples = {{train = 10, validation = 100, test = 100}}
"""


class Page(HTMLParser):
    """What an HTML page consists of."""

    VOID = {"meta", "link", "input", "br", "wbr", "img", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"<{tag}/> is no HTML")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.text).append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Page]:
    return Page


@pytest.fixture(scope="session")
def benchmark_report() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_report", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def history(submission: str, workload: str, study: int, trial: int, seconds: float | None) -> TrialHistory:
    """Two evaluations: one at the start, and one that reaches the target after so many seconds (None: misses)."""
    return TrialHistory(
        submission=submission,
        study=study,
        workload=workload,
        trial=trial,
        steps=np.array([1, 100]),
        times=np.array([0.01, 0.9 if seconds is None else seconds]),
        metrics={"validation/accuracy": np.array([0.1, 0.8 if seconds is None else 0.91])},
        hyperparameters={"learning_rate": 0.1 / trial, "kind": "<b>" if trial == 1 else "plain", "fixed": 1},
        path=Path(submission, workload, str(study), str(trial)),
    )


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "pocket.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="session")
def small_pool() -> Pool:
    """Two submissions on two workloads: `steady` reaches all, the hostile one misses on digits_resnet."""
    suite = parse_suite(SUITE, "test")
    trials = [
        history(
            name,
            workload,
            study,
            trial,
            None if name == HOSTILE and workload == "digits_resnet" else base * trial * (1 + 0.1 * study),
        )
        for name, base in (("steady", 0.1), (HOSTILE, 0.2))
        for workload in suite.workloads
        for study in range(3)
        for trial in (1, 2)
    ]
    report = score_histories(trials, suite, resamples=1000, warnings=(f"{HOSTILE}: torn",))
    return Pool(report=report, suite=suite, trials=trials, command=f"timetrial report '{HOSTILE}'")
