"""What the harness costs on the clock: the same model, data and optimizer in the harness and in a bare loop.

Both run interleaved in one process, in short turns, so that a noisy machine disturbs both alike. The training itself
(batch, forward, loss, backward, update) is the same calls in both, and each call is timed; what is left of a turn is
what holds them together. Harness is what is left in the harness's loop beyond what is left in the bare one: so the
training's own noise, which is far larger, cancels exactly. Both use the workload's `forward` and `loss`, since model
and loss are the workload's; task, hooks, stream, clock and loop are the harness. It costs more behind a longer step,
which leaves less of it in the processor's caches.

    python benchmarks/harness_overhead.py [--json] [--turns 40]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from timetrial.api import Batch, Hyperparameters, Loss, LossType, ParameterKind, Task, TrainingAlgorithm
from timetrial.records.plan import SubmissionId, TrialPlan
from timetrial.records.trial_record import TrialRecord
from timetrial.suite import EvalSizes, Period, Protocol, SuiteWorkload
from timetrial.trial.clock import Clock, Kind
from timetrial.trial.loop import Trial
from timetrial.trial.seeds import Seeds
from timetrial.trial.stream import BatchStream, to_device
from timetrial.trial.task import TrialTask
from timetrial.workloads.base import HostBatch
from timetrial.workloads.losses import softmax_cross_entropy
from timetrial.workloads.sources import ArraySource

CPU = torch.device("cpu")
CLASSES = 10


class Meter:
    """Adds up the time of the calls that are the training itself."""

    def __init__(self) -> None:
        self.spent = 0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the function and time it."""
        began = time.perf_counter_ns()
        result = function(*arguments)
        self.spent += time.perf_counter_ns() - began
        return result


@dataclass(frozen=True)
class Case:
    """A perceptron whose training step takes about so long on one core."""

    milliseconds: float
    width: int
    hidden: int
    batch_size: int
    steps_a_turn: int


CASES = (
    Case(0.3, width=64, hidden=32, batch_size=16, steps_a_turn=200),
    Case(1.0, width=64, hidden=128, batch_size=256, steps_a_turn=60),
    Case(10.0, width=256, hidden=512, batch_size=512, steps_a_turn=20),
)


class Perceptron:
    """A workload of this benchmark; implements `timetrial.workloads.base.TorchWorkload` but for evaluation."""

    def __init__(self, case: Case, meter: Meter) -> None:
        self.case = case
        self.meter = meter

    def build_model(self) -> nn.Module:
        """Build it."""
        case = self.case
        return nn.Sequential(
            nn.Linear(case.width, case.hidden), nn.ReLU(), nn.Linear(case.hidden, case.hidden), nn.ReLU(),
            nn.Linear(case.hidden, CLASSES),
        )  # fmt: skip

    def parameter_kinds(self, model: nn.Module) -> dict[str, ParameterKind]:
        """Not looked at here."""
        return {name: ParameterKind.WEIGHT for name, _ in model.named_parameters()}

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Not looked at here."""
        return frozenset()

    def forward(self, model, batch, *, train=True, update_batch_norm=True, dropout=None):  # type: ignore[no-untyped-def]
        """Run the model."""
        if model.training is not train:
            model.train(train)
        return self.meter(model, batch["inputs"])

    def loss(self, batch, logits, *, label_smoothing=0.0) -> Loss:  # type: ignore[no-untyped-def]
        """Return the softmax cross entropy."""
        return self.meter(softmax_cross_entropy, logits, batch["targets"])


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer that both loops use."""
    return torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)


class MeteredSource:
    """The data that both loops train on."""

    def __init__(self, case: Case, meter: Meter) -> None:
        self._source, self._meter = source_of(case), meter

    def batch(self, index: int) -> HostBatch:
        """Return a batch, timed."""
        return self._meter(self._source.batch, index)


def source_of(case: Case) -> ArraySource:
    """Return random data."""
    random = np.random.default_rng(0)
    arrays = {
        "inputs": random.standard_normal((4096, case.width), dtype=np.float32),
        "targets": random.integers(0, CLASSES, 4096),
    }
    return ArraySource(arrays, case.batch_size, np.random.SeedSequence(0))


class Algorithm(TrainingAlgorithm):
    """AdamW as a submission writes it."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def setup(self, task: Task, hyperparameters: Hyperparameters) -> None:
        """Build the optimizer."""
        self.optimizer = optimizer_of(task.model)

    def step(self, task: Task, batch: Batch) -> None:
        """Train a step."""
        self.meter(self.optimizer.zero_grad)
        loss = task.loss(batch, task.forward(batch)).mean
        self.meter(loss.backward)
        self.meter(self.optimizer.step)


@dataclass(frozen=True)
class Turn:
    """Nanoseconds a step: all of it, and the part that is not the training's own calls."""

    total: float
    glue: float


