"""Constraints in the place of penalties: multipliers and constrained AdamW (spec: algorithms/constraints.md)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from vectors import double

from timetrial.algorithms.constrained_adamw import ConstrainedAdamWOptimizer
from timetrial.algorithms.parts.multipliers import NuPI, with_penalty


def multipliers_of(controller: NuPI, errors: list[float]) -> list[float]:
    """Return what a controller makes of a sequence of errors."""
    multiplier, smoothed = [double(0.0)], [double(0.0)]
    found = []
    for step, error in enumerate(errors):
        controller.update(multiplier, smoothed, [double(error)], first=step == 0)
        found.append(float(multiplier[0]))
    return found


def test_nupi_sequence(vectors: dict[str, Any]) -> None:
    vector = vectors["nupi_sequence"]
    options = {"rate": vector["lr"], "integral": vector["Ki"], "proportional": vector["Kp"], "nu": vector["nu"]}
    documented = multipliers_of(NuPI(**options), vector["errors"])
    assert documented == pytest.approx(vector["sgd_init_as_documented"], abs=1e-12)
    zeros = multipliers_of(NuPI(**options, init="zeros"), vector["errors"])
    assert zeros == pytest.approx(vector["zeros_init"], abs=1e-12)


def test_pi_is_an_augmented_lagrangian(vectors: dict[str, Any]) -> None:
    """A PI multiplier is what ascent's is with a penalty of rate times K_P, where the violations are not projected."""
    vector = vectors["pi_equals_aug_lag"]
    errors, rate = vector["errors"], vector["eta"]
    pi = NuPI(rate=rate, integral=vector["Ki"], proportional=vector["Kp"], init="zeros")
    assert multipliers_of(pi, errors) == pytest.approx(vector["pi_zero_init"], abs=1e-12)
    ascent = multipliers_of(NuPI(rate=rate, integral=vector["Ki"]), errors)
    penalised = [each + rate * vector["Kp"] * error for each, error in zip(ascent, errors, strict=True)]
    assert penalised == pytest.approx(vector["integrator_plus_etaKp_e"], abs=1e-12)


def toy(controller: NuPI, *, dual_first: bool = True, penalty: float = 0.0) -> list[list[float]]:
    """Minimise (x - 2)^2 / 2 subject to x <= 1 from 3, primal rate 0.1: (x, multiplier) after each of 3 steps."""
    x, multiplier, smoothed = double(3.0), [double(0.0)], [double(0.0)]
    rows = []
    for step in range(3):
        error = [x - 1]
        used = [multiplier[0].clone()]
        controller.update(multiplier, smoothed, error, first=step == 0)
        if dual_first:
            used = multiplier
        x = x - 0.1 * (x - 2 + with_penalty(used, error, penalty)[0])
        rows.append([float(x), float(multiplier[0])])
    return rows


def test_constrained_toy(vectors: dict[str, Any]) -> None:
    vector = vectors["constrained_toy"]
    ascent = NuPI(rate=0.5)
    for key, found in {
        "simultaneous_ex0_1_el0_5": toy(ascent, dual_first=False),
        "dual_first": toy(ascent),
        "nupi_kp2_nu0_5_dual_first": toy(NuPI(rate=0.5, proportional=2.0, nu=0.5)),
        "aug_lag_c1_dual_first": toy(ascent, penalty=1.0),
    }.items():
        torch.testing.assert_close(double(found), double(vector[key]), rtol=0, atol=1e-12)


def concave(eps: float, penalty: float, steps: int) -> list[float]:
    """Minimise (1 + y^2) cos x subject to (1 + y^2) sin x <= eps by descent and ascent; return x, y, multiplier."""
    place, multiplier, smoothed = double([0.8, 0.3]).requires_grad_(), [double(0.0)], [double(0.0)]
    controller = NuPI(rate=0.05)
    for step in range(steps):
        x, y = place
        stretch = 1 + y * y
        violation = stretch * x.sin() - eps
        controller.update(multiplier, smoothed, [violation.detach()], first=step == 0)
        factor = with_penalty(multiplier, [violation.detach()], penalty)[0]
        (slope,) = torch.autograd.grad(stretch * x.cos() + factor * violation, place)
        with torch.no_grad():
            place -= 0.05 * slope
            place[0].clamp_(0, math.pi / 2)
    return [*place.tolist(), float(multiplier[0])]


