"""Muon, NorMuon and LionMuon, and the orthogonalisation beneath them."""

import math
from typing import Any

import pytest
import torch
from tasks import WorkloadTask
from torch import Tensor
from twins import near, random
from vectors import GRADIENTS, W0, check, double, replay

from timetrial.algorithms.lionmuon import LionMuonOptimizer
from timetrial.algorithms.muon import MuonOptimizer
from timetrial.algorithms.normuon import NorMuonOptimizer
from timetrial.algorithms.parts.matrix_optimizer import match_rms_scale, original_scale
from timetrial.algorithms.parts.orthogonal import (
    exact_polar,
    in_batches,
    inverse_square_root,
    newton_schulz,
    polar_express,
    polar_express_coefficients,
    stable_rank,
)
from timetrial.algorithms.parts.routing import as_matrices, route

MUON: dict[str, Any] = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
LIONMUON: dict[str, Any] = {"lr": 0.01, "sign_ratio": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}


def example() -> Tensor:
    """The specification's 4 x 6 matrix."""
    return double([[math.sin((i + 1) * (j + 1)) + 2 * (i == j) for j in range(6)] for i in range(4)])


# The orthogonalisation.


def test_polar_vectors(vectors: dict[str, Any]) -> None:
    vector = vectors["polar"]
    g = double(vector["G1"])[None]
    near(exact_polar(g)[0], vector["polar"])
    near(newton_schulz(g)[0], vector["ns5_f64"])
    near(torch.linalg.svdvals(newton_schulz(g)[0]), vector["ns5_singular_values"])
    tall = vectors["polar_tall"]
    near(exact_polar(double(tall["G"])[None])[0], tall["polar"])
    near(newton_schulz(double(tall["G"])[None])[0], tall["ns5_f64"])


def test_newton_schulz_vectors(vectors: dict[str, Any]) -> None:
    vector = vectors["ns5_matrix"]
    factor = newton_schulz(example()[None])[0]
    near(torch.linalg.svdvals(example()), vector["sv_in"])
    near(torch.linalg.svdvals(factor), vector["sv_ns5"])
    near(factor.norm(), vector["fro_ns5"])
    near((factor - exact_polar(example()[None])[0]).abs().max(), vector["max_abs_diff_to_polar"])
    # A diagonal matrix of Frobenius norm 1 shows what the polynomial does to one number.
    scalar = vectors["ns5_scalar"]
    for value, wanted in zip(scalar["in"], scalar["out"], strict=True):
        diagonal = torch.diag(double([value, math.sqrt(1 - value**2)]))
        near(newton_schulz(diagonal[None])[0][0, 0], wanted, atol=2e-6)  # norm + 1e-7


def test_polar_express_vectors(vectors: dict[str, Any]) -> None:
    vector = vectors["polar_express_matrix"]
    near(torch.linalg.svdvals(polar_express(example()[None])[0]), vector["sv"])
    near(torch.linalg.svdvals(polar_express(example()[None], 8)[0]), vector["sv_8steps"])
    near(polar_express(double(GRADIENTS[0])[None])[0], vector["G1_5steps"])


def test_rms_and_stable_rank_vectors(vectors: dict[str, Any]) -> None:
    factor = exact_polar(example()[None])[0]
    near(factor.square().mean().sqrt(), vectors["rms_property"]["expected_1_over_sqrt_max"])
    near((match_rms_scale(4, 6) * factor).square().mean().sqrt(), vectors["rms_property"]["rms_after_0.2sqrtmax"])
    near(stable_rank(double(GRADIENTS[0])[None])[0], vectors["stable_rank_G1"])


