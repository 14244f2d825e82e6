"""Trials in processes of this machine."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from timetrial.algorithms.registry import identify
from timetrial.launch.cores import physical_cores, slots
from timetrial.launch.local import LocalRunner
from timetrial.launch.plan import RunRequest, plan_run
from timetrial.launch.runner import Ended, Evaluated, Event, Interrupted, Started
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Suite

MIXED = """
import os, signal
import torch
from timetrial.api import TrainingAlgorithm
class Mixed(TrainingAlgorithm):
    hyperparameters = {"fate": "live"}
    def setup(self, task, hyperparameters):
        self.fate = hyperparameters.fate
        self.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.5)
    def step(self, task, batch):
        if task.step == 12 and self.fate == "raise":
            raise RuntimeError("as told")
        if task.step == 12 and self.fate == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self.optimizer.zero_grad()
        task.loss(batch, task.forward(batch)).mean.backward()
        self.optimizer.step()
"""


def mixed_plans(suite: Suite, folder: Path, fates: Sequence[str]) -> list[TrialPlan]:
    from timetrial.api import SearchSpace

    (folder / "mixed.py").write_text(MIXED)
    request = RunRequest(
        suite=suite,
        workloads=[suite.workload("digits_mlp")],
        submissions=[identify(str(folder / "mixed.py"))],
        ruleset="external",
        studies=1,
        trials=len(fates),
        search_space=SearchSpace.from_points([{"fate": fate} for fate in fates]),
    )
    return plan_run(request)


def test_one_failing_trial_does_not_stop_the_others(tiny_suite: Suite, tmp_path: Path) -> None:
    plans = mixed_plans(tiny_suite, tmp_path, ["live", "raise", "die", "live"])
    events: list[Event] = []
    LocalRunner(2).run(plans, tmp_path / "runs", events.append)
    ends: dict[int, Any] = {e.plan.trial: e for e in events if isinstance(e, Ended | Interrupted)}
    assert len(ends) == 4
    assert [ends[1].result.ended, ends[4].result.ended] == ["target_reached", "target_reached"]
    assert ends[2].result.reason == "RuntimeError: as told"
    assert isinstance(ends[3], Interrupted)
    assert "its process died (exit code -9)" in ends[3].reason
    assert TrialRecord(tmp_path / "runs" / plans[1].folder).result == ends[2].result
    assert TrialRecord(tmp_path / "runs" / plans[2].folder).result is None, "it can go on"
    for plan in plans:
        kinds = [type(event) for event in events if event.plan == plan]
        assert kinds[0] is Started
        assert kinds.count(Evaluated) >= 2


def test_an_interrupt_stops_every_process(tiny_suite: Suite, tmp_path: Path) -> None:
    plans = mixed_plans(tiny_suite, tmp_path, ["live", "live"])
    children: list[int] = []

    def interrupt(event: Event) -> None:
        if isinstance(event, Evaluated):
            children.extend(int(path.read_text().split()[1]) for path in (tmp_path / "runs").glob("**/lock"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalRunner(1).run(plans, tmp_path / "runs", interrupt)
    assert children
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    events: list[Event] = []
    LocalRunner(1).run(plans, tmp_path / "runs", events.append)
    assert [e.result.ended for e in events if isinstance(e, Ended)] == ["target_reached"] * 2


def test_cores_are_divided() -> None:
    assert slots([0, 1, 2, 3], 2) == [{0, 1}, {2, 3}]
    assert slots([0, 1, 2], 2) == [{0}, {1}]
    assert slots([4, 6], 3) == [{4}, {6}, {4}], "more trials than cores share them"
    assert set(physical_cores()) <= os.sched_getaffinity(0)


def test_a_worker_dies_with_its_launcher(tiny_suite: Suite, tmp_path: Path) -> None:
    """The launcher is killed, not asked: its trials must not go on unseen."""
    import subprocess
    import sys
    import time

    import psutil

    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from dataclasses import replace\n"
        "from timetrial.suite import load_suite\n"
        "from test_local import mixed_plans\n"
        "from timetrial.launch.local import LocalRunner\n"
        "folder = Path(sys.argv[1]); suite = load_suite(sys.argv[3])\n"
        "plans = [replace(plan, race=False) for plan in mixed_plans(suite, folder, ['live'])]\n"
        "if __name__ == '__main__':\n"
        "    LocalRunner(1).run(plans, folder / 'runs', lambda event: print('event', flush=True))\n"
    )
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script,
            str(tmp_path),
            str(Path(__file__).parent),
            str(Path(__file__).parents[1] / "tiny-test.toml"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    assert [launcher.stdout.readline() for _ in range(2)] == ["event\n"] * 2
    (lock,) = (tmp_path / "runs").glob("**/lock")
    child = psutil.Process(int(lock.read_text().split()[1]))
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    give_up = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up, "the trial went on without its launcher"
        time.sleep(0.02)