def harness_turn(case: Case, folder: Path) -> tuple[Callable[[], Turn], Trial]:
    """Return a function that trains a turn in the harness."""
    torch.manual_seed(0)
    meter = Meter()
    workload = Perceptron(case, meter)
    model = workload.build_model()
    clock = Clock(setup_on_clock=True)
    plan = plan_of(case)
    task = TrialTask(plan, workload, LossType.SOFTMAX_CROSS_ENTROPY, model, clock, torch.Generator(), CPU)  # type: ignore[arg-type]
    algorithm = Algorithm(meter)
    algorithm.setup(task, Hyperparameters({}))
    trial = Trial(
        plan=plan,
        record=TrialRecord(folder),
        workload=workload,  # type: ignore[arg-type]
        data=None,  # type: ignore[arg-type]
        model=model,
        algorithm=algorithm,
        task=task,
        stream=BatchStream(MeteredSource(case, meter), case.batch_size, CPU, clock),
        clock=clock,
        seeds=Seeds(0),
        device=CPU,
        report=lambda evaluation: None,
    )
    trial.pause = lambda: setattr(trial, "over", True)  # type: ignore[method-assign]  # no evaluations

    def turn() -> Turn:
        trial.over = False
        trial.pause_step = trial.step + case.steps_a_turn
        return timed(trial.train, meter, case.steps_a_turn)

    return turn, trial


def bare_turn(case: Case) -> Callable[[], Turn]:
    """Return a function that trains a turn in a hand-written loop."""
    torch.manual_seed(0)
    meter = Meter()
    workload = Perceptron(case, meter)
    model = workload.build_model()
    optimizer = optimizer_of(model)
    source = MeteredSource(case, meter)
    state = {"step": 0}

    def train() -> None:
        for _ in range(case.steps_a_turn):
            batch = to_device(source.batch(state["step"]), CPU)
            state["step"] += 1
            meter(optimizer.zero_grad)
            loss = workload.loss(batch, workload.forward(model, batch)).mean
            meter(loss.backward)
            meter(optimizer.step)

    return lambda: timed(train, meter, case.steps_a_turn)


def timed(train: Callable[[], None], meter: Meter, steps: int) -> Turn:
    """Time one turn."""
    before, began = meter.spent, time.perf_counter_ns()
    train()
    total = time.perf_counter_ns() - began
    return Turn(total / steps, (total - (meter.spent - before)) / steps)


def plan_of(case: Case) -> TrialPlan:
    """Return a plan without an end."""
    workload = SuiteWorkload(
        name="perceptron",
        base="perceptron",
        preset="tiny",
        metric="accuracy",
        direction="maximize",
        validation_target=1.0,
        budget=1.0,
        evaluation_period=Period(steps=10**9),
        step_hint=10**9,
        batch_size=case.batch_size,
        eval_batch_size=1,
        train_examples=4096,
        eval_examples=EvalSizes(train=1, validation=1, test=0),
    )
    protocol = Protocol(
        setup_on_clock=True, stop_when="validation_target", precision="float32", sampler="sobol", threads=1
    )
    return TrialPlan(
        suite="benchmark",
        workload=workload,
        protocol=protocol,
        submission=SubmissionId(name="adamw", location="here", sha256=""),
        ruleset="self",
        study=0,
        trial=1,
        hyperparameters={},
        seed=0,
        budget=math.inf,
        race=False,
    )


def measure(case: Case, turns: int) -> dict[str, float]:
    """Interleave turns of both loops and compare."""
    with tempfile.TemporaryDirectory() as folder:
        in_harness, trial = harness_turn(case, Path(folder))
        bare = bare_turn(case)
        for warm_up in (in_harness, bare, in_harness, bare):
            warm_up()
        pairs = [(in_harness(), bare()) if turn % 2 else (bare(), in_harness())[::-1] for turn in range(turns)]
    step = statistics.median(plain.total for _, plain in pairs)
    harness = statistics.median(ours.glue - plain.glue for ours, plain in pairs)
    return {
        "step_ms": case.milliseconds,
        "measured_step_ms": step * 1e-6,
        "harness_us_per_step": harness * 1e-3,
        "ratio": 1 + harness / step,
        "loop_us_per_step": 1e6 * trial.clock.spent(Kind.LOOP) / trial.step,
    }


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print a list of cases as JSON")
    parser.add_argument("--turns", type=int, default=60, help="interleaved turns a case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [measure(case, options.turns) for case in CASES]
    if options.json:
        print(json.dumps(cases, indent=2))
        return
    print(f"{'step (ms)':>10} {'harness (us a step)':>20} {'ratio':>8} {'of it the loop (us)':>20}")
    for case in cases:
        print(
            f"{case['measured_step_ms']:10.3f} {case['harness_us_per_step']:20.1f} {case['ratio']:8.4f}"
            f" {case['loop_us_per_step']:20.1f}"
        )


if __name__ == "__main__":
    main()
