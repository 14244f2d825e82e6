"""What the public API costs a step over the native one: the same AdamW on the same tiny model, both in turns.

    python benchmarks/compat.py [--steps 4000]

A submission in the public API (tests/compat/submissions/adamw_with_schedulers) and the native one doing the same
work train `criteo1tb` at `tiny`, step by step in turns; given are the microseconds a step at the fastest tenth of the
steps, where nothing else disturbed them, and at the median. Bar: 30 microseconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from timetrial.algorithms.registry import identify
from timetrial.api import Batch
from timetrial.records.plan import TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import Period, load_suite
from timetrial.trial.clock import Clock
from timetrial.trial.loop import Trial
from timetrial.trial.run import assemble
from timetrial.workloads.registry import load_workload

WARM_UP = 200
PUBLIC = Path(__file__).resolve().parents[1] / "tests" / "compat" / "submissions" / "adamw_with_schedulers"
NATIVE = """
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from timetrial.api import TrainingAlgorithm


class Native(TrainingAlgorithm):
    def setup(self, task, hyperparameters):
        h = hyperparameters
        betas = (1 - h.one_minus_beta1, h.beta2)
        self.h = h
        self.optimizer = torch.optim.AdamW(
            task.model.parameters(), lr=h.learning_rate, betas=betas, eps=1e-8, weight_decay=h.weight_decay
        )
        warmup = int(h.warmup_factor * task.step_hint)
        parts = [
            LinearLR(self.optimizer, start_factor=1e-10, end_factor=1.0, total_iters=warmup),
            CosineAnnealingLR(self.optimizer, T_max=task.step_hint - warmup),
        ]
        self.scheduler = SequentialLR(self.optimizer, parts, milestones=[warmup])

    def step(self, task, batch):
        task.model.train()
        self.optimizer.zero_grad()
        logits = task.forward(batch, dropout=self.h.dropout_rate)
        loss = task.loss(batch, logits, label_smoothing=self.h.label_smoothing)
        (loss.summed / loss.n_valid).backward()
        self.optimizer.step()
        self.scheduler.step()
"""
POINT = {
    "learning_rate": 1e-3, "one_minus_beta1": 0.1, "beta2": 0.999, "weight_decay": 0.1, "warmup_factor": 0.05,
    "label_smoothing": 0.0, "dropout_rate": 0.0,
}  # fmt: skip


def trial_of(submission: Path, folder: Path) -> Trial:
    """A trial of a submission on the tiny model, ready to train."""
    suite = load_suite("mini-1")
    data = load_workload("criteo1tb", "tiny").data()
    entry = suite.workload("criteo1tb")
    sizes = {split: data.eval_examples(split) for split in ("train", "validation", "test")}
    entry = replace(
        entry,
        preset="tiny",
        batch_size=8,
        train_examples=data.train_examples,
        eval_examples=replace(entry.eval_examples, **sizes),
        evaluation_period=Period(steps=10**9),
        step_hint=100_000,
    )
    plan = TrialPlan(
        suite="tiny",
        workload=entry,
        protocol=suite.protocol,
        submission=identify(str(submission)),
        ruleset="external",
        study=0,
        trial=1,
        hyperparameters=POINT,
        seed=0,
        budget=1e9,
        race=False,
    )
    return assemble(plan, TrialRecord(folder / plan.folder), Clock(setup_on_clock=True), lambda row: None)


def turn(trial: Trial, draw: Callable[[], Batch]) -> float:
    """Microseconds of one step, as the trial's loop takes it."""
    start = time.perf_counter()
    trial.algorithm.step(trial.task, draw())
    taken = time.perf_counter() - start
    trial.task.step += 1
    return 1e6 * taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        native = Path(name) / "native.py"
        native.write_text(NATIVE)
        trials = {"native": trial_of(native, Path(name)), "public": trial_of(PUBLIC, Path(name))}
        draws = {kind: trial.batches() for kind, trial in trials.items()}
        times: dict[str, list[float]] = {kind: [] for kind in trials}
        for number in range(options.steps):
            for kind, trial in trials.items():
                taken = turn(trial, draws[kind])
                if number >= WARM_UP:
                    times[kind].append(taken)
    print(f"{'':<10}{'native (us a step)':>20}{'public (us a step)':>20}{'difference (us)':>17}")
    for label, part in (("fastest tenth", 0.1), ("median", 0.5)):
        native_us, public_us = (float(np.quantile(times[kind], part)) for kind in ("native", "public"))
        print(f"{label:<14}{native_us:>16.1f}{public_us:>20.1f}{public_us - native_us:>17.1f}")


if __name__ == "__main__":
    main()
