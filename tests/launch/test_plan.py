"""Which trials a run needs, and what is already on record."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from timetrial.algorithms.registry import identify
from timetrial.errors import UserError
from timetrial.launch.execute import prepare
from timetrial.launch.plan import RunRequest, plan_run, sort_by_record, trial_seed
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Suite, load_suite
from timetrial.trial.run import ChangedTrialError, run_trial
from timetrial.workloads.registry import workload_of


def request(suite: Suite, **changes: Any) -> RunRequest:
    settings: dict[str, Any] = {
        "suite": suite,
        "submissions": [identify("adamw"), identify("nesterov")],
        "ruleset": "external",
    }
    if "workloads" not in changes:
        settings["workloads"] = [suite.workload("digits_mlp")]
    return RunRequest(**{**settings, **changes})


def test_a_run_is_every_combination_once(tiny_suite: Suite) -> None:
    plans = plan_run(request(tiny_suite, workloads=list(tiny_suite.workloads.values())))
    assert len(plans) == len({plan.folder for plan in plans}) == 2 * 2 * 2 * 2
    assert plans[0].folder == "tiny-test/external/adamw/study_0/digits_mlp/trial_1"
    assert [plan.study for plan in plans] == sorted(plan.study for plan in plans), "whole studies come first"
    first = [plan for plan in plans if (plan.study, plan.trial) == (0, 1)]
    assert len({plan.seed for plan in first}) == 1, "the same data for all, so that differences are paired"
    assert len({plan.seed for plan in plans}) == 4


def test_hyperparameters_are_the_default_point_with_the_tuned_ones_on_top(tiny_suite: Suite) -> None:
    for plan in plan_run(request(tiny_suite)):
        if plan.submission.name == "adamw":
            assert plan.hyperparameters["beta2"] == 0.999
            assert 1e-4 <= plan.hyperparameters["learning_rate"] <= 1e-2


def test_without_tuning_the_default_point_is_used_and_the_budget_is_larger(tiny_suite: Suite) -> None:
    plans = plan_run(request(tiny_suite, ruleset="self", submissions=[identify("nadamw")]))
    assert [(plan.study, plan.trial) for plan in plans] == [(0, 1), (1, 1)]
    assert plans[0].hyperparameters["learning_rate"] == 0.0017486387539278373
    assert plans[0].budget == 30.0
    assert plans[0].max_steps is None


def test_a_ruleset_may_limit_steps_by_the_step_hint(tiny_suite: Suite) -> None:
    rulesets = {name: replace(rules, step_limit=1.1) for name, rules in tiny_suite.rulesets.items()}
    for ruleset in rulesets:
        plans = plan_run(request(replace(tiny_suite, rulesets=rulesets), ruleset=ruleset))
        assert tiny_suite.workload("digits_mlp").step_hint == 100
        assert {plan.max_steps for plan in plans} == {110}


def test_algoperf_suites_plan_the_public_points() -> None:
    suite = load_suite("algoperf-0.6")
    workload = replace(suite.workload("wmt"), name="digits_mlp", base="digits_mlp", preset="mini")
    plans = plan_run(request(suite, workloads=[workload], submissions=[identify("adamw")]))
    assert len(plans) == 15
    assert all(plan.budget == 43_336 for plan in plans)


def test_seeds_of_studies_and_trials_differ() -> None:
    assert len({trial_seed(seed, study, trial) for seed in (0, 1) for study in (0, 1) for trial in (1, 2)}) == 8


def test_workloads_without_their_data_are_refused() -> None:
    suite = load_suite("algoperf-0.6")
    with pytest.raises(UserError, match="timetrial data prepare criteo1tb --from RAW"):
        plan_run(request(suite, workloads=[suite.workload("criteo1tb")]))


def test_two_submissions_of_one_name_are_refused(tiny_suite: Suite) -> None:
    with pytest.raises(UserError, match="two submissions are called 'adamw'"):
        plan_run(request(tiny_suite, submissions=[identify("adamw"), identify("adamw")]))


def test_records_decide_what_is_left(tiny_suite: Suite, tmp_path: Path) -> None:
    plans = plan_run(request(tiny_suite, submissions=[identify("adamw")]))
    plans = [replace(plan, max_steps=2) for plan in plans]
    run_trial(plans[1], tmp_path, lambda evaluation: None)
    found = sort_by_record(plans, tmp_path)
    assert found.done == [plans[1]]
    assert found.todo == [plans[0], *plans[2:]]
    other = [replace(plan, max_steps=3) for plan in plans]
    assert sort_by_record(other, tmp_path).different == [(other[1], "max_steps was 2 and is now 3")]
    with pytest.raises(UserError, match=r"with another plan \(max_steps was 2 and is now 3\).*--overwrite"):
        prepare(other, tmp_path, overwrite=False, retry_failed=False)
    assert TrialRecord(tmp_path / plans[1].folder).result is not None, "refusing loses nothing"
    assert prepare(other, tmp_path, overwrite=True, retry_failed=False).todo == other
    assert TrialRecord(tmp_path / plans[1].folder).result is None


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("name", ["data", "model"])
def test_records_of_other_data_or_another_model_are_not_mixed(
    tiny_suite: Suite, tmp_path: Path, name: str, ended: bool
) -> None:
    plan = replace(plan_run(request(tiny_suite, submissions=[identify("adamw")]))[0], max_steps=2)
    record = TrialRecord(tmp_path / plan.folder)
    if ended:
        run_trial(plan, tmp_path, lambda evaluation: None)
    now = workload_of(plan.workload).identities()
    record.begin(plan, {**now, name: "0123456789abcdef"})
    change = rf"the SHA-256 of its {name} was 0123456789ab\.\.\. and is now {now[name][:12]}\.\.\."
    with pytest.raises(UserError, match=rf"another plan \({change}\).*--overwrite"):
        prepare([plan], tmp_path, overwrite=False, retry_failed=False)
    assert (record.result is not None) == ended, "refusing loses nothing"
    if not ended:
        record.checkpoint_file.write_bytes(b"of the other model")
        with pytest.raises(ChangedTrialError, match=change):
            run_trial(plan, tmp_path, lambda evaluation: None)
        assert record.result is None
        assert record.checkpoint_file.read_bytes() == b"of the other model"
    assert prepare([plan], tmp_path, overwrite=True, retry_failed=False).todo == [plan]


def test_a_runs_folder_that_cannot_be_written_is_named(tiny_suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_text("")
    with pytest.raises(UserError, match="a file/runs: cannot write to the runs folder"):
        prepare(plan_run(request(tiny_suite)), path / "runs", overwrite=False, retry_failed=False)
