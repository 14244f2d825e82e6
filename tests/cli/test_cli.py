"""The command line: few options, quick help, mistakes as one sentence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from timetrial.algorithms.registry import known_submissions
from timetrial.cli.main import app, main

TINY = str(Path(__file__).parents[1] / "tiny-test.toml")

OPTIONS = {
    "quickstart": "--jobs --runs-dir --json",
    "run": "--submission --ruleset --workload --studies --trials --search-space --seed --jobs --device --runs-dir "
    "--data --overwrite --retry-failed --json",
    "score": "--suite --ruleset --compat --workloads --studies --trials --reference --resamples --seed --json "
    "--export-algoperf",
    "report": "--suite --ruleset --compat --workloads --studies --trials --reference --resamples --seed --output "
    "--format",
    "list": "--suite --json",
    "show": "--json",
    "check": "--quick --jobs --device --json",
    "targets": "--workload --submission --trials --seeds --horizon --fix --seed --jobs --runs-dir --data --output "
    "--json",
    "doctor": "--json",
    "data prepare": "--from --to --preset --jobs --dry-run --json",
    "data verify": "--data --jobs --json",
    "data list": "--data --json",
}


def timetrial(*arguments: str) -> int:
    """Run the command line in this process; return its exit code."""
    old = sys.argv
    sys.argv = ["timetrial", *arguments]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = old
    return 0


def commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """All commands by what one types for them, those of groups too."""
    found = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{name} ") if hasattr(command, "commands") else {prefix + name: command}
    return found


def test_adding_an_option_is_a_decision() -> None:
    group = get_command(app)
    found = {
        name: " ".join(
            parameter.opts[0]
            for parameter in command.params
            if parameter.param_type_name == "option" and parameter.name != "help"
        )
        for name, command in commands(group).items()
    }
    assert found == OPTIONS


@pytest.mark.parametrize("verb", [None, *OPTIONS])
def test_help_comes_without_heavy_imports_and_with_an_example(verb: str | None) -> None:
    """Half a second is the bar; what makes it is that none of these is imported."""
    heavy = ["torch", "numpy", "scipy", "polars", "sklearn"]
    code = (
        "import sys\n"
        f"sys.argv = ['timetrial', *{verb.split() if verb else []}, '--help']\n"
        "from timetrial.cli.main import main\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "timetrial" in done.stdout
    if verb:
        assert done.stdout.count(f"timetrial {verb}") >= 2, "usage, and an example"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "quickstart", "--submission", "adamw"], "unknown suite 'quickstart': did you mean 'quickstart-1'?"),
        (["run", TINY, "--submission", "adamww"], "unknown submission 'adamww': did you mean 'adamw'?"),
        (["run", TINY, "--submission", "adamw", "--workload", "mnist"], "unknown workload in suite tiny-test 'mnist'"),
        (["run", TINY, "--submission", "adamw", "--ruleset", "none"], "--ruleset: expected external or self"),
        (["run", TINY, "--submission", "adamw", "--device", "tpu"], "--device: expected auto, cpu or cuda"),
        (["run", "algoperf-0.6", "--submission", "adamw"], "timetrial data prepare criteo1tb --from RAW"),
        (["run", "nowhere.toml", "--submission", "adamw"], "cannot read suite file nowhere.toml"),
        (["run", TINY, "--submission", "adamw", "--submission", "adamw"], "two submissions are called 'adamw'"),
        (["list", "submissions", "--suite", "algoperf-0.6"], "--suite goes with `list workloads`"),
        (["show", "nowhere"], "nowhere: no such runs folder"),
        (["score", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere: no such runs folder"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert timetrial(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "nothing is written"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "space.json: not valid JSON"),
        ('{"lr": {"min": 2, "max": 1, "scaling": "linear"}}', "space.json: lr"),
        ('{"lr": {"min": 0, "max": 1, "scaling": "log"}}', "space.json: lr"),
    ],
)
def test_a_broken_search_space_is_named(
    text: str, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "space.json").write_text(text)
    arguments = ["run", TINY, "--submission", "adamw", "--search-space", str(tmp_path / "space.json")]
    assert timetrial(*arguments, "--runs-dir", str(tmp_path / "runs")) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_is_ranked_kept_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from timetrial.api import TrainingAlgorithm\n"
        "class Mine(TrainingAlgorithm):\n"
        "    def setup(self, task, hyperparameters):\n"
        "        self.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.5)\n"
        "    def step(self, task, batch):\n"
        "        self.optimizer.zero_grad()\n"
        "        task.loss(batch, task.forward(batch)).mean.backward()\n"
        "        self.optimizer.step()\n"
    )
    runs = str(tmp_path / "runs")
    command = ["run", TINY, "--submission", str(tmp_path / "mine.py"), "--ruleset", "self", "--workload", "digits_mlp"]
    command += ["--runs-dir", runs, "--json"]
    assert timetrial(*command) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["submissions"][0]["submission"] == "mine"
    assert report["submissions"][0]["score"] == 1.0
    assert "[2/2] " in captured.err
    assert "tiny-test/self/mine/study_1/digits_mlp/trial_1: reached accuracy 0.6" in captured.err
    assert timetrial(*command) == 0
    captured = capsys.readouterr()
    assert "2 trials, 2 of them on record" in captured.err.replace("\n", " ")
    assert json.loads(captured.out) == report, "a second run only reads"

    assert timetrial("show", runs, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["study"], row["state"]) for row in rows] == [(0, "target_reached"), (1, "target_reached")]
    trial = f"{runs}/tiny-test/self/mine/study_0/digits_mlp/trial_1"
    assert timetrial("show", trial) == 0
    shown = capsys.readouterr().out
    for expected in ("submission.name: mine", "ended: target_reached", "harness_us_per_step"):
        assert expected in shown
    assert timetrial("score", runs, "--suite", TINY, "--ruleset", "self", "--json") == 0
    assert json.loads(capsys.readouterr().out)["submissions"][0]["submission"] == "mine"


def test_a_failing_submission_is_told_and_exits_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text(
        "from timetrial.api import TrainingAlgorithm\n"
        "class Bad(TrainingAlgorithm):\n"
        "    def step(self, task, batch):\n"
        "        raise RuntimeError('no idea how')\n"
    )
    command = ["run", TINY, "--submission", str(tmp_path / "bad.py"), "--ruleset", "self", "--studies", "1"]
    command += ["--workload", "digits_mlp", "--runs-dir", str(tmp_path / "runs")]
    assert timetrial(*command) == 1
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "RuntimeError: no idea how" in shown
    assert "the traceback of the first: timetrial show" in shown


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert timetrial("list", "suites", "--json") == 0
    suites = {row["suite"]: row for row in json.loads(capsys.readouterr().out)}
    assert suites["algoperf-0.5"]["workloads"] == 8
    assert timetrial("list", "workloads", "--suite", "algoperf-0.6", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 9 + 24
    assert timetrial("list", "submissions", "--json") == 0
    names = [row["submission"] for row in json.loads(capsys.readouterr().out)]
    assert names == sorted(known_submissions())
    assert timetrial("list", "submissions") == 0
    assert "NAdamW" in capsys.readouterr().out


def test_doctor_names_versions_and_cures(capsys: pytest.CaptureFixture[str]) -> None:
    assert timetrial("doctor", "--json") == 0
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["torch"]["found"].startswith("2.13.0")
    assert rows["torch"]["advice"] == ""
    assert int(rows["cores usable"]["found"]) >= 1


def test_two_runs_of_one_seed_agree_and_a_newer_record_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.py").write_text(
        "import torch\n"
        "from timetrial.api import TrainingAlgorithm, TrainingComplete\n"
        "class Short(TrainingAlgorithm):\n"
        "    def setup(self, task, hyperparameters):\n"
        "        self.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.01)\n"
        "    def step(self, task, batch):\n"
        "        if task.step == 25:\n"
        "            raise TrainingComplete\n"
        "        self.optimizer.zero_grad()\n"
        "        task.loss(batch, task.forward(batch)).mean.backward()\n"
        "        self.optimizer.step()\n"
    )

    def run_into(folder: str, *more: str) -> int:
        command = ["run", TINY, "--submission", str(tmp_path / "short.py"), "--ruleset", "self"]
        command += ["--workload", "digits_resnet", "--studies", "1"]
        return timetrial(*command, "--jobs", "1", "--runs-dir", str(tmp_path / folder), *more)

    assert run_into("first") == run_into("second") == run_into("third", "--seed", "1") == 0
    metrics = []
    for folder in ("first", "second", "third"):
        logs = sorted((tmp_path / folder).rglob("evals.jsonl"))
        rows = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        metrics.append([{name: value for name, value in row.items() if "_time" not in name} for row in rows])
    assert [row["step"] for row in metrics[0]] == [1, 10, 20, 26]
    assert metrics[0] == metrics[1]
    assert metrics[0] != metrics[2]

    path = next((tmp_path / "first").rglob("trial.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    capsys.readouterr()
    runs = str(tmp_path / "first")
    for verb in ("run", "score", "show"):
        arguments = {"score": ["--suite", TINY, "--ruleset", "self"]}.get(verb, [])
        assert (run_into("first") if verb == "run" else timetrial(verb, runs, *arguments)) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {path}: format: written by a newer timetrial")
        assert len(error.splitlines()) == 1
