"""Submissions written for the public benchmark run as they are, through kill and resume."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from timetrial.algorithms.registry import identify, load_submission
from timetrial.compat.keys import StepKey, trial_keys
from timetrial.compat.public.random_utils import PRNGKey, split
from timetrial.compat.submission import PublicSubmission
from timetrial.errors import UserError
from timetrial.records.plan import TrialPlan, TrialResult
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Period, SuiteWorkload, load_suite
from timetrial.trial.run import run_trial
from timetrial.tuning.sampling import draw_points
from timetrial.workloads.registry import load_workload

FOLDER = Path(__file__).parent / "submissions"
SUBMISSIONS = sorted(path.name for path in FOLDER.iterdir() if path.name != "__pycache__")
WORKLOADS = ("criteo1tb", "librispeech_deepspeech", "ogbg")
STEPS = 30
MINI = load_suite("mini-1")


def tiny(name: str) -> SuiteWorkload:
    """A workload of mini-1 at `tiny`, evaluated every ten steps."""
    data = load_workload(name, "tiny").data()
    entry = MINI.workload(name)
    sizes = {split: data.eval_examples(split) for split in ("train", "validation", "test")}
    return replace(
        entry,
        preset="tiny",
        batch_size=8,
        eval_batch_size=16,
        train_examples=data.train_examples,
        eval_examples=replace(entry.eval_examples, **sizes),
        evaluation_period=Period(steps=10),
        step_hint=STEPS,
        test_target=entry.test_target if sizes["test"] else None,
    )


def plan_of(submission: str, workload: str, **changes: Any) -> TrialPlan:
    """A trial of a submission's first point, of so many steps whatever it reaches."""
    identity = identify(str(FOLDER / submission))
    space = load_submission(identity.location).search_space
    settings: dict[str, Any] = {
        "suite": "tiny",
        "workload": tiny(workload),
        "protocol": MINI.protocol,
        "submission": identity,
        "ruleset": "self" if space is None else "external",
        "study": 0,
        "trial": 1,
        "hyperparameters": draw_points(space, sampler="sobol", studies=1, trials=1, seed=0)[0][0],
        "seed": 5,
        "budget": 1e6,
        "max_steps": STEPS,
        "race": False,
    }
    return TrialPlan(**{**settings, **changes})


def rows(folder: Path, plan: TrialPlan) -> list[dict[str, float]]:
    """What was evaluated, without the times."""
    record = TrialRecord(folder / plan.folder)
    return [{key: value for key, value in row.items() if "time" not in key} for row in record.evaluations]


def run(plan: TrialPlan, folder: Path) -> TrialResult:
    return run_trial(plan, folder, lambda row: None)


class Killed(BaseException):
    """Stands in for a kill between two steps: nothing catches it."""


def run_killed(plan: TrialPlan, folder: Path, *, after: int) -> None:
    seen: list[Mapping[str, float]] = []

    def report(row: Mapping[str, float]) -> None:
        seen.append(row)
        if len(seen) == after:
            raise Killed

    with pytest.raises(Killed):
        run_trial(plan, folder, report)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("submission", SUBMISSIONS)
def test_it_runs_to_its_end_through_kill_and_resume(submission: str, workload: str, tmp_path: Path) -> None:
    steps = 2 if submission == "many_inner_steps.py" else STEPS
    plan = plan_of(submission, workload, max_steps=steps)
    whole = run(plan, tmp_path / "whole")
    assert whole.ended == "training_complete", whole.traceback
    run_killed(plan, tmp_path / "killed", after=1 if steps == 2 else 2)
    resumed = run(plan, tmp_path / "killed")
    assert resumed.ended == "training_complete", resumed.traceback
    assert resumed.resumes == 1
    found, expected = rows(tmp_path / "killed", plan), rows(tmp_path / "whole", plan)
    assert found == expected
    assert len(expected) >= 2


def test_adamw_is_our_own_step_for_step(tmp_path: Path) -> None:
    """The same batches, the same initial weights, the same schedule: 50 steps end within 1e-6 of each other."""
    point = {
        "learning_rate": 3e-3, "one_minus_beta1": 0.1, "beta2": 0.999, "weight_decay": 0.1, "warmup_factor": 0.1,
        "label_smoothing": 0.0, "dropout_rate": 0.0,
    }  # fmt: skip
    found = []
    for submission in (identify(str(FOLDER / "adamw_with_schedulers")), identify("adamw")):
        for workload in WORKLOADS:
            plan = plan_of("adamw_with_schedulers", workload, hyperparameters=point, max_steps=50)
            plan = replace(plan, submission=submission, workload=replace(plan.workload, step_hint=60))
            assert run(plan, tmp_path).ended == "training_complete"
            found.append(rows(tmp_path, plan))
    for ours, theirs in zip(found[len(WORKLOADS) :], found[: len(WORKLOADS)], strict=True):
        assert len(ours) == len(theirs) == 6
        for one, other in zip(ours, theirs, strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-6)


def test_smaller_presets_cap_the_batch_and_the_record_says_so(tmp_path: Path) -> None:
    plan = plan_of("adamw_with_schedulers", "criteo1tb", max_steps=2)
    result = run(plan, tmp_path)
    assert (result.batch_size, result.asked_batch_size) == (8, 262_144)
    assert result.examples == 16


