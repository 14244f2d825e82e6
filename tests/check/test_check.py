"""`timetrial check` passes what is sound, and names what is not, with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults import FAULTS, HEAD

from timetrial.check.findings import CheckReport
from timetrial.check.run import QUICK, Scale, check_submission
from timetrial.workloads.registry import load_workload

QUICKLY = ("workload by parameter count", "state that is lost", "a patched torch function", "reading a file")
"""Of the faults, a few that are planted in every run of the tests; the others take some seconds each, too."""


def report_of(reference: str, scale: Scale = QUICK) -> CheckReport:
    return check_submission(reference, scale, jobs=2, device="cpu", progress=lambda done, total: None)


def parameter_count() -> int:
    model = load_workload("imagenet_vit", "tiny").torch().build_model()
    return sum(parameter.numel() for parameter in model.parameters())


def first_size() -> int:
    model = load_workload("imagenet_vit", "tiny").torch().build_model()
    return next(model.parameters()).numel()


def failures(report: CheckReport) -> dict[str, list[tuple[str, str]]]:
    return {
        check.name: [(finding.message, finding.where) for finding in check.findings if finding.serious]
        for check in report.checks
        if check.verdict == "fail"
    }


def test_the_sound_one_passes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD)
    report = report_of(str(path))
    assert report.passed, failures(report)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow) for name in FAULTS]
)
def test_a_planted_fault_is_found_and_named(name: str, tmp_path: Path) -> None:
    source, check, words = FAULTS[name]
    path = tmp_path / "mine.py"
    path.write_text(source.replace("COUNT", str(parameter_count())).replace("FIRST", str(first_size())))
    found = failures(report_of(str(path)))
    assert check in found, found
    matching = [where for message, where in found[check] if words in message]
    assert matching, found[check]
    assert str(path) in matching[0]
    assert name == "a process that stays" or len(found) <= 2, "little else is blamed"


def test_public_submissions_are_checked_too() -> None:
    folder = Path(__file__).parents[1] / "compat" / "submissions"
    report = report_of(str(folder / "adamw_with_schedulers"))
    assert report.passed, failures(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["amos", "distributed_shampoo", "muon", "nadamw_sequential", "sam", "sophia_g"])
def test_ours_pass_on_every_workload(name: str) -> None:
    """Those that ask for the most: sizes, blocks, orthogonalising, restarts, two gradients, drawn labels."""
    report = report_of(name, Scale(steps=10, short=4))
    assert report.passed, failures(report)


def test_the_verb_prints_json_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    for name, source, code in (("good.py", HEAD, 0), ("bad.py", FAULTS["a crash"][0], 1)):
        (tmp_path / name).write_text(source)
        done = subprocess.run(
            [sys.executable, "-m", "timetrial", "check", str(tmp_path / name), "--quick", "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert json.loads(done.stdout)["passed"] is (code == 0)
    missing = subprocess.run(
        [sys.executable, "-m", "timetrial", "check", "nothing.py"], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 2
    assert "no such file or folder" in missing.stderr