def test_a_concave_problem_needs_the_augmented_lagrangian(vectors: dict[str, Any]) -> None:
    vector = vectors["constrained_concave"]
    found = concave(vector["eps"], 4.0, 2000)
    assert found == pytest.approx(vector["solution"], abs=1e-9)
    assert vector["al_threshold_c"] == pytest.approx((1 - vector["eps"] ** 2) ** -1.5, abs=1e-12)
    x, _, multiplier = concave(vector["eps"], 0.0, 2000)
    assert x in (0.0, pytest.approx(math.pi / 2))
    assert abs(multiplier - vector["solution"][2]) > 1


SHAPES = [(4, 3), (2, 3, 2), (5,)]


def pairs(ours: dict[str, Any], theirs: dict[str, Any], steps: int = 20) -> list[tuple[Tensor, Tensor]]:
    """Train copies by constrained AdamW and PyTorch's AdamW on the same gradients."""
    torch.manual_seed(0)
    one = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in SHAPES]
    other = [weight.detach().clone().requires_grad_() for weight in one]
    matrices = [weight for weight in one if weight.ndim > 1]
    groups = [{"params": matrices}, {"params": [one[-1]], "bound": None}]
    a = ConstrainedAdamWOptimizer(groups, lr=0.01, **ours)
    b = torch.optim.AdamW([{"params": other[:-1]}, {"params": [other[-1]], "weight_decay": 0.0}], lr=0.01, **theirs)
    for _ in range(steps):
        for weight, twin in zip(one, other, strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone()
        a.step()
        b.step()
    return [(weight.detach(), twin.detach()) for weight, twin in zip(one, other, strict=True)]


def test_with_no_constraint_active_it_is_adamw_without_decay() -> None:
    for found, wanted in pairs({"bound": 100.0}, {"weight_decay": 0.0}):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_a_fixed_multiplier_is_weight_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A multiplier of R^2 d decays by d: here of the two matrices, each with its own R."""
    update = NuPI.update

    def fixed(self: NuPI, multipliers: list[Tensor], *others: Any, **options: Any) -> None:
        update(self, multipliers, *others, **options)
        for multiplier, radius in zip(multipliers, radii, strict=True):
            multiplier.copy_(0.3 * radius**2)

    torch.manual_seed(0)
    radii = [torch.randn(shape, dtype=torch.float64).norm() for shape in SHAPES[:2]]
    monkeypatch.setattr(NuPI, "update", fixed)
    for found, wanted in pairs({"bound": 1.0}, {"weight_decay": 0.3}):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("penalty", [0.0, 5.0])
def test_it_ends_on_the_bound_that_presses(penalty: float) -> None:
    """The goal lies outside of the ball: the constraint ends nearly tight, its multiplier above zero."""
    torch.manual_seed(0)
    weight = torch.randn(4, 3, dtype=torch.float64).requires_grad_()
    radius = float(weight.detach().norm())
    goal = 3 * weight.detach()
    optimizer = ConstrainedAdamWOptimizer([weight], lr=0.01, bound=1.0, dual_rate=1.0, penalty=penalty)
    for _ in range(6000):
        weight.grad = weight.detach() - goal
        optimizer.step()
    assert float(weight.detach().norm()) == pytest.approx(radius, rel=0.02)
    assert float(optimizer.state[weight]["multiplier"]) > 0


def test_a_matrix_that_starts_at_zero_has_room() -> None:
    weight = torch.zeros(9, 4, dtype=torch.float64).requires_grad_()
    optimizer = ConstrainedAdamWOptimizer([weight], lr=0.01, bound=2.0)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert float(optimizer.state[weight]["radius"]) == 6
    assert weight.isfinite().all()
