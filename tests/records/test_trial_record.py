"""A trial's folder: what is read as valid, and what is refused with a sentence."""

import json
import math
from pathlib import Path

import pytest

from timetrial.errors import FileError, UserError
from timetrial.records.plan import PLAN, RESULT, SubmissionId, TrialPlan, TrialResult
from timetrial.records.trial_record import TrialRecord, find_records
from timetrial.suite import Suite


@pytest.fixture
def plan(tiny_suite: Suite) -> TrialPlan:
    return TrialPlan(
        suite=tiny_suite.name,
        workload=tiny_suite.workload("digits_mlp"),
        protocol=tiny_suite.protocol,
        submission=SubmissionId(name="mine", location="/x/mine.py", sha256="00"),
        ruleset="self",
        study=0,
        trial=1,
        hyperparameters={"learning_rate": 0.1, "layers": [1, 2]},
        seed=3,
        budget=math.inf,
    )


RESULT_OF_A_FAILURE = TrialResult(
    ended="failed",
    reason="ValueError: no",
    time_to_target=None,
    steps=3,
    examples=96,
    submission_time=0.5,
    seconds={"submission": 0.5},
    total=0.5,
    harness_us_per_step=2.0,
    cpu_time=0.4,
    load=(0.1, 0.2),
    resumes=1,
    traceback="Traceback ...",
)


def test_a_record_round_trips(tmp_path: Path, plan: TrialPlan) -> None:
    record = TrialRecord(tmp_path / "trial_1")
    assert record.plan is None
    assert record.result is None
    record.begin(plan, {"host": "here"})
    record.append_evaluation({"step": 1, "validation/loss": math.nan})
    record.append_evaluation({"step": 2, "validation/loss": 0.1 + 0.2})
    record.finish(RESULT_OF_A_FAILURE)
    again = TrialRecord(tmp_path / "trial_1")
    assert again.plan == plan
    assert again.environment == {"host": "here"}
    assert again.result == RESULT_OF_A_FAILURE
    assert math.isnan(again.evaluations[0]["validation/loss"])
    assert again.evaluations[1] == {"step": 2, "validation/loss": 0.1 + 0.2}, "floats round-trip to the last bit"
    assert not again.checkpoint.exists()
    assert [found.folder for found in find_records(tmp_path)] == [tmp_path / "trial_1"]


def test_evaluations_follow_the_checkpoint(tmp_path: Path, plan: TrialPlan) -> None:
    record = TrialRecord(tmp_path / "t")
    record.begin(plan, {})
    record.append_evaluation({"step": 1})
    with (tmp_path / "t" / "evals.jsonl").open("a") as log:
        log.write('{"step": 2, "val')  # killed while it was writing
    assert record.evaluations == [{"step": 1.0}]
    record.restore_evaluations([{"step": 1}, {"step": 2}])
    assert record.evaluations == [{"step": 1.0}, {"step": 2.0}]


@pytest.mark.parametrize("name", ["trial.json", "result.json"])
def test_a_newer_format_is_refused(tmp_path: Path, plan: TrialPlan, name: str) -> None:
    record = TrialRecord(tmp_path)
    record.begin(plan, {})
    record.finish(RESULT_OF_A_FAILURE)
    path = tmp_path / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99, "news": True}))
    with pytest.raises(FileError, match=rf"{name}: format: written by a newer timetrial \(format 99; .* up to 1\)"):
        _ = TrialRecord(tmp_path).plan, TrialRecord(tmp_path).result


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("trial.json", '{"format": 1, "plan"', "trial.json: not valid JSON"),
        ("trial.json", "[]", "trial.json: format: expected a whole number"),
        ("trial.json", '{"format": 1, "plan": {}}', "trial.json: .*[Mm]issing|required"),
        ("result.json", '{"format": 1, "ended": "won"}', "result.json: "),
        ("evals.jsonl", '{"step": "many"}\n', "evals.jsonl: expected one JSON object of numbers a line"),
        ("evals.jsonl", "[1]\n", "evals.jsonl: expected one JSON object of numbers a line"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FileError, match=complaint):
        _ = TrialRecord(tmp_path).plan, TrialRecord(tmp_path).result, TrialRecord(tmp_path).evaluations


def test_a_missing_runs_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such runs folder"):
        find_records(tmp_path / "nowhere")


def test_a_plan_survives_json_and_equals_itself(plan: TrialPlan) -> None:
    text = json.dumps(PLAN.dump_python(plan, mode="json"))
    assert PLAN.validate_python(json.loads(text.replace("Infinity", '"inf"'))) == plan
    assert RESULT.validate_python(RESULT.dump_python(RESULT_OF_A_FAILURE, mode="json")) == RESULT_OF_A_FAILURE
