"""Rules with a matrix for each axis: Shampoo, CASPR, SOAP, PSGD-Kron, FOAM (spec: algorithms/test_vectors.json)."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from vectors import GRADIENTS, Build, check, double, replay

from timetrial.algorithms.caspr import CASPROptimizer
from timetrial.algorithms.distributed_shampoo import DistributedShampoo, ShampooOptimizer
from timetrial.algorithms.foam import FOAMOptimizer, staleness
from timetrial.algorithms.nadamw import NAdamWOptimizer
from timetrial.algorithms.psgd_kron import (
    PSGDKronOptimizer,
    precondition,
    spectral_lower_bound,
    update_factors,
    update_probability,
)
from timetrial.algorithms.soap import SOAPOptimizer

ADAM = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}
AT_ONCE = {"frequency": 1, "start": 1}

VECTORS: dict[str, Build] = {
    "shampoo_meta": lambda w: ShampooOptimizer(w, **ADAM, **AT_ONCE, use_nadam=True, merge=False),
    "shampoo_meta_merged": lambda w: ShampooOptimizer(w, **ADAM, **AT_ONCE, use_nadam=True),
    "shampoo_meta_sgdgraft": lambda w: ShampooOptimizer(
        w,
        lr=0.1,
        betas=(0.0, 0.99),
        weight_decay=0.1,
        grafting="sgd",
        momentum=0.9,
        nesterov=True,
        merge=False,
        **AT_ONCE,
    ),
    "soap": lambda w: SOAPOptimizer(w, lr=0.1, betas=(0.9, 0.95), weight_decay=0.1, frequency=1),
    "caspr_adaptive": lambda w: CASPROptimizer(w, **ADAM, **AT_ONCE),
}

SHAPES = [(6, 4), (5,), (), (3, 2, 2, 2), (6, 4), (4, 1, 3)]


def weights_of(shapes: list[tuple[int, ...]], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def train(optimizer: torch.optim.Optimizer, weights: list[Tensor], steps: int, *, seed: int = 1) -> list[Tensor]:
    """Feed random gradients; return the weights at the end."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, dtype=weight.dtype, generator=generator)
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def assert_alike(one: Build, other: Build, shapes: list[tuple[int, ...]], steps: int, *, atol: float = 1e-12) -> None:
    """Both rules must move the same weights alike."""
    results = []
    for build in (one, other):
        weights = weights_of(shapes)
        results.append(train(build(weights), weights, steps))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("key", VECTORS)
def test_vectors(key: str, vectors: dict[str, Any]) -> None:
    check(replay(VECTORS[key], 3), vectors[key])


def test_shampoo_without_accumulation_takes_the_polar_factor(vectors: dict[str, Any]) -> None:
    """L^-1/4 G R^-1/4 of one gradient's own statistics; SGD grafting gives it the gradient's norm."""
    vector = vectors["shampoo_noacc"]
    moved = replay(
        lambda w: ShampooOptimizer(w, lr=1.0, betas=(0.0, 0.0), eps=0.0, grafting="sgd", merge=False, **AT_ONCE),
        1,
    )[0]
    direction = double([[0.5, -1.0], [1.5, 2.0]]) - moved
    gradient = double(GRADIENTS[0])
    torch.testing.assert_close(direction * math.sqrt(2) / gradient.norm(), double(vector["val"]), rtol=0, atol=1e-9)


def test_foam_vector(vectors: dict[str, Any]) -> None:
    vector = vectors["foam"]
    values, vectors = torch.linalg.eigh(double(vector["L_stale"])[None])
    drift = vectors.mT @ double(vector["L_now"])[None] @ vectors - torch.diag_embed(values)
    power, eps = vector["p"], vector["eps"]
    error = float(staleness(drift, values + eps, power))
    assert error == pytest.approx(vector["h"], abs=1e-12)
    assert eps * error / 0.05 == pytest.approx(vector["eps_new_tau_0_05"], abs=1e-12)
    assert float(staleness(drift, values + 0.1, power)) == pytest.approx(vector["h_eps_0_1"], abs=1e-12)
    isotropic = staleness(0.4 * torch.eye(2, dtype=torch.float64)[None], double([[1.0, 1.0]]), 4)
    assert float(isotropic) == pytest.approx(vector["h_isotropic_check"], abs=1e-12)


