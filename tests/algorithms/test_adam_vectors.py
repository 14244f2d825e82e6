"""Adam's relatives: the specification's vectors, and what its sheets say of the rules' inner workings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from vectors import GRADIENTS, W0, Build, check, double, replay

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
from timetrial.algorithms.sophia_g import SophiaGOptimizer, draw_targets
from timetrial.api import LossType
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
    "adamg": AdamGOptimizer,
    "lion": lambda w: LionOptimizer(w, **COMMON),
    "ademamix": lambda w: AdEMAMixOptimizer(
        w, lr=LR, betas=(0.9, 0.99, 0.999), alpha=5.0, slow_warmup=10, weight_decay=DECAY
    ),
    "mars_adamw": lambda w: MARSAdamWOptimizer(w, lr=LR, betas=(0.95, 0.99), weight_decay=DECAY),
    "adam_mini_row": lambda w: AdamMiniOptimizer(w, **COMMON),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str, vectors: dict[str, Any]) -> None:
    check(replay(VECTORS[name], 2), vectors[name])


def test_torch_nadam_is_another_rule(vectors: dict[str, Any]) -> None:
    theirs = replay(lambda w: torch.optim.NAdam(w, **COMMON, decoupled_weight_decay=True), 2)
    check(theirs, vectors["torch_nadam_contrast"], atol=1e-8)  # its momentum product is a float32
    assert not torch.allclose(theirs[0], double(vectors["nadamw"]["W1"]), atol=1e-3)


def test_label_smoothing(vectors: dict[str, Any]) -> None:
    vector = vectors["label_smoothing"]
    logits, target = double([vector["logits"]]), torch.tensor([vector["target"]])
    smoothed = softmax_cross_entropy(logits, target, label_smoothing=vector["eps"])
    assert float(smoothed.mean) == pytest.approx(vector["loss"], abs=1e-12)
    assert float(softmax_cross_entropy(logits, target).mean) == pytest.approx(vector["plain"], abs=1e-12)


def test_cautious_mask_of_the_second_step(vectors: dict[str, Any]) -> None:
    """One of four entries disagrees: it stays, and the others go 4 / 3 as far (spec: algorithms/cautious.md)."""
    vector = vectors["cautious_mask"]
    after, plain = (
        replay(lambda w, cautious=cautious: CautiousAdamW(w, lr=LR, betas=BETAS, nesterov=False, cautious=cautious), 2)
        for cautious in (True, False)
    )
    ratio = (after[1] - after[0]) / (plain[1] - plain[0])
    torch.testing.assert_close(ratio, double(vector["mask"]) * vector["scale_mean"], rtol=1e-9, atol=1e-9)


def test_lamb_trust_ratios_and_step_length(vectors: dict[str, Any]) -> None:
    vector = vectors["lamb"]
    first, second = replay(VECTORS["lamb"], 2)
    for before, after in ((double(W0), first), (first, second)):
        length = float(torch.linalg.vector_norm(after - before))
        assert length == pytest.approx(LR * float(torch.linalg.vector_norm(before)), rel=1e-12)
    direction = double(GRADIENTS[0]).sign() + DECAY * double(W0)  # all but eps
    (ratio,) = trust_ratios([double(W0)], [direction])
    assert float(ratio) == pytest.approx(vector["trust1"], rel=1e-7)
    assert float(trust_ratios([torch.zeros(2)], [torch.ones(2)])[0]) == 1.0
    assert float(trust_ratios([torch.ones(2)], [torch.zeros(2)])[0]) == 1.0


def test_adafactor_clips_an_rms_above_one(vectors: dict[str, Any]) -> None:
    vector = vectors["adafactor_algoperf"]
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


def test_ademamix_warm_up_of_the_slow_momentum(vectors: dict[str, Any]) -> None:
    vector = vectors["ademamix"]
    assert between_half_lives(0.9, 0.999, 0.1) == pytest.approx(vector["b3_1"], abs=1e-12)
    assert between_half_lives(0.9, 0.999, 0.2) == pytest.approx(vector["b3_2"], abs=1e-12)
    assert between_half_lives(0.9, 0.999, 0.0) == pytest.approx(0.9, abs=1e-7)
    assert between_half_lives(0.9, 0.999, 1.0) == 0.999


def test_mars_corrected_gradients(vectors: dict[str, Any]) -> None:
    """With b1 = 0 in the moments' stead the buffers would hold c itself: here read from m."""
    vector = vectors["mars_adamw"]
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


def test_sophia_curvature_and_step(vectors: dict[str, Any]) -> None:
    vector = vectors["sophiag"]
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


@pytest.mark.parametrize("name", VECTORS)
def test_a_rule_looks_at_each_tensor_alone(name: str) -> None:
    """All tensors in one optimizer, or an optimizer for each: on a CPU, lists may be updated in parts."""
    torch.manual_seed(0)
    shapes = ((3, 4), (5,), (), (2, 3, 2), (3, 4))
    if name == "adam_mini_row":
        shapes = ((3, 4), (5, 2), (2, 3, 2), (3, 4), (1, 1))  # rows need two axes
    together = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    apart = [weight.detach().clone().requires_grad_() for weight in together]
    optimizers = [VECTORS[name](together), *(VECTORS[name]([weight]) for weight in apart)]
    for _ in range(3):
        for weight, twin in zip(together, apart, strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for weight, twin in zip(together, apart, strict=True):
        torch.testing.assert_close(weight, twin, rtol=1e-12, atol=1e-12)
