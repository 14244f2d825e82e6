"""Adam's relatives: the specification's vectors, and the limits in which one rule is another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from settings import SETTINGS
from torch import Tensor, nn
from toy import BATCH, ToyTask, algorithm_of, start, train
from vectors import GRADIENTS, W0, Build, check, double, load_vectors, replay

from timetrial.algorithms.adafactor import AdafactorOptimizer, clip_divisors
from timetrial.algorithms.adam_mini import AdamMiniOptimizer
from timetrial.algorithms.adamg import AdamGOptimizer
from timetrial.algorithms.ademamix import AdEMAMixOptimizer, between_half_lives
from timetrial.algorithms.cautious_nadamw import CautiousAdamW
from timetrial.algorithms.generalized_adam import DecoupledNesterov
from timetrial.algorithms.lamb import LAMBOptimizer, trust_ratios
from timetrial.algorithms.lion import LionOptimizer
from timetrial.algorithms.mars_adamw import MARSAdamWOptimizer
from timetrial.algorithms.nadamp import NadamPOptimizer
from timetrial.algorithms.nadamw import NAdamWOptimizer
from timetrial.algorithms.sam import perturb
from timetrial.algorithms.sophia_g import SophiaGOptimizer, draw_targets
from timetrial.api import LossType, TrainingComplete
from timetrial.workloads.losses import softmax_cross_entropy

Adam, AdamW = torch.optim.Adam, torch.optim.AdamW
LR, BETAS, DECAY = 0.1, (0.9, 0.99), 0.1
COMMON: dict[str, Any] = {"lr": LR, "betas": BETAS, "weight_decay": DECAY}

VECTORS: dict[str, Build] = {
    "adam": lambda w: Adam(w, lr=LR, betas=BETAS, foreach=True),
    "adam_l2": lambda w: Adam(w, lr=LR, betas=BETAS, weight_decay=0.01, foreach=True),
    "adamw": lambda w: AdamW(w, **COMMON, foreach=True),
    "nadamw": lambda w: NAdamWOptimizer(w, **COMMON),
    "nadamp_p1_5": lambda w: NadamPOptimizer(w, **COMMON, power=1.5),
    "cautious_nadamw": lambda w: CautiousAdamW(w, **COMMON),
    "adamw_cautious_wd": lambda w: CautiousAdamW(w, **COMMON, nesterov=False, cautious=False, cautious_decay=True),
    "generalized_adam_noprecond": lambda w: DecoupledNesterov(w, lr=LR, momentum=0.9, weight_decay=DECAY),
    "lamb": lambda w: LAMBOptimizer(w, **COMMON),
    "adafactor_algoperf": lambda w: AdafactorOptimizer(w, lr=LR, weight_decay=DECAY),
    "adamg": lambda w: AdamGOptimizer(w),
    "lion": lambda w: LionOptimizer(w, **COMMON),
    "ademamix": lambda w: AdEMAMixOptimizer(
        w, lr=LR, betas=(0.9, 0.99, 0.999), alpha=5.0, slow_warmup=10, weight_decay=DECAY
    ),
    "mars_adamw": lambda w: MARSAdamWOptimizer(w, lr=LR, betas=(0.95, 0.99), weight_decay=DECAY),
    "adam_mini_row": lambda w: AdamMiniOptimizer(w, **COMMON),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, shared: Path) -> None:
    check(replay(VECTORS[name], 2), load_vectors(shared)[name])


def test_torch_nadam_is_another_rule(shared: Path) -> None:
    vectors = load_vectors(shared)
    theirs = replay(lambda w: torch.optim.NAdam(w, **COMMON, decoupled_weight_decay=True), 2)
    check(theirs, vectors["torch_nadam_contrast"])
    assert not torch.allclose(theirs[0], double(vectors["nadamw"]["W1"]), atol=1e-3)


def test_label_smoothing(shared: Path) -> None:
    vector = load_vectors(shared)["label_smoothing"]
    logits, target = double([vector["logits"]]), torch.tensor([vector["target"]])
    smoothed = softmax_cross_entropy(logits, target, label_smoothing=vector["eps"])
    assert float(smoothed.mean) == pytest.approx(vector["loss"], abs=1e-12)
    assert float(softmax_cross_entropy(logits, target).mean) == pytest.approx(vector["plain"], abs=1e-12)


def test_cautious_mask_of_the_second_step(shared: Path) -> None:
    """One of four entries disagrees: it stays, and the others go 4 / 3 as far (spec: algorithms/cautious.md)."""
    vector = load_vectors(shared)["cautious_mask"]
    after, plain = (
        replay(lambda w, cautious=cautious: CautiousAdamW(w, lr=LR, betas=BETAS, nesterov=False, cautious=cautious), 2)
        for cautious in (True, False)
    )
    ratio = (after[1] - after[0]) / (plain[1] - plain[0])
    torch.testing.assert_close(ratio, double(vector["mask"]) * vector["scale_mean"], rtol=1e-9, atol=1e-9)


def test_lamb_trust_ratios_and_step_length(shared: Path) -> None:
    vector = load_vectors(shared)["lamb"]
    first, second = replay(VECTORS["lamb"], 2)
    for before, after in ((double(W0), first), (first, second)):
        length = float(torch.linalg.vector_norm(after - before))
        assert length == pytest.approx(LR * float(torch.linalg.vector_norm(before)), rel=1e-12)
    direction = double(GRADIENTS[0]).sign() + DECAY * double(W0)  # all but eps
    (ratio,) = trust_ratios([double(W0)], [direction])
    assert float(ratio) == pytest.approx(vector["trust1"], rel=1e-7)
    assert float(trust_ratios([torch.zeros(2)], [torch.ones(2)])[0]) == 1.0
    assert float(trust_ratios([torch.ones(2)], [torch.zeros(2)])[0]) == 1.0


def test_adafactor_clips_an_rms_above_one(shared: Path) -> None:
    vector = load_vectors(shared)["adafactor_algoperf"]
    gradient = double(GRADIENTS[0])
    square = gradient.square()
    second = square.mean(1, keepdim=True) * square.mean(0, keepdim=True) / square.mean()
    rms = float((gradient / second.sqrt()).square().mean().sqrt())
    assert rms == pytest.approx(vector["rms1"], rel=1e-12)
    assert [float(x) for x in clip_divisors([torch.full((3,), 2.0), torch.full((3,), 0.5)], 1.0)] == [2.0, 1.0]


def test_adafactor_factors_channels_at_each_place_of_a_kernel() -> None:
    """A convolution of kernel size 2 is two matrices, but for the common bound on the rms."""
    torch.manual_seed(0)
    whole = torch.zeros(3, 4, 2, dtype=torch.float64, requires_grad=True)
    parts = [torch.zeros(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizer, other = (AdafactorOptimizer(w, lr=0.1, clip=1e9) for w in ([whole], parts))
    for _ in range(3):
        whole.grad = torch.randn_like(whole)
        for place, part in enumerate(parts):
            part.grad = whole.grad[..., place].clone()
        optimizer.step()
        other.step()
    torch.testing.assert_close(whole.detach(), torch.stack([part.detach() for part in parts], dim=-1))
    floats = sum(value.numel() for value in optimizer.state[whole].values())
    assert floats == 24 + 2 * (3 + 4)


def test_ademamix_warm_up_of_the_slow_momentum(shared: Path) -> None:
    vector = load_vectors(shared)["ademamix"]
    assert between_half_lives(0.9, 0.999, 0.1) == pytest.approx(vector["b3_1"], abs=1e-12)
    assert between_half_lives(0.9, 0.999, 0.2) == pytest.approx(vector["b3_2"], abs=1e-12)
    assert between_half_lives(0.9, 0.999, 0.0) == pytest.approx(0.9, abs=1e-7)
    assert between_half_lives(0.9, 0.999, 1.0) == 0.999


def test_mars_corrected_gradients(shared: Path) -> None:
    """With b1 = 0 in the moments' stead the buffers would hold c itself: here read from m."""
    vector = load_vectors(shared)["mars_adamw"]
    weight = double(W0).requires_grad_()
    optimizer = MARSAdamWOptimizer([weight], lr=LR, betas=(0.95, 0.99))
    before = torch.zeros(2, 2, dtype=torch.float64)
    for gradient, expected in zip(GRADIENTS[:2], (vector["c1"], vector["c2"]), strict=True):
        weight.grad = double(gradient)
        optimizer.step()
        weight.grad.zero_()  # as zero_grad(set_to_none=False) does: the previous gradient must be a copy
        first = optimizer.state[weight]["first"]
        torch.testing.assert_close((first - 0.95 * before) / 0.05, double(expected), rtol=1e-9, atol=1e-9)
        before = first.clone()


