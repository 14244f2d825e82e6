"""What each training algorithm costs: optimizer milliseconds and state bytes, as ratios to fused AdamW.

    python benchmarks/algorithms.py [--algorithm muon] [--million 2] [--steps 20] [--json]
    python benchmarks/algorithms.py --libraries --million 10

One thread. The model has an embedding, matrices, convolutions, norms and an output layer; gradients are given, so
that a step is the algorithm's own work: the update, and, for those that ask for more than one gradient a step, how many
("gradients"). Each algorithm's step and one of `torch.optim.AdamW(fused=True)` on a copy of the model take turns; given
are the means over all steps but the first two (a mean, since some refresh a preconditioner only now and then: take
`--steps` beyond their period), milliseconds a million parameters, the ratio, and bytes of state a parameter.

`--libraries` compares those update rules of ours that a library has too with that library, in turns (bar: 1.15; Muon
1.1).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timetrial.algorithms.registry import known_submissions, load_submission
from timetrial.api import Batch, Hyperparameters, Loss, LossType, ParameterKind, TrainingAlgorithm
from timetrial.check.probe import tensor_bytes
from timetrial.workloads.layers.kinds import parameter_kinds

WARM_UP = 2


class Model(nn.Module):
    """About `million` million parameters of every kind."""

    def __init__(self, million: float) -> None:
        super().__init__()
        width = max(int(math.sqrt(million * 1e6 / 12)) // 16 * 16, 16)
        self.embedding = nn.Embedding(2 * width, width)
        self.convolution = nn.Conv1d(width // 2, width // 2, 3)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(8)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(8)])
        self.output = nn.Linear(width, width)


class GivenGradients:
    """Implements `timetrial.api.Task` with gradients that cost nothing."""

    def __init__(self, million: float, steps: int) -> None:
        torch.manual_seed(0)
        self.model = Model(million)
        self.output_parameters = frozenset({"output.weight", "output.bias"})
        gradients = [0.01 * torch.randn_like(weight) for weight in self.model.parameters()]
        # They change sign from step to step: a direction that never changes would blow up whoever estimates distances.
        self.both_ways = (gradients, [-gradient for gradient in gradients])
        self.loss_type = LossType.SOFTMAX_CROSS_ENTROPY
        self.step_hint = max(4 * steps, 100)
        self.step = 0
        self.train_examples, self.default_batch_size = 10_000, 16
        self.budget = math.inf
        self.elapsed = self.fraction_of_budget = 0.0
        self.evaluations: tuple[Mapping[str, float], ...] = ()
        self.validation_target = math.nan
        self.device = torch.device("cpu")
        self.generator = torch.Generator().manual_seed(0)
        self.backwards = 0

    @property
    def parameter_kinds(self) -> Mapping[str, ParameterKind]:
        return parameter_kinds(self.model)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters())

    def forward(self, batch: Batch, **options: Any) -> Tensor:
        """Return logits whose backward pass gives every parameter its gradient."""
        self.backwards += 1
        logits: Tensor = _Given.apply(self.both_ways[self.step % 2], *self.model.parameters())  # type: ignore[no-untyped-call]
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        return Loss(logits.sum(), torch.tensor(1.0), logits.sum().reshape(1))

    def backward(self, batch: Batch, **options: Any) -> Loss:
        self.backwards += 1
        for weight, gradient in zip(self.model.parameters(), self.both_ways[self.step % 2], strict=True):
            weight.grad = gradient
        return Loss(torch.zeros(()), torch.tensor(1.0), torch.zeros(1))


class _Given(torch.autograd.Function):
    """Two logits; backwards, the given gradients."""

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return torch.zeros(1, 2)

    @staticmethod
    def backward(ctx: Any, *unused: Tensor) -> Any:
        return (None, *(gradient.clone() for gradient in ctx.gradients))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One row of the table."""

    algorithm: str
    milliseconds: float
    """A million parameters."""
    ratio: float
    """To fused AdamW in the same turns."""
    state_bytes: float
    """A parameter."""
    gradients: float
    """Gradient evaluations a step."""


def in_turns(first: Callable[[], None], second: Callable[[], None], steps: int) -> tuple[list[float], list[float]]:
    """Let both run in turns; return the milliseconds of each turn, those of the warm-up left out."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARM_UP + steps):
        for function, times in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            function()
            times.append(1e3 * (time.perf_counter() - start))
    return taken[0][WARM_UP:], taken[1][WARM_UP:]


def stepping(algorithm: TrainingAlgorithm, task: GivenGradients) -> Callable[[], None]:
    def step() -> None:
        algorithm.step(task, {"inputs": torch.zeros(2)})  # type: ignore[arg-type]  # a task in all that is used
        task.step += 1

    return step


def optimizing(optimizer: torch.optim.Optimizer, task: GivenGradients) -> Callable[[], None]:
    task.backward({})
    return optimizer.step  # type: ignore[return-value]


def measure(name: str, million: float, steps: int) -> Cost:
    """Time an installed submission beside fused AdamW."""
    task, other = GivenGradients(million, steps), GivenGradients(million, steps)
    algorithm = load_submission(known_submissions()[name])()
    space = algorithm.search_space
    point = dict(space.points[0]) if space is not None and space.points else {}
    algorithm.setup(task, Hyperparameters({**algorithm.hyperparameters, **point}))  # type: ignore[arg-type]
    adamw = optimizing(torch.optim.AdamW(other.model.parameters(), lr=1e-3, fused=True), other)
    ours, fused = in_turns(stepping(algorithm, task), adamw, steps)
    return Cost(
        algorithm=name,
        milliseconds=statistics.mean(ours) / task.parameters * 1e6,
        ratio=statistics.mean(ours) / statistics.mean(fused),
        state_bytes=tensor_bytes(algorithm.state_dict()) / task.parameters,
        gradients=task.backwards / (WARM_UP + steps),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", action="append", help="only this one; repeatable")
    parser.add_argument("--million", type=float, default=2.0, help="million parameters")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--libraries", action="store_true", help="ours beside the libraries'")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.libraries:
        from algorithms_libraries import compare  # beside this file

        compare(options.million, options.steps)
        return
    if not options.json:
        print(f"{'algorithm':<32}{'ms a million':>13}{'x fused AdamW':>15}{'bytes a param':>15}{'gradients':>11}")
    for name in options.algorithm or sorted(known_submissions()):
        cost = measure(name, options.million, options.steps)
        if options.json:
            print(json.dumps(asdict(cost)), flush=True)
            continue
        print(
            f"{cost.algorithm:<32}{cost.milliseconds:>13.2f}{cost.ratio:>15.2f}{cost.state_bytes:>15.1f}"
            f"{cost.gradients:>11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
