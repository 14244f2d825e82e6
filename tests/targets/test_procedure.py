"""Target setting: the rule by hand, and the whole procedure at the smallest scale."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from timetrial.algorithms.registry import identify
from timetrial.cli.main import app
from timetrial.errors import UserError
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Suite, SuiteWorkload, parse_suite
from timetrial.targets.procedure import Run, Scale, TargetSetting, best_run, set_targets, targets_of
from timetrial.targets.report import markdown, toml_fragment
from timetrial.trial.run import run_trial


def run_of(validation: float, test: float | None) -> Run:
    return Run(submission="adamw", hyperparameters={}, validation=validation, test=test, submission_time=1.0)


@pytest.fixture
def accuracy(tiny_suite: Suite) -> SuiteWorkload:
    return tiny_suite.workload("digits_mlp")


@pytest.fixture
def loss(tiny_suite: Suite) -> SuiteWorkload:
    return tiny_suite.workload("digits_resnet")


def test_median_of_validation_and_worst_test_of_those_that_reach_it(accuracy: SuiteWorkload) -> None:
    runs = [run_of(0.5, 0.3), run_of(0.75, 0.6), run_of(0.875, 0.4), run_of(0.625, 0.9)]
    assert targets_of(runs, accuracy) == (0.6875, 0.4), "between 5/8 and 3/4; 3/4 and 7/8 reach it"


def test_smaller_is_better_for_a_loss(loss: SuiteWorkload) -> None:
    runs = [run_of(0.3, 0.5), run_of(0.1, 0.4), run_of(0.2, 0.45)]
    assert targets_of(runs, loss) == (0.2, 0.45)
    assert best_run(runs, loss).validation == 0.1


def test_without_a_test_split_there_is_no_test_target(loss: SuiteWorkload) -> None:
    runs = [run_of(0.3, None), run_of(0.1, None), run_of(0.2, None)]
    assert targets_of(runs, loss) == (0.2, None)
    setting = TargetSetting(
        suite="mine-1",
        workload=loss,
        scale=Scale(trials=3, seeds=3),
        search=runs,
        reruns=runs,
        validation_target=0.2,
        test_target=None,
    )
    assert "test_target" not in toml_fragment(setting)
    assert "test none." in markdown(setting, "timetrial targets")


def test_a_diverged_run_is_worse_than_any(accuracy: SuiteWorkload, loss: SuiteWorkload) -> None:
    assert targets_of([run_of(math.nan, math.nan), run_of(0.9, 0.8), run_of(0.8, 0.7)], accuracy) == (0.8, 0.7)
    assert targets_of([run_of(math.nan, math.nan), run_of(0.1, 0.2), run_of(0.3, 0.2)], loss) == (0.3, 0.2)
    with pytest.raises(UserError, match="half of the runs with other seeds diverged"):
        targets_of([run_of(math.nan, math.nan)] * 2 + [run_of(0.9, 0.8)], accuracy)
    with pytest.raises(UserError, match="no run has a finite accuracy"):
        best_run([run_of(math.nan, math.nan)], accuracy)


def test_the_whole_procedure_resumes_and_reports(tiny_suite: Suite, accuracy: SuiteWorkload, tmp_path: Path) -> None:
    executed: list[TrialPlan] = []

    def execute(plans: list[TrialPlan]) -> None:
        for plan in plans:
            if TrialRecord(tmp_path / plan.folder).result is None:
                executed.append(plan)
                run_trial(plan, tmp_path, lambda evaluation: None)

    scale = Scale(trials=2, seeds=3, horizon=0.5)
    submissions = [identify("adamw"), identify("nesterov")]
    setting = set_targets(tiny_suite, accuracy, submissions, scale, tmp_path, execute)  # type: ignore[arg-type]
    assert len(executed) == 2 * 2 + 3
    assert {plan.max_steps for plan in executed} == {50}
    assert {plan.workload.step_hint for plan in executed} == {50}, "schedules end where the runs end"
    assert len({plan.seed for plan in executed[-3:]}) == 3
    best = max(setting.search, key=lambda run: run.validation)
    assert all(dict(plan.hyperparameters) == best.hyperparameters for plan in executed[-3:])
    values = sorted(run.validation for run in setting.reruns)
    assert setting.validation_target == values[1]

    other_targets = replace(accuracy, validation_target=0.99, test_target=0.99, budget=123.0)
    again = set_targets(tiny_suite, other_targets, submissions, scale, tmp_path, execute)  # type: ignore[arg-type]
    assert len(executed) == 7, "all on record, also after the suite's targets changed"
    assert again.validation_target == setting.validation_target

    points = [dict(plan.hyperparameters) for plan in executed]
    for plan in executed[-3:]:  # as if another point had been the best of fewer trials
        other = replace(plan, hyperparameters={**plan.hyperparameters, "weight_decay": 0.123})
        TrialRecord(tmp_path / plan.folder).discard()
        run_trial(other, tmp_path, lambda evaluation: None)
    anew = set_targets(tiny_suite, accuracy, submissions, scale, tmp_path, execute)  # type: ignore[arg-type]
    assert [dict(plan.hyperparameters) for plan in executed[7:]] == points[4:7]
    assert anew.validation_target == setting.validation_target

    fragment = toml_fragment(setting)
    assert f"validation_target = {setting.validation_target!r}" in fragment
    text = (Path(__file__).parents[1] / "tiny-test.toml").read_text()
    parse_suite(text.replace("[workloads.digits_mlp]\n", fragment.partition("validation")[0]), "pasted.toml")
    report = markdown(setting, "timetrial targets ...")
    assert "| adamw | 2 |" in report
    assert "| nesterov | 2 |" in report
    assert f"Best: **{best.submission}**" in report


def test_a_hyperparameter_can_be_held(tiny_suite: Suite, accuracy: SuiteWorkload, tmp_path: Path) -> None:
    seen: list[TrialPlan] = []

    def stop(plans: list[TrialPlan]) -> None:
        seen.extend(plans)
        raise UserError("enough")

    scale = Scale(trials=3, seeds=1, fixed={"label_smoothing": 0.0})
    with pytest.raises(UserError, match="enough"):
        set_targets(tiny_suite, accuracy, [identify("adamw")], scale, tmp_path, stop)  # type: ignore[arg-type]
    assert [plan.hyperparameters["label_smoothing"] for plan in seen] == [0.0] * 3
    assert len({plan.hyperparameters["learning_rate"] for plan in seen}) == 3
    with pytest.raises(UserError, match="adamw: its search space has no 'smoothing'"):
        set_targets(
            tiny_suite,
            accuracy,
            [identify("adamw")],
            replace(scale, fixed={"smoothing": 0.0}),
            tmp_path,
            stop,  # type: ignore[arg-type]
        )


def test_the_verb_writes_fragment_and_report(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    suite = Path(__file__).parents[1] / "tiny-test.toml"
    arguments = ["targets", str(suite), "--workload", "digits_mlp", "--submission", "nesterov", "--trials", "2"]
    arguments += ["--seeds", "2", "--horizon", "0.2", "--runs-dir", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "validation_target" in (tmp_path / "out" / "tiny-test.toml").read_text()
    assert "--trials 2 --seeds 2 --horizon 0.2" in (tmp_path / "out" / "tiny-test.md").read_text()
    done = CliRunner().invoke(app, [*arguments, "--fix", "learning_rate"])
    assert str(done.exception) == "--fix: expected NAME=NUMBER, as in label_smoothing=0, found 'learning_rate'"
