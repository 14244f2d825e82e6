"""Adam's relatives: the limits in which one rule is another, and what whole submissions do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import BATCH, ToyTask, algorithm_of, start, train
from vectors import W0, Build, double, replay

from timetrial.algorithms.adam_mini import AdamMiniOptimizer
from timetrial.algorithms.ademamix import AdEMAMixOptimizer
from timetrial.algorithms.cautious_nadamw import CautiousAdamW
from timetrial.algorithms.generalized_adam import DecoupledNesterov
from timetrial.algorithms.lamb import LAMBOptimizer
from timetrial.algorithms.lion import LionOptimizer
from timetrial.algorithms.mars_adamw import MARSAdamWOptimizer
from timetrial.algorithms.nadamp import NadamPOptimizer
from timetrial.algorithms.nadamw import NAdamWOptimizer
from timetrial.algorithms.sam import perturb
from timetrial.api import TrainingComplete

Adam, AdamW = torch.optim.Adam, torch.optim.AdamW
LR, BETAS, DECAY = 0.1, (0.9, 0.99), 0.1
COMMON: dict[str, Any] = {"lr": LR, "betas": BETAS, "weight_decay": DECAY}

ADAMW: Build = lambda w: AdamW(w, **COMMON, foreach=True)  # noqa: E731


def adam_mini_of(blocks: str) -> Build:
    return lambda w: AdamMiniOptimizer(w, **COMMON, blocks=blocks)


def signum(momentum: float) -> Build:
    """The sign of the averaged gradient (Bernstein et al. 2018), as written there."""

    class Signum(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            for weight in self.param_groups[0]["params"]:
                average = self.state[weight].setdefault("average", torch.zeros_like(weight))
                average.mul_(momentum).add_(weight.grad, alpha=1 - momentum)
                weight.data.mul_(1 - LR * DECAY).sub_(LR * average.sign())

    return lambda w: Signum(w, {})


class AdamOnRatios(Adam):
    """Adam whose rate at each step is LAMB's |w| / |u| times its own, for one tensor."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__(weights, lr=LR, betas=BETAS)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        weight = self.param_groups[0]["params"][0]
        before = weight.detach().clone()
        super().step()
        moved = weight.data - before
        weight.data = before + moved * LR * before.norm() / moved.norm()


EQUAL: dict[str, tuple[Build, Build]] = {
    "nadamp_of_power_2_is_nadamw": (
        lambda w: NadamPOptimizer(w, **COMMON, power=2.0),
        lambda w: NAdamWOptimizer(w, **COMMON),
    ),
    "lion_of_equal_betas_is_signum": (
        lambda w: LionOptimizer(w, lr=LR, betas=(0.95, 0.95), weight_decay=DECAY),
        signum(0.95),
    ),
    "ademamix_without_slow_momentum_is_adamw": (
        lambda w: AdEMAMixOptimizer(w, lr=LR, betas=(*BETAS, 0.999), alpha=0.0, weight_decay=DECAY),
        ADAMW,
    ),
    "mars_without_correction_is_adamw": (
        lambda w: MARSAdamWOptimizer(w, **COMMON, gamma=0.0, clip=None),
        ADAMW,
    ),
    "adam_mini_of_single_entries_is_adamw": (adam_mini_of("entries"), ADAMW),
    "uncautious_nadamw_is_nadamw": (
        lambda w: CautiousAdamW(w, **COMMON, cautious=False),
        lambda w: NAdamWOptimizer(w, **COMMON),
    ),
    "uncautious_adamw_is_adamw": (
        lambda w: CautiousAdamW(w, **COMMON, nesterov=False, cautious=False),
        ADAMW,
    ),
    "decoupled_nesterov_without_decay_is_sgd": (
        lambda w: DecoupledNesterov(w, lr=LR, momentum=0.9),
        lambda w: torch.optim.SGD(w, lr=LR, momentum=0.9, nesterov=True),
    ),
    "lamb_of_a_unit_ratio_is_adam": (
        AdamOnRatios,
        lambda w: LAMBOptimizer(w, lr=LR, betas=BETAS),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_limit(name: str) -> None:
    ours, theirs = (replay(build, 3) for build in EQUAL[name])
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def agree(weights: list[Tensor], build: Build, other: Build, steps: int = 3) -> None:
    """Both rules do the same to any tensors with given gradients of one sign each."""
    twins = [weight.detach().clone().requires_grad_() for weight in weights]
    a, b = build(weights), other(twins)
    for step in range(steps):
        for weight, twin in zip(weights, twins, strict=True):
            weight.grad = torch.linspace(1, 2, weight.numel(), dtype=weight.dtype).reshape(weight.shape) + step
            twin.grad = weight.grad.clone()
        a.step()
        b.step()
    for weight, twin in zip(weights, twins, strict=True):
        torch.testing.assert_close(weight, twin, rtol=1e-12, atol=1e-12)


def tensors() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (5,), (), (2, 3, 2))]


def test_cautious_nadamw_is_nadamw_where_signs_agree() -> None:
    agree(tensors(), lambda w: CautiousAdamW(w, **COMMON), lambda w: NAdamWOptimizer(w, **COMMON))


def test_cautious_decay_is_decay_where_signs_agree() -> None:
    weights = [weight.detach().abs().requires_grad_() for weight in tensors()]
    small: dict[str, Any] = {**COMMON, "lr": 1e-6}  # so that no weight turns negative
    agree(
        weights,
        lambda w: CautiousAdamW(w, **small, nesterov=False, cautious=False, cautious_decay=True),
        lambda w: AdamW(w, **small),
    )


def test_adam_mini_of_one_block_has_one_second_moment() -> None:
    weights = tensors()[:2]
    optimizer = AdamMiniOptimizer([{"params": weights, "blocks": "tensors"}], **COMMON)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert [optimizer.state[weight]["second"].numel() for weight in weights] == [1, 1]


