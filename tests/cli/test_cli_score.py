"""`timetrial score`, called as typer calls it, on logs written for the purpose."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from timetrial.cli.score import score
from timetrial.errors import UserError
from timetrial.records.algoperf_logs import read_algoperf_logs, write_algoperf_logs
from timetrial.records.history import TrialHistory

SUITE = """
name = "pocket"
title = "Two workloads"
source = "made up for this test"
protocol = {setup_on_clock = false, stop_when = "validation_target", precision = "float32", sampler = "sobol"}
rulesets.external = {studies = 3, trials = 1}
"""
WORKLOAD = """
preset = "tiny"
metric = "accuracy"
direction = "maximize"
validation_target = 0.8
budget = 100.0
evaluation_period = {seconds = 10.0}
step_hint = 10
batch_size = 10
eval_batch_size = 10
train_examples = 100
eval_examples = {train = 10, validation = 100, test = 100}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pocket.toml").write_text(f"{SUITE}[workloads.apple]{WORKLOAD}[workloads.pear]{WORKLOAD}")
    for submission, speed in {"baseline": 1.0, "[red]fast": 2.0}.items():
        for study, scatter in enumerate([1.0, 1.1, 0.9]):
            for workload, seconds in {"apple": 20.0, "pear": 60.0}.items():
                if (submission, workload) == ("[red]fast", "pear"):
                    continue
                history = TrialHistory(
                    submission=submission,
                    study=study,
                    workload=workload,
                    trial=1,
                    steps=np.array([1, 2]),
                    times=np.array([1.0, seconds * scatter / speed]),
                    metrics={"validation/accuracy": np.array([0.1, 0.9])},
                    hyperparameters={"learning_rate": 0.1},
                    path=tmp_path,
                )
                write_algoperf_logs([history], tmp_path / "logs")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    app = typer.Typer()
    app.command()(score)

    def call(*options: str) -> Result:
        arguments = [str(folder / "logs"), "--suite", str(folder / "pocket.toml"), *options]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}, catch_exceptions=False)

    return call


def test_prints_ranking_times_and_notes(run: Callable[..., Result]) -> None:
    result = run("--resamples", "1000")
    assert result.exit_code == 0
    first, second = (line for line in result.stdout.splitlines() if line.startswith(("│    1", "│    2")))
    assert "baseline" in first
    assert "[red]fast" in second
    assert "0.8333" in first  # ratios 2 and 1: (2/3 + 1) / 2
    assert "0.5000" in second
    assert "1,000 resamples of studies, seed 0" in result.stdout
    assert "[red]fast: 0 of 3 studies recorded on pear" in result.stdout


def test_prints_json_only(run: Callable[..., Result]) -> None:
    data = json.loads(run("--json", "--resamples", "0", "--workloads", "apple").stdout)
    assert data["workloads"] == ["apple"]
    assert [row["submission"] for row in data["submissions"]] == ["[red]fast", "baseline"]
    assert data["submissions"][0]["speedup"] == pytest.approx(2.0)


def test_warnings_name_files_and_go_to_standard_error(run: Callable[..., Result], folder: Path) -> None:
    for measurements in (folder / "logs").rglob("eval_measurements.csv"):
        measurements.write_text("global_step,score\n1,2\n")
    next((folder / "logs").rglob("eval_measurements.csv")).unlink()
    result = run("--resamples", "0")
    assert "eval_measurements.csv: there is no such file" in result.stderr
    assert "expected values of validation/accuracy" in result.stderr
    assert "warning" not in result.stdout


def test_more_than_ten_warnings_are_counted(run: Callable[..., Result], folder: Path) -> None:
    for study in range(3, 15):
        (folder / f"logs/baseline/study_{study}/apple_jax/trial_1").mkdir(parents=True)
    result = run("--resamples", "0")
    assert result.stderr.count("there is no such file") == 10
    assert "and 2 more like these" in result.stderr


def test_exports_logs_that_score_the_same(run: Callable[..., Result], folder: Path) -> None:
    before = json.loads(run("--json", "--resamples", "0").stdout)
    run("--resamples", "0", "--export-algoperf", str(folder / "export"))
    trials = read_algoperf_logs(folder / "export").trials
    assert len(trials) == 9
    assert trials[0].hyperparameters == {"learning_rate": 0.1}
    (folder / "logs").rename(folder / "original")
    (folder / "export").rename(folder / "logs")
    assert json.loads(run("--json", "--resamples", "0").stdout) == before


def test_users_mistakes_are_user_errors(run: Callable[..., Result], folder: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such runs folder"):
        run(str(folder / "nowhere"))
    with pytest.raises(UserError, match="unknown ruleset"):
        run("--ruleset", "both")
