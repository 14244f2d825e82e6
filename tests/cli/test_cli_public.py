"""A public submission raced and checked by the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import TINY, timetrial

SUBMISSIONS = Path(__file__).parents[1] / "compat" / "submissions"


def test_it_races_under_both_rulesets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = SUBMISSIONS / "adamw_with_schedulers"
    options = ["--workload", "digits_mlp", "--studies", "1", "--runs-dir", str(tmp_path), "--jobs", "1", "--json"]
    space = str(public / "tuning_search_space.json")
    race = ["run", TINY, "--submission", str(public / "submission.py"), "--search-space", space, *options]
    assert timetrial(*race) == 0
    assert json.loads(capsys.readouterr().out)["submissions"]
    records = list(tmp_path.glob("tiny-test/external/submission/study_0/digits_mlp/trial_*/result.json"))
    assert len(records) == 2
    assert all(json.loads(record.read_text())["ended"] != "failed" for record in records)

    alone = ["run", TINY, "--submission", str(SUBMISSIONS / "sam_two_passes.py"), "--ruleset", "self", *options]
    assert timetrial(*alone) == 0
    record = json.loads(
        next(tmp_path.glob("tiny-test/self/sam_two_passes/*/digits_mlp/trial_1/result.json")).read_text()
    )
    assert record["ended"] != "failed"
    assert record["batch_size"] == 4


def test_jax_is_refused_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "submission.py"
    path.write_text("import jax\ndef init_optimizer_state(): pass\ndef update_params(): pass\n")
    assert timetrial("run", TINY, "--submission", str(path), "--runs-dir", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: submission")
    assert "it imports jax, and timetrial runs only submissions written for PyTorch" in error
    assert error.count("\n") == 1