def test_psgd_vector(vectors: dict[str, Any]) -> None:
    vector = vectors["psgd_kron"]
    gradient, noise = double(GRADIENTS[0])[None], double([[1.0, -1.0], [0.5, 2.0]])[None]
    factors = [torch.eye(2, dtype=torch.float64)[None].clone() for _ in range(2)]
    scale = float(gradient.abs().mean()) * 1.1920928955078125e-07**0.5
    update_factors(factors, gradient + scale * noise, noise, 0.1)
    for factor, key in zip(factors, ("Ql", "Qr"), strict=True):
        torch.testing.assert_close(factor[0], double(vector[key]), rtol=0, atol=1e-9)
    unclipped = precondition(gradient, factors, largest=math.inf)
    torch.testing.assert_close(unclipped[0], double(vector["pre"]), rtol=0, atol=1e-9)
    torch.testing.assert_close(precondition(gradient, factors)[0], double(vector["clipped"]), rtol=0, atol=1e-9)


def test_shampoo_and_caspr_begin_as_nadamw() -> None:
    def nadamw(w: list[Tensor]) -> NAdamWOptimizer:
        return NAdamWOptimizer(w, **ADAM)

    assert_alike(lambda w: ShampooOptimizer(w, **ADAM, use_nadam=True), nadamw, SHAPES, 99)
    assert_alike(lambda w: CASPROptimizer(w, **ADAM), nadamw, [(6, 4), (3, 2, 2, 2)], 101)
    with pytest.raises(AssertionError):
        assert_alike(lambda w: ShampooOptimizer(w, **ADAM, use_nadam=True), nadamw, SHAPES, 100)
    with pytest.raises(AssertionError):
        assert_alike(lambda w: CASPROptimizer(w, **ADAM), nadamw, [(6, 4), (3, 2, 2, 2)], 102)


def test_shampoo_of_identities_is_the_method_grafted() -> None:
    """Where eps drowns the statistics every root is a multiple of the identity, and grafting undoes the multiple."""
    options: dict[str, Any] = {"lr": 0.1, "betas": (0.9, 0.99), "grafting": "sgd", "momentum": 0.5, "nesterov": True}
    assert_alike(
        lambda w: ShampooOptimizer(w, **options, eps=1e9, **AT_ONCE),
        lambda w: ShampooOptimizer(w, **options, start=1000),
        SHAPES,
        10,
        atol=1e-8,
    )


@pytest.mark.parametrize("grafting", ["adam", "sgd"])
def test_shampoo_takes_the_norm_that_is_grafted_block_by_block(grafting: str) -> None:
    def moves(start: int) -> Tensor:
        weight = weights_of([(7, 5)])[0]
        before = weight.detach().clone()
        optimizer = ShampooOptimizer(
            [weight], lr=0.1, grafting=grafting, block_size=4, merge=False, frequency=1, start=start
        )
        return train(optimizer, [weight], 1)[0] - before

    ours, grafted = moves(1), moves(100)
    for rows in (slice(0, 4), slice(4, 7)):
        for columns in (slice(0, 4), slice(4, 5)):
            assert float(ours[rows, columns].norm()) == pytest.approx(float(grafted[rows, columns].norm()), rel=1e-9)
    assert not torch.allclose(ours, grafted)


