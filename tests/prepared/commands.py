"""What the tests of every dataset do with it: the commands a user types, kills, ranks, resuming."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from timetrial.prepared.folder import open_prepared
from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.registry import load_workload

STEPS = 20
"""Training steps of the trial that `train` runs."""

SUITE = """
name = "prepared-test"
title = "Twenty steps on prepared data"
source = "tests/prepared/commands.py"

[protocol]
setup_on_clock = true
stop_when = "validation_target"
precision = "float32"
sampler = "sobol"
threads = 1

[rulesets.self]
studies = 1
trials = 1

[workloads.{workload}]
data = "prepared"
preset = "tiny"
metric = "{metric}"
direction = "{direction}"
validation_target = {target}
budget = 600.0
evaluation_period = {{ steps = {steps} }}
step_hint = 100
batch_size = {batch_size}
eval_batch_size = {eval_batch_size}
train_examples = {train}
eval_examples = {{ train = {eval_train}, validation = {validation}, test = {test} }}
"""

SUBMISSION = f"""
from timetrial.algorithms.adamw import AdamW
from timetrial.api import TrainingComplete


class AdamWForAWhile(AdamW):
    def setup(self, task, hyperparameters):
        super().setup(task, hyperparameters)
        self.left = {STEPS}

    def step(self, task, batch):
        super().step(task, batch)
        self.left -= 1
        if not self.left:
            raise TrainingComplete
"""
"""The first evaluation comes after one step, so that no target can say when to stop."""


def timetrial(*arguments: str | Path, code: int = 0) -> str:
    """Run the command in a process of its own; return what it printed, both streams, whose exit code must be `code`."""
    command = [sys.executable, "-m", "timetrial", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output
    return output


def prepare(name: str, raw: Path, data: Path, *, code: int = 0) -> str:
    """Prepare at preset `tiny`, with two processes."""
    return timetrial("data", "prepare", name, "--from", raw, "--to", data, "--preset", "tiny", "--jobs", "2", code=code)


def prepared_data(workload: str, data: Path) -> Data:
    """Open a workload's prepared dataset at preset `tiny`."""
    loaded = load_workload(workload, "tiny", data="prepared")
    return loaded.data_prepared(open_prepared(loaded.recipe(), data))


def train(workload: str, data: Path, folder: Path, *, batch_size: int, eval_batch_size: int) -> dict[str, float]:
    """Run AdamW for `STEPS` steps through the commands; return the evaluation after them, all of it finite."""
    loaded = load_workload(workload, "tiny", data="prepared")
    found = prepared_data(workload, data)
    metric, direction, target = TARGETS[workload]
    submission = folder / "submission.py"
    submission.write_text(SUBMISSION)
    suite = folder / "suite.toml"
    suite.write_text(
        SUITE.format(
            workload=workload,
            metric=metric,
            direction=direction,
            target=target,
            steps=STEPS,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            train=found.train_examples,
            eval_train=found.eval_examples("train"),
            validation=found.eval_examples("validation"),
            test=found.eval_examples("test"),
        )
    )
    runs = folder / "runs"
    timetrial(
        "run", suite, "--submission", submission, "--ruleset", "self", "--data", data, "--runs-dir", runs, "--jobs", "1"
    )  # fmt: skip
    record = next(runs.glob(f"**/{workload}/trial_1"))
    result = json.loads((record / "result.json").read_text())
    assert result["ended"] == "training_complete", result["reason"]
    assert result["steps"] == STEPS
    environment = json.loads((record / "trial.json").read_text())["environment"]
    assert environment["data"] == open_prepared(loaded.recipe(), data).manifest.sha256
    row = json.loads((record / "evals.jsonl").read_text().splitlines()[-1])
    assert np.isfinite([float(value) for value in row.values()]).all()
    return row


TARGETS: dict[str, tuple[str, str, float]] = {
    "cifar": ("accuracy", "maximize", 1.0),
    "criteo1tb": ("loss", "minimize", 0.0),
    "fastmri": ("ssim", "maximize", 1.0),
    "finewebedu_lm": ("ppl", "minimize", 1.0),
    "imagenet_resnet": ("accuracy", "maximize", 1.0),
    "imagenet_vit": ("accuracy", "maximize", 1.0),
    "librispeech_conformer": ("wer", "minimize", 0.0),
    "librispeech_deepspeech": ("wer", "minimize", 0.0),
    "mnist": ("accuracy", "maximize", 1.0),
    "ogbg": ("mean_average_precision", "maximize", 1.0),
    "wmt": ("bleu", "maximize", 100.0),
}
"""Metric, direction, and the best that there is, which twenty steps do not reach."""


def tree(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def arrays_of(folder: Path) -> dict[str, str]:
    """Return the hashes of the arrays below a folder, by their paths."""
    return {name: digest for name, digest in tree(folder).items() if name.endswith(".npy")}


def prepare_under_fire(name: str, raw: Path, data: Path, *, kills: int, seed: int = 0) -> int:
    """Prepare, killed with all its processes `kills` times at random moments, then to the end.

    Returns how many kills found it at work on files, rather than on the way there or done.
    """
    chance = random.Random(seed)
    command = [sys.executable, "-m", "timetrial", "data", "prepare", name]
    command += ["--from", str(raw), "--to", str(data), "--preset", "tiny", "--jobs", "2"]
    hit = 0
    for _ in range(kills):
        (data / name / "lock").unlink(missing_ok=True)  # of the process that was killed; now it tells of the next one
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and not (data / name / "lock").exists():
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 1.5))
        hit += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    prepare(name, raw, data)
    return hit


def check_ranks_and_seeking(data: Data, batch_size: int, *, ranks: tuple[int, ...], steps: int = 3) -> None:
    """The batches of all ranks together are the single rank's; any step can be had without those before it."""
    seed = np.random.SeedSequence(3)
    whole = data.train_source(seed, batch_size)
    expected = [whole.batch(step) for step in range(steps)]
    for step in reversed(range(steps)):
        assert_same(data.train_source(seed, batch_size).batch(step), expected[step])
    for count in ranks:
        parts = [data.train_source(seed, batch_size, rank=rank, ranks=count) for rank in range(count)]
        for step in range(steps):
            found = [part.batch(step) for part in parts]
            for name, array in expected[step].items():
                joined = np.empty_like(array)
                for rank, batch in enumerate(found):
                    joined[rank::count] = batch[name]
                np.testing.assert_array_equal(joined, array, err_msg=name)


def check_resuming(data: Data, batch_size: int, *, steps: int = 50, start: int = 7) -> None:
    """A source that begins in the middle of an epoch gives the same bytes as one that comes from the beginning."""
    seed = np.random.SeedSequence(4)
    straight, resumed = data.train_source(seed, batch_size), data.train_source(seed, batch_size)
    for step in range(start):
        straight.batch(step)
    for step in range(start, start + steps):
        assert_same(resumed.batch(step), straight.batch(step))


def assert_same(found: HostBatch, expected: HostBatch) -> None:
    """Two batches are equal, bit for bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
