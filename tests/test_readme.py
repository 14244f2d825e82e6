"""What the README shows is what runs."""

import re
from pathlib import Path

import pytest

from timetrial.records.trial_record import find_records

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def snippet() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    return str(code)


def test_the_submission_in_the_readme_races(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from timetrial.cli.main import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_optimizer.py").write_text(snippet())
    suite = str(ROOT / "tests" / "tiny-test.toml")
    for ruleset in ("external", "self"):
        command = ["run", suite, "--submission", "my_optimizer.py", "--ruleset", ruleset]
        command += ["--studies", "1", "--workload", "digits_mlp"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    results = [record.result for record in find_records(tmp_path / "runs")]
    assert len(results) == 2 + 1
    assert all(result is not None and result.ended != "failed" for result in results)
    assert any(result is not None and result.ended == "target_reached" for result in results)


def test_the_wrapper_is_about_ten_lines() -> None:
    body = snippet().partition("class ")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 12


def test_files_that_are_linked_exist() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"pip install '(\.\[dev\])' && venv/bin/(pytest -q)", README)
    assert command is not None
    ci = (ROOT / ".ci" / "run").read_text()
    assert command[1] in ci
    assert f"/{command[2]}" in ci
