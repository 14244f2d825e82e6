"""An installed package may bring a workload and a submission of its own."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from timetrial.cli.main import app
from timetrial.records.trial_record import find_records

SUBMISSION = """
'''A submission from outside.'''
import torch
from timetrial.api import TrainingAlgorithm
class Outside(TrainingAlgorithm):
    def setup(self, task, hyperparameters):
        self.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.5)
    def step(self, task, batch):
        self.optimizer.zero_grad()
        task.loss(batch, task.forward(batch)).mean.backward()
        self.optimizer.step()
"""
WORKLOAD = """
'''A workload from outside: the digits with other hidden units.'''
from timetrial.workloads.digits_mlp.workload import DigitsMlp, DigitsMlpConfig
class Wide(DigitsMlp):
    presets = {"tiny": DigitsMlpConfig(hidden=24)}
"""
ENTRY_POINTS = """
[timetrial.submissions]
outside = timetrial_sample_plugin.submission:Outside
[timetrial.workloads]
digits_wide = timetrial_sample_plugin.workload:Wide
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as pip would install it, on the import path of this process and of those it starts."""
    site = tmp_path / "site"
    package = site / "timetrial_sample_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "submission.py").write_text(SUBMISSION)
    (package / "workload.py").write_text(WORKLOAD)
    info = site / "timetrial_sample_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timetrial-sample-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


def test_a_plugin_is_listed_and_raced(plugin: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "tiny-test.toml").read_text()
    suite = tmp_path / "mine.toml"
    text = text.partition("[workloads.digits_resnet]")[0].replace("tiny-test", "mine")
    suite.write_text(text.replace("[workloads.digits_mlp]", "[workloads.digits_wide]"))
    listed = CliRunner().invoke(app, ["list", "submissions"])
    assert "outside" in listed.output
    runs = tmp_path / "runs"
    command = ["run", str(suite), "--submission", "outside", "--ruleset", "self", "--runs-dir", str(runs)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    results = [record.result for record in find_records(runs)]
    assert [result.ended for result in results if result] == ["target_reached"] * 2