def test_logged_metrics_are_beside_the_record(tmp_path: Path) -> None:
    plan = plan_of("logs_its_metrics.py", "criteo1tb", max_steps=11)
    run(plan, tmp_path)
    lines = (tmp_path / plan.folder / "measurements.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 5, 10]
    assert set(json.loads(lines[0])) == {"step", "loss", "grad_norm"}


def test_version_0_5_had_the_harness_apply_the_dropout_rate(tmp_path: Path) -> None:
    """Without a rate in the call, a model of that version runs at the hyperparameter's, not at the workload's."""
    seen = []
    for rate in (0.0, 0.9):
        plan = plan_of("logs_its_metrics.py", "ogbg", max_steps=3)
        plan = replace(plan, hyperparameters={"learning_rate": 1e-3, "dropout_rate": rate})
        run(plan, tmp_path / str(rate))
        lines = (tmp_path / str(rate) / plan.folder / "measurements.jsonl").read_text().splitlines()
        seen.append(json.loads(lines[0])["loss"])
    assert seen[0] != seen[1]


def test_a_submission_may_end_the_training(tmp_path: Path) -> None:
    result = run(plan_of("several_files", "criteo1tb"), tmp_path)
    assert result.ended == "training_complete"
    assert result.steps == 26, "the call that raised counts"


def test_the_public_names_are_gone_outside_of_a_call() -> None:
    algorithm = load_submission(identify(str(FOLDER / "adamw_with_schedulers")).location)
    assert issubclass(algorithm, PublicSubmission)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("algoperf")
    with algorithm.modules:
        spec = importlib.import_module("algoperf.spec")
        assert importlib.import_module("algorithmic_efficiency.spec") is spec
        assert spec.ParameterType.ATTENTION_QKV.value == 12
        assert [kind.value for kind in spec.LossType] == [0, 1, 2, 3, 4]
        models = "workloads.librispeech_conformer.librispeech_pytorch.models"
        assert hasattr(importlib.import_module(f"algoperf.{models}"), "BatchNorm")
    assert not [name for name in sys.modules if name.split(".")[0] in ("algoperf", "algorithmic_efficiency")]


def test_keys_are_the_public_ones() -> None:
    """spec: protocol.md, 4, the test vector of seed 1996, external."""
    assert PRNGKey(1996).tolist() == [512411578, 906572033]
    keys = trial_keys(1996, external=True)
    assert keys.data.tolist() == [541873718, 832536054]
    assert keys.optimizer.tolist() == [1006832566, 1985170951]
    assert keys.model.tolist() == [1831834400, 1986704013]
    assert keys.loop.tolist() == [1313050748, 312339773]
    steps = [StepKey(keys.loop, 0, index) for index in range(4)]
    assert [key.tolist() for key in steps] == [
        [9735203, 320939494], [1390890743, 784417822], [2061221160, 1416581004], [1294127863, 200538171]
    ]  # fmt: skip
    assert split(steps[0], 2).shape == (2, 2)
    assert torch.tensor(np.asarray(steps[1]).astype(np.int64)).tolist() == [1390890743, 784417822]


HEAD = "from algoperf import spec\ndef init_optimizer_state(*a): pass\ndef update_params(*a): pass\n"
REST = "def get_batch_size(name): return 8\ndef data_selection(*a): pass\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEAD, "expected the functions data_selection, get_batch_size, .*; found no data_selection"),
        (f"import jax\n{HEAD}{REST}", "it imports jax, and timetrial runs only submissions written for PyTorch"),
        (
            f"from algoperf import jax_sharding_utils\n{HEAD}{REST}",
            r"imports algoperf\.jax_sharding_utils, which timetrial does",
        ),
        (
            f"import algoperf.jax_utils\n{HEAD}{REST}",
            r"imports algoperf\.jax_utils, which timetrial does not offer; of",
        ),
        (f"import nonsense.deep\n{HEAD}{REST}", "imports nonsense, which is not installed: pip install nonsense"),
        (f"{HEAD}{REST}1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint) as caught:
        load_submission(identify(str(path)).location)
    assert "\n" not in str(caught.value)


def test_missing_requirements_are_reported_and_not_installed(tmp_path: Path) -> None:
    (tmp_path / "submission.py").write_text(HEAD + REST)
    (tmp_path / "requirements.txt").write_text("torch\nnot-on-this-machine>=2 # why\n-r other.txt\n")
    with pytest.raises(UserError, match=r"requirements.txt: not installed: not-on-this-machine>=2; pip install 'not-"):
        load_submission(identify(str(tmp_path)).location)
    (tmp_path / "requirements.txt").write_text("=== nonsense\n")
    with pytest.raises(UserError, match=r"expected a requirement like 'name>=1\.0', found '=== nonsense'"):
        load_submission(identify(str(tmp_path)).location)


def test_both_forms_of_tuning_files(tmp_path: Path) -> None:
    (tmp_path / "submission.py").write_text(HEAD + REST)
    space = tmp_path / "tuning_search_space.json"
    space.write_text('[{"lr": 0.1}, {"lr": 0.2}]')
    found = load_submission(identify(str(tmp_path)).location).search_space
    assert found is not None
    assert [dict(point) for point in found.points] == [{"lr": 0.1}, {"lr": 0.2}]


def test_returning_something_else_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\ndef init_optimizer_state(*a): return {}\ndef update_params(**a): return None\n"
        "def get_batch_size(name): return 8\ndef data_selection(w, queue, *a): return next(queue)\n"
    )
    plan = replace(plan_of("sam_two_passes.py", "criteo1tb"), submission=identify(str(path)))
    result = run(plan, tmp_path)
    assert result.ended == "failed"
    assert "must return (optimizer_state, params, model_state), found NoneType" in result.reason