def test_shampoo_of_blocks_is_shampoo_of_each() -> None:
    """Cut by the layout or by hand: 5 = 3 + 2 rows, 4 = 3 + 1 columns."""
    options: dict[str, Any] = {**ADAM, "merge": False, **AT_ONCE}
    whole = weights_of([(5, 4)])[0]
    cuts = [
        (slice(0, 3), slice(0, 3)),
        (slice(0, 3), slice(3, 4)),
        (slice(3, 5), slice(0, 3)),
        (slice(3, 5), slice(3, 4)),
    ]
    parts = [whole.detach()[cut].clone().requires_grad_() for cut in cuts]
    one, other = ShampooOptimizer([whole], **options, block_size=3), ShampooOptimizer(parts, **options)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        whole.grad = torch.randn(5, 4, dtype=torch.float64, generator=generator)
        for part, cut in zip(parts, cuts, strict=True):
            part.grad = whole.grad[cut].clone()
        one.step()
        other.step()
    for part, cut in zip(parts, cuts, strict=True):
        torch.testing.assert_close(whole.detach()[cut], part.detach(), rtol=0, atol=1e-12)


def test_very_long_tensors_follow_the_grafted_method(monkeypatch: pytest.MonkeyPatch) -> None:
    from toy import ToyTask, start

    monkeypatch.setattr("timetrial.algorithms.distributed_shampoo.GRAFTED_ONLY_FROM", 1000)
    model = torch.nn.Sequential(torch.nn.Embedding(1000, 2), torch.nn.Linear(2, 3))
    algorithm = start("distributed_shampoo", {}, ToyTask(model, step_hint=10))
    assert isinstance(algorithm, DistributedShampoo)
    others, long = algorithm.optimizer.param_groups
    assert [tuple(each.shape) for each in long["params"]] == [(1000, 2)]
    assert (others["precondition"], long["precondition"]) == (True, False)


def test_caspr_takes_nadams_norm_of_the_whole_tensor() -> None:
    def move(start: int) -> Tensor:
        weight = weights_of([(7, 5)])[0]
        before = weight.detach().clone()
        return train(CASPROptimizer([weight], lr=0.1, block_size=4, frequency=1, start=start), [weight], 1)[0] - before

    assert float(move(1).norm()) == pytest.approx(float(move(100).norm()), rel=1e-9)
    assert not torch.allclose(move(1), move(100))


def test_casprs_right_statistics_are_of_gradients_as_whitened_now() -> None:
    """By hand for a 1 x 1 matrix, where the ridge is a millionth of the statistics."""
    weight = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    optimizer = CASPROptimizer([weight], lr=0.1, betas=(0.9, 0.75), frequency=1, start=1)
    left, right, root = 1e-6, 1.0, 1.0
    for gradient in (0.5, -2.0, 0.25):
        weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
        before, left = left, 0.75 * left + 0.25 * gradient**2
        right = 0.75 * right + 0.25 * (gradient * root) ** 2
        root = (left * (1 + 1e-6)) ** -0.5
        right *= before / left
        assert optimizer.state[weight]["right statistics"][0].item() == pytest.approx(right, rel=1e-12)


def test_casprs_right_statistics_neither_grow_nor_vanish() -> None:
    """As float32 a factor above 1 that came back with every refresh would leave the range of numbers."""
    weight = torch.zeros(5, 4, requires_grad=True)
    optimizer = CASPROptimizer([weight], lr=1e-3, betas=(0.9, 0.99), frequency=2, start=3)
    generator = torch.Generator().manual_seed(0)
    for step in range(300):
        weight.grad = 10 ** (-step / 75) * torch.randn(5, 4, generator=generator)
        optimizer.step()
    statistics = optimizer.state[weight]["right statistics"][0]
    assert 0.1 < statistics.diagonal(dim1=-2, dim2=-1).mean() < 10
    assert weight.isfinite().all()