def test_sum_form_and_average_have_the_same_factors(vectors: dict[str, Any]) -> None:
    wanted = vectors["muon_sum_form_exact_polar"]["O"]
    total, mean = double([[0.0] * 2] * 2), double([[0.0] * 2] * 2)
    for gradient, factor in zip(map(double, GRADIENTS), wanted, strict=False):
        total, mean = 0.95 * total + gradient, 0.95 * mean + 0.05 * gradient
        near(exact_polar((gradient + 0.95 * total)[None])[0], factor)
        near(exact_polar((0.05 * gradient + 0.95 * mean)[None])[0], factor)


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3)])
def test_polar_properties(shape: tuple[int, int]) -> None:
    m = random(*shape)
    left, right = (torch.linalg.qr(random(size, size, seed=1))[0] for size in shape)
    for polar in (exact_polar, newton_schulz, polar_express):
        factor = polar(m[None])[0]
        torch.testing.assert_close(polar(left @ m[None] @ right)[0], left @ factor @ right)
        torch.testing.assert_close(polar(7 * m[None])[0], factor, rtol=1e-5, atol=1e-6)
        assert torch.equal(polar(torch.zeros(1, *shape))[0], torch.zeros(shape)) or polar is exact_polar
    torch.testing.assert_close((m * exact_polar(m[None])[0]).sum(), torch.linalg.matrix_norm(m, "nuc"))
    torch.testing.assert_close(polar_express(m[None], 12)[0], exact_polar(m[None])[0], rtol=0, atol=1e-6)


def test_inverse_square_root_of_gram_matrices() -> None:
    m = random(2, 4, 7)
    gram = m @ m.mT
    root = inverse_square_root(gram, polar_express_coefficients(14))
    torch.testing.assert_close(root @ gram @ root.mT, torch.eye(4, dtype=m.dtype).expand(2, 4, 4), rtol=0, atol=1e-8)
    torch.testing.assert_close(root @ m, exact_polar(m), rtol=0, atol=1e-8)


def test_batches_are_of_one_shape_and_come_back_in_order() -> None:
    matrices = [random(1, 2, 3), random(3, 4, 5, seed=1), random(2, 2, 3, seed=2), random(1, 3, 2, seed=3)]
    calls: list[torch.Size] = []

    def double_it(batch: Tensor, factor: Tensor) -> Tensor:
        calls.append(batch.shape)
        return factor * batch

    factors = [torch.full((len(matrix), 1, 1), float(index)) for index, matrix in enumerate(matrices)]
    for index, (found, matrix) in enumerate(zip(in_batches(matrices, double_it, factors), matrices, strict=True)):
        assert torch.equal(found, index * matrix)
    assert calls == [(3, 2, 3), (3, 4, 5), (1, 3, 2)]


# Muon.


def test_muon_vectors(vectors: dict[str, Any]) -> None:
    check(replay(lambda w: MuonOptimizer(w, **MUON), 2), vectors["muon_original"])
    check(replay(lambda w: MuonOptimizer(w, **MUON, scale="match_rms"), 2), vectors["muon_moonlight"])
    check(replay(lambda w: MuonOptimizer(w, **MUON, orthogonalize=exact_polar), 2), vectors["muon_exact_polar"])


def test_scales() -> None:
    assert original_scale(8, 2) == 2
    assert original_scale(2, 8) == 1
    assert match_rms_scale(100, 4) == pytest.approx(2)


@pytest.mark.parametrize(("scale", "name"), [("original", "original"), ("match_rms", "match_rms_adamw")])
def test_muon_is_torchs_up_to_bfloat16(scale: str, name: str) -> None:
    ours = [random(6, 4, seed=seed).float().requires_grad_() for seed in range(2)]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    one = MuonOptimizer(ours, **MUON, scale=scale)
    other = torch.optim.Muon(theirs, **MUON, adjust_lr_fn=name)
    for step in range(3):
        for index, (weight, twin) in enumerate(zip(ours, theirs, strict=True)):
            weight.grad = random(6, 4, seed=10 * step + index).float()
            twin.grad = weight.grad.clone()
        one.step()
        other.step()
    for weight, twin in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, twin, rtol=0, atol=3 * 0.02 * 0.05)