def test_lion_moves_by_the_rate_or_not_at_all() -> None:
    trajectory = [double(W0), *replay(lambda w: LionOptimizer(w, **COMMON), 3)]
    for before, after in pairwise(trajectory):
        moved = (after - (1 - LR * DECAY) * before) / LR
        torch.testing.assert_close(moved.abs(), torch.ones_like(moved), rtol=1e-12, atol=0)
    assert float(replay(lambda w: LionOptimizer(w, lr=LR), 1, gradients=[[[0.0, 0.0], [0.0, 0.0]]])[0][0, 0]) == 0.5


class Bowl(nn.Module):
    """L = 1/2 w^T diag(1, 10) w, from (1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.seen: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(self.weight.detach().clone())
        return (0.5 * (double([1.0, 10.0]) * self.weight.square()).sum()).expand(len(inputs))


def test_sam_takes_the_gradient_at_the_worst_point_nearby(vectors: dict[str, Any]) -> None:
    vector = vectors["sam"]
    model = Bowl()
    task = ToyTask(model, step_hint=10)
    algorithm = start("sam", {"rho": 0.05, "warmup_factor": 0.0, "weight_decay": 0.0, "learning_rate": 0.0}, task)
    train(algorithm, task, 1)
    assert len(model.seen) == 2
    torch.testing.assert_close(model.seen[1] - model.seen[0], double(vector["eps"]), rtol=0, atol=1e-9)
    assert model.weight.grad is not None
    torch.testing.assert_close(model.weight.grad, double(vector["grad_sam"]), rtol=0, atol=1e-9)
    assert torch.equal(model.weight.detach(), torch.ones(2, dtype=torch.float64))  # restored exactly


def test_sam_survives_a_gradient_of_zero() -> None:
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.zeros(2)
    perturb([weight], 0.05)
    assert torch.equal(weight.detach(), torch.ones(2))


class Noisy(nn.Module):
    """Dropout before a linear layer: the two gradients of SAM must see the same masks."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(50, 1)
        self.seen: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        x = nn.functional.dropout(torch.ones(len(inputs), 50), 0.5)
        self.seen.append(x)
        return self.layer(x).square().flatten()


def trained(name: str, overrides: dict[str, Any], build: Callable[[], nn.Module] = Noisy) -> list[Tensor]:
    torch.manual_seed(0)
    task = ToyTask(build(), step_hint=20)
    train(start(name, overrides, task), task, 10)
    return [weight.detach() for weight in task.model.parameters()]


def test_sam_of_radius_zero_is_adamw() -> None:
    point = dict(algorithm_of("adamw").hyperparameters)
    for ours, theirs in zip(trained("sam", {**point, "rho": 0.0}), trained("adamw", {}), strict=True):
        assert torch.equal(ours, theirs)


def test_sam_uses_the_same_masks_twice_and_new_ones_each_step() -> None:
    torch.manual_seed(0)
    model = Noisy()
    task = ToyTask(model, step_hint=20)
    train(start("sam", {}, task), task, 2)
    first, again, second, _ = model.seen
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_generalized_adam_is_nadamw_or_nesterov() -> None:
    point = {
        "learning_rate": 0.01,
        "beta1": 0.9,
        "beta2": 0.99,
        "weight_decay": 0.0,
        "warmup_factor": 0.1,
        "horizon_factor": 1.0,
    }
    nadamw = {**point, "one_minus_beta1": 1 - 0.9}
    for ours, theirs in zip(
        trained("generalized_adam", {**point, "precondition": True}), trained("nadamw", nadamw), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_cyclic_nadamw_of_one_cycle_is_nadamw() -> None:
    warm = {"warmup_factor": 0.1}
    for ours, theirs in zip(trained("cyclic_nadamw", {**warm, "cycles": 1}), trained("nadamw", warm), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_nadamw_sequential_restarts_from_the_initial_weights() -> None:
    """20 + 20 + 15 steps; the first step of each run, at a rate of 1e-10, leaves the weights where they began."""
    torch.manual_seed(0)
    task = ToyTask(Bowl(), step_hint=20)
    overrides = {f"warmup_factor_{run}": 0.1 for run in (1, 2, 3)}
    algorithm = start("nadamw_sequential", overrides, task)
    far = []
    for _ in range(54):
        train(algorithm, task, 1)
        far.append(float((task.model.weight.detach() - 1).abs().max()))
    with pytest.raises(TrainingComplete):
        algorithm.step(task, BATCH)
    assert [step for step, distance in enumerate(far) if distance < 1e-9] == [0, 20, 40]


def test_nadamw_sequential_resumes_within_a_later_run() -> None:
    torch.manual_seed(0)
    task, again = ToyTask(Bowl(), step_hint=20), ToyTask(Bowl(), step_hint=20)
    algorithm = start("nadamw_sequential", {}, task)
    train(algorithm, task, 25)
    resumed = start("nadamw_sequential", {}, again)
    again.model.load_state_dict(task.model.state_dict())
    resumed.load_state_dict(algorithm.state_dict())
    again.step = 25
    for each, its_task in ((algorithm, task), (resumed, again)):
        train(each, its_task, 25)
    assert torch.equal(task.model.weight, again.model.weight)


@pytest.mark.parametrize(
    ("name", "points"),
    [("nadamw_baseline", 5), ("nadamp", 5), ("generalized_adam", 5), ("cyclic_nadamw", 5)],
)
def test_published_points(name: str, points: int) -> None:
    space = algorithm_of(name).search_space
    assert space is not None
    assert len(space.points) == points
    assert set(space.points[0]) == set(algorithm_of(name).hyperparameters)