def test_soap_of_identity_bases_is_adam() -> None:
    """It lags by the step that only begins; its eps is not corrected, so there is none."""
    betas = (0.9, 0.95)
    ours, theirs = weights_of(SHAPES), weights_of(SHAPES)
    soap = SOAPOptimizer([{"params": ours, "axes": ()}], lr=0.1, betas=betas, eps=1e-300, weight_decay=0.0)
    kept = SOAPOptimizer(fixed := weights_of(SHAPES), lr=0.1, betas=betas, eps=1e-300, weight_decay=0.0, frequency=1000)
    adam = torch.optim.Adam(theirs, lr=0.1, betas=betas, eps=0.0)
    train(soap, ours, 1)
    train(kept, fixed, 1)
    for bases in kept.state[fixed[0]]["bases"]:
        for axis, basis in bases.items():
            bases[axis] = torch.eye(basis.shape[-1], dtype=basis.dtype).expand_as(basis).clone()
    wanted = train(adam, theirs, 20, seed=2)
    for found in (train(soap, ours, 20, seed=2), train(kept, fixed, 20, seed=2)):
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_soap_without_memory_moves_by_signs_in_its_basis() -> None:
    weight = weights_of([(6, 4)])[0]
    optimizer = SOAPOptimizer([weight], lr=0.1, betas=(0.0, 0.0), eps=0.0, weight_decay=0.0)
    before = train(optimizer, [weight], 1)[0]
    move = (before - train(optimizer, [weight], 1, seed=5)[0]) / 0.1
    bases = optimizer.state[weight]["bases"][0]
    rotated = bases[0][0].T @ move @ bases[1][0]
    torch.testing.assert_close(rotated.abs(), torch.ones(6, 4, dtype=torch.float64))


def test_soap_keeps_its_bases_orthogonal_and_skips_long_axes() -> None:
    weights = weights_of([(6, 4), (9, 2)])
    optimizer = SOAPOptimizer(weights, frequency=2, longest=8)
    train(optimizer, weights, 9)
    square, tall = optimizer.state[weights[0]]["bases"]
    assert (set(square), set(tall)) == ({0, 1}, {1})
    for basis in (*square.values(), *tall.values()):
        torch.testing.assert_close(basis.mT @ basis, torch.eye(basis.shape[-1], dtype=torch.float64)[None])


def test_foam_that_never_minds_is_shampoo_of_its_refreshes() -> None:
    """With tau infinite the damping stays, and roots are taken when they are too old."""
    options: dict[str, Any] = {**ADAM, "eps": 1e-13, "start": 10, "merge": False}
    assert_alike(
        lambda w: FOAMOptimizer(w, **options, tau=math.inf, check_every=5, max_age=10),
        lambda w: ShampooOptimizer(w, **options, frequency=10),
        [(3, 2), (4, 4)],
        35,
        atol=1e-9,
    )


def foam_on_drift(change: float, **options: Any) -> tuple[dict[str, Tensor], FOAMOptimizer]:
    """A 2 x 2 matrix whose gradient changes its size after the first roots; return the left side's state."""
    weight = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    optimizer = FOAMOptimizer([weight], lr=0.0, betas=(0.0, 0.9), merge=False, start=1, check_every=1, **options)
    for step in range(4):
        weight.grad = torch.eye(2, dtype=torch.float64) * (1.0 if step == 0 else change)
        optimizer.step()
    return optimizer.state[weight]["factors"][0][0], optimizer


def test_foam_keeps_its_roots_while_nothing_changes() -> None:
    factor, _ = foam_on_drift(1.0, eps=1e-3, tau=0.1, ceiling=0.1)
    assert float(factor["damping"]) == 1e-3
    assert float(factor["age"]) == 3


def test_foam_damps_what_drifts_and_refreshes_above_the_ceiling() -> None:
    damped, _ = foam_on_drift(1.3, eps=1e-3, tau=0.01, ceiling=1e9)
    assert float(damped["damping"]) > 1e-2
    assert float(damped["age"]) == 3
    fresh, _ = foam_on_drift(1.3, eps=1e-3, tau=0.01, ceiling=1e-2)
    assert float(fresh["age"]) < 3
    literal, _ = foam_on_drift(1.0, eps=1e-3, tau=1e-5, ceiling=1e9, literal_drift=True)
    assert float(literal["damping"]) > 1e-3, "by the letter, the damping itself counts as drift"


