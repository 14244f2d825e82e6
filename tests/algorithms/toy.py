"""Small problems with a known optimum as tasks, and a training run on them: for tests of algorithms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from timetrial.algorithms.registry import known_submissions, load_submission
from timetrial.api import Batch, Hyperparameters, Loss, LossType, ParameterKind, TrainingAlgorithm
from timetrial.workloads.layers.kinds import parameter_kinds

DOUBLE = torch.float64


class Problem(nn.Module):
    """A function of parameters; `forward` gives the losses of as many examples as the batch has, all alike."""

    optimum = 0.0

    def value(self) -> Tensor:
        """The function's value at the parameters."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the value once for each example."""
        return self.value().expand(len(inputs))


class Quadratic(Problem):
    """A matrix's distance to another one, with curvatures from 1 to 10."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6, dtype=DOUBLE)
        self.goal = torch.randn(6, 4, dtype=DOUBLE)
        self.curvature = torch.linspace(1, 10, 24, dtype=DOUBLE).reshape(6, 4)

    def value(self) -> Tensor:
        far = self.layer.weight - self.goal
        return 0.5 * (self.curvature * far.square()).sum() + 0.5 * (self.layer.bias - 1).square().sum()


class Logistic(Problem):
    """Softmax regression on noisy data, with a quadratic penalty: strongly convex; its optimum is found by L-BFGS."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3, dtype=DOUBLE)
        self.data = torch.randn(90, 5, dtype=DOUBLE)
        self.labels = (self.data[:, :3] + torch.randn(90, 3, dtype=DOUBLE)).argmax(dim=1)
        start = {name: value.clone() for name, value in self.state_dict().items()}
        solver = torch.optim.LBFGS(self.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

        def closure() -> Tensor:
            solver.zero_grad()
            value = self.value()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        solver.step(closure)
        self.optimum = float(self.value().detach())
        self.load_state_dict(start)

    def value(self) -> Tensor:
        penalty = self.layer.weight.square().sum() + self.layer.bias.square().sum()
        return nn.functional.cross_entropy(self.layer(self.data), self.labels) + 0.05 * penalty


class Factorisation(Problem):
    """A matrix of rank 2 as a product: not convex, saddle at zero, no other bad place."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(2, 6, bias=False, dtype=DOUBLE)
        self.right = nn.Linear(5, 2, bias=False, dtype=DOUBLE)
        self.goal = torch.randn(6, 2, dtype=DOUBLE) @ torch.randn(2, 5, dtype=DOUBLE)

    def value(self) -> Tensor:
        return 0.5 * (self.left.weight @ self.right.weight - self.goal).square().mean()


class Orthogonality(Problem):
    """How far a square matrix is from orthogonal: not convex; every local minimum is global."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False, dtype=DOUBLE)
        with torch.no_grad():
            self.layer.weight.mul_(2)

    def value(self) -> Tensor:
        weight = self.layer.weight
        return 0.25 * (weight @ weight.T - torch.eye(4, dtype=DOUBLE)).square().sum()


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "quadratic": Quadratic,
    "logistic": Logistic,
    "factorisation": Factorisation,
    "orthogonality": Orthogonality,
}
BATCH: Batch = {"inputs": torch.zeros(4)}


@dataclass
class ToyTask:
    """Implements `timetrial.api.Task` for any model whose forward pass returns the losses of the examples."""

    model: nn.Module
    step_hint: int
    output_parameters: frozenset[str] = frozenset()
    loss_type: LossType = LossType.MEAN_SQUARED_ERROR
    train_examples: int = 1000
    default_batch_size: int = 4
    budget: float = math.inf
    elapsed: float = 0.0
    fraction_of_budget: float = 0.0
    step: int = 0
    evaluations: tuple[Mapping[str, float], ...] = ()
    validation_target: float = math.nan
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    @property
    def parameter_kinds(self) -> Mapping[str, ParameterKind]:
        return parameter_kinds(self.model)

    def forward(self, batch: Batch, **options: Any) -> Tensor:
        return self.model(batch["inputs"])

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        return Loss(logits.sum(), torch.tensor(float(len(logits))), logits)

    def backward(self, batch: Batch, **options: Any) -> Loss:
        loss = self.loss(batch, self.forward(batch))
        loss.mean.backward()
        return Loss(loss.summed.detach(), loss.n_valid, loss.per_example.detach())


def algorithm_of(name: str) -> type[TrainingAlgorithm]:
    """The class of an installed submission."""
    return load_submission(known_submissions()[name])


def start(name: str, overrides: Mapping[str, Any], task: ToyTask) -> TrainingAlgorithm:
    """Set an installed submission up on a task, at its default point but for the overrides."""
    algorithm = algorithm_of(name)()
    algorithm.setup(task, Hyperparameters({**algorithm.hyperparameters, **overrides}))
    return algorithm


def train(algorithm: TrainingAlgorithm, task: ToyTask, steps: int) -> None:
    """Take so many steps, as the trial's loop does."""
    for _ in range(steps):
        algorithm.step(task, BATCH)
        task.step += 1


def remaining_gap(name: str, overrides: Mapping[str, Any], problem: str, *, seed: int, steps: int = 600) -> float:
    """Train on a problem; return the distance to the optimum as a share of what it was at first."""
    torch.manual_seed(seed)
    task = ToyTask(PROBLEMS[problem](), step_hint=steps)
    algorithm = start(name, overrides, task)
    optimum = task.model.optimum
    first = float(task.model.value().detach()) - optimum
    train(algorithm, task, steps)
    algorithm.prepare_for_eval(task)
    return (float(task.model.value().detach()) - optimum) / first