def test_a_convolution_is_flattened_and_a_stack_split() -> None:
    convolution, stack = random(4, 2, 3, 3).requires_grad_(), random(6, 2, seed=1).requires_grad_()
    flat = convolution.detach().reshape(4, 18).clone().requires_grad_()
    parts = [part.clone().requires_grad_() for part in stack.detach().chunk(3)]
    convolution.grad, stack.grad = random(4, 2, 3, 3, seed=2), random(6, 2, seed=3)
    flat.grad = convolution.grad.reshape(4, 18)
    for part, gradient in zip(parts, stack.grad.chunk(3), strict=True):
        part.grad = gradient.clone()
    for build in (MuonOptimizer, NorMuonOptimizer):
        build([convolution, stack], **MUON, stacks={stack: 3}).step()
        build([flat, *parts], **MUON).step()
        torch.testing.assert_close(convolution.reshape(4, 18), flat)
        torch.testing.assert_close(stack, torch.cat(parts))


def test_fused_projections_are_split_on_a_workload() -> None:
    routes = route(WorkloadTask("finewebedu_lm"))
    assert routes.stacks
    for weight, stack in routes.stacks.items():
        assert as_matrices(weight, stack).shape == (3, weight.shape[0] // 3, weight.shape[1])


# NorMuon.


def test_normuon_vectors(vectors: dict[str, Any]) -> None:
    check(replay(lambda w: NorMuonOptimizer(w, **MUON), 2), vectors["normuon"])
    check(replay(lambda w: NorMuonOptimizer(w, **MUON, orthogonalize=exact_polar), 2), vectors["normuon_exact"])


def test_normuon_of_square_orthogonal_factors_is_muon() -> None:
    ours = replay(lambda w: NorMuonOptimizer(w, **MUON, orthogonalize=exact_polar), 3)
    muon = replay(lambda w: MuonOptimizer(w, **MUON, orthogonalize=exact_polar), 3)
    for one, other in zip(ours, muon, strict=True):
        torch.testing.assert_close(one, other)


def test_normuon_keeps_the_length_and_equals_the_rows() -> None:
    weight = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    weight.grad = random(5, 3)
    NorMuonOptimizer([weight], lr=1.0).step()
    lengths = weight.detach().norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(5))
    polar = newton_schulz(random(5, 3)[None])[0]
    torch.testing.assert_close(weight.detach().norm(), polar.norm() * math.sqrt(5 / 3), rtol=1e-5, atol=0)


# LionMuon.


def test_lionmuon_vectors(vectors: dict[str, Any]) -> None:
    check(replay(lambda w: LionMuonOptimizer(w, **LIONMUON), 3), vectors["lionmuon"])
    check(replay(lambda w: LionMuonOptimizer(w, **LIONMUON, orthogonalize=exact_polar), 3), vectors["lionmuon_exact"])


def test_lionmuon_of_infinite_period_is_lion(vectors: dict[str, Any]) -> None:
    options: dict[str, Any] = {"lr": 0.1, "sign_ratio": 1.0, "weight_decay": 0.1, "period": math.inf}
    check(replay(lambda w: LionMuonOptimizer(w, **options), 2), vectors["lion"])


def test_lionmuon_of_period_one_is_muon_without_nesterov() -> None:
    """With equal betas the direction is Muon's average: the same steps."""
    ours = replay(lambda w: LionMuonOptimizer(w, lr=0.01, betas=(0.9, 0.9), weight_decay=0.1, period=1), 3)
    options: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    muon = replay(lambda w: MuonOptimizer(w, **options, nesterov=False, scale="match_rms"), 3)
    for one, other in zip(ours, muon, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def test_lionmuon_alternates() -> None:
    first, second = replay(lambda w: LionMuonOptimizer(w, **LIONMUON), 2)
    moved = second - (1 - 0.001 * 0.1) * first
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.001))
    assert not torch.allclose((first - double(W0)).abs(), torch.full_like(first, 0.001))