def test_psgd_stays_where_gradients_are_white() -> None:
    noise = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factors = [torch.eye(size, dtype=torch.float64).repeat(3, 1, 1) for size in (5, 4)]
    update_factors(factors, noise.clone(), noise, 0.5)
    for factor in factors:
        torch.testing.assert_close(factor, torch.eye(factor.shape[-1], dtype=torch.float64).expand_as(factor))


@pytest.mark.parametrize("diagonal", [False, True])
def test_psgd_whitens(diagonal: bool) -> None:
    """Gradients A Z B of white Z: preconditioned they are as white, all entries of variance 1."""
    generator = torch.Generator().manual_seed(0)

    def white(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    left, right = (torch.diag(torch.linspace(0.3, 3, size, dtype=torch.float64)) for size in (3, 4))
    if diagonal:
        factors = [torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64)]
    else:
        left, right = left + 0.3 * white(3, 3), right + 0.3 * white(4, 4)
        factors = [torch.eye(3, dtype=torch.float64)[None], torch.eye(4, dtype=torch.float64)[None]]
    for step in range(3000):
        update_factors(factors, left @ white(1, 3, 4) @ right, white(1, 3, 4), max(0.1 * 0.998**step, 0.003))
    after = torch.cat([precondition(left @ white(1, 3, 4) @ right, factors, math.inf).flatten(1) for _ in range(4000)])
    covariance = after.T @ after / len(after)
    torch.testing.assert_close(covariance, torch.eye(12, dtype=torch.float64), rtol=0, atol=0.25)


def test_psgd_details() -> None:
    matrices = torch.randn(4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    symmetric = matrices @ matrices.mT
    bounds, norms = spectral_lower_bound(symmetric).flatten(), torch.linalg.matrix_norm(symmetric, ord=2)
    assert torch.all(bounds <= norms * (1 + 1e-12))
    assert torch.all(bounds >= 0.5 * norms)
    assert float(spectral_lower_bound(torch.zeros(1, 3, 3))) == 0
    assert [update_probability(step) for step in (0, 500, 10_000)] == [1, 1, 0.03]

    weights = weights_of([(64, 3, 7, 7), (5, 1), (9,), ()])
    optimizer = PSGDKronOptimizer(weights, longest=100)
    train(optimizer, weights, 2)
    shapes = [[tuple(factor.shape) for factor in own] for own in optimizer.state[weights[0]]["factors"]]
    assert shapes == [[(1, 64, 64), (1, 147)], [(1, 5, 5), (1, 1)], [(1, 9)], [(1, 1)]]


RULES: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "shampoo": lambda w: ShampooOptimizer(w, **ADAM, frequency=4),
    "foam": lambda w: FOAMOptimizer(w, **ADAM, start=3, check_every=2),
    "caspr": lambda w: CASPROptimizer([each for each in w if each.ndim > 1], **ADAM, frequency=3, start=4),
    "soap": lambda w: SOAPOptimizer(w, lr=0.1, frequency=2),
    "psgd": lambda w: PSGDKronOptimizer(w, lr=0.1, seed=5),
}


@pytest.mark.parametrize("name", RULES)
def test_resuming_while_preconditioning_is_exact(name: str) -> None:
    weights = weights_of(SHAPES)
    optimizer = RULES[name](weights)
    train(optimizer, weights, 9)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    copies = [weight.detach().clone().requires_grad_() for weight in weights]
    resumed = RULES[name](copies)
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue())))
    wanted = train(optimizer, weights, 9, seed=4)
    for one, other in zip(train(resumed, copies, 9, seed=4), wanted, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", RULES)
def test_what_has_no_gradient_stays(name: str) -> None:
    weights = weights_of([(4, 4), (4, 4)])
    optimizer = RULES[name](weights)
    before = weights[1].detach().clone()
    for _ in range(8):
        weights[0].grad = torch.randn(4, 4, dtype=torch.float64)
        optimizer.step()
    assert torch.equal(weights[1], before)
    assert weights[0].isfinite().all()