def test_sophia_curvature_and_step(shared: Path) -> None:
    vector = load_vectors(shared)["sophiag"]
    weight = double(W0).requires_grad_()
    optimizer = SophiaGOptimizer([weight], lr=LR, weight_decay=DECAY)
    weight.grad = double(GRADIENTS[1])
    optimizer.see_curvature(2)
    torch.testing.assert_close(optimizer.state[weight]["curvature"] / 2, double(vector["hess"]), rtol=0, atol=1e-9)
    weight.grad = double(GRADIENTS[0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), double(vector["W1"]), rtol=0, atol=1e-9)


def test_sophia_without_bound_is_a_newton_step() -> None:
    """Curvature 200, momentum .2 g: .2 g / (.5 x 200), far inside the bound."""
    weight = double([1.0]).requires_grad_()
    optimizer = SophiaGOptimizer([weight], lr=1.0, betas=(0.8, 0.0), rho=0.5)
    weight.grad = double([10.0])
    optimizer.see_curvature(2)
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(1 - 0.02, abs=1e-12)


def test_sophia_draws_targets_from_the_predictions() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([2.0, 0.0, -1.0]).expand(20_000, 3)
    drawn = draw_targets(LossType.SOFTMAX_CROSS_ENTROPY, logits, {})
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    torch.testing.assert_close(shares, logits[0].softmax(0), rtol=0, atol=0.015)
    yes = draw_targets(LossType.SIGMOID_CROSS_ENTROPY, logits[:, 0], {"targets": torch.zeros(20_000, 1)})
    assert yes.shape == (20_000, 1)
    assert float(yes.mean()) == pytest.approx(float(torch.tensor(2.0).sigmoid()), abs=0.015)
    gaussian = draw_targets(LossType.MEAN_SQUARED_ERROR, logits, {}) - logits
    laplacian = draw_targets(LossType.MEAN_ABSOLUTE_ERROR, logits, {}) - logits
    assert float(gaussian.var()) == pytest.approx(1.0, abs=0.05)
    assert float(laplacian.abs().mean()) == pytest.approx(1.0, abs=0.05)
    assert float(laplacian.mean()) == pytest.approx(0.0, abs=0.05)
    assert draw_targets(LossType.CTC_LOSS, logits, {"targets": logits}) is logits


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
        VECTORS["adamw"],
    ),
    "mars_without_correction_is_adamw": (
        lambda w: MARSAdamWOptimizer(w, **COMMON, gamma=0.0, clip=None),
        VECTORS["adamw"],
    ),
    "adam_mini_of_single_entries_is_adamw": (adam_mini_of("entries"), VECTORS["adamw"]),
    "uncautious_nadamw_is_nadamw": (
        lambda w: CautiousAdamW(w, **COMMON, cautious=False),
        lambda w: NAdamWOptimizer(w, **COMMON),
    ),
    "uncautious_adamw_is_adamw": (
        lambda w: CautiousAdamW(w, **COMMON, nesterov=False, cautious=False),
        VECTORS["adamw"],
    ),
    "decoupled_nesterov_without_decay_is_sgd": (
        lambda w: DecoupledNesterov(w, lr=LR, momentum=0.9),
        lambda w: torch.optim.SGD(w, lr=LR, momentum=0.9, nesterov=True),
    ),
    "lamb_of_a_unit_ratio_is_adam": (
        lambda w: AdamOnRatios(w),
        lambda w: LAMBOptimizer(w, lr=LR, betas=BETAS),
    ),
}


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
    for before, after in zip(trajectory, trajectory[1:], strict=False):
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


def test_sam_takes_the_gradient_at_the_worst_point_nearby(shared: Path) -> None:
    vector = load_vectors(shared)["sam"]
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
    point = {name: value for name, value in algorithm_of("adamw").hyperparameters.items()}
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
    for ours, theirs in zip(trained("cyclic_nadamw", {"cycles": 1}), trained("nadamw", {}), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_nadamw_sequential_restarts_from_the_initial_weights() -> None:
    """20 + 20 + 15 steps; the first step of each run, at a rate of 1e-10, leaves the weights where they began."""
    torch.manual_seed(0)
    task = ToyTask(Bowl(), step_hint=20)
    overrides = {f"warmup_factor_{run}": 0.1 for run in (1, 2, 3)}
    algorithm = start("nadamw_sequential", overrides, task)
    far = []
    with pytest.raises(TrainingComplete):
        while True:
            algorithm.step(task, BATCH)
            task.step += 1
            far.append(float((task.model.weight - 1).abs().max()))
    assert len(far) == 54  # the 55th step said that it was the last
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
    assert set(space.points[0]) == set(algorithm_of(name).hyperparameters) or name == "nadamw_baseline"
    assert name in SETTINGS
