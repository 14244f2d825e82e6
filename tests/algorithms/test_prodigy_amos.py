"""Prodigy, its Schedule-Free form and Amos against the vectors, their packages, and their invariances."""

from __future__ import annotations

from typing import Any

import prodigyopt
import pytest
import torch
from twins import near, random_weights, twins
from vectors import GRADIENTS, W0, check, double

from timetrial.algorithms.amos import AmosOptimizer, Variable, base_rate, expected_scale, tau
from timetrial.algorithms.prodigy import ProdigyOptimizer
from timetrial.algorithms.schedule_free_prodigy import ScheduleFreeProdigyOptimizer
from timetrial.api import ParameterKind


def test_prodigy_vectors(vectors: dict[str, Any]) -> None:
    weight = double(W0).requires_grad_()
    optimizer = ProdigyOptimizer([weight], betas=(0.9, 0.99))
    for gradient, expected in zip(GRADIENTS, vectors["prodigy"]["steps"], strict=True):
        weight.grad = double(gradient)
        optimizer.step()
        near(weight, expected["W"], atol=1e-12)
        assert optimizer.param_groups[0]["distance"] == pytest.approx(expected["d"], rel=1e-9)


def test_prodigy_on_a_quadratic(vectors: dict[str, Any]) -> None:
    weight = double(1.0).requires_grad_()
    optimizer = ProdigyOptimizer([weight], d0=0.01)
    for step in range(1, 41):
        weight.grad = weight.detach() - 5
        optimizer.step()
        if str(step) in vectors["prodigy_quadratic"]["d"]:
            expected = vectors["prodigy_quadratic"]["d"][str(step)]
            assert optimizer.param_groups[0]["distance"] == pytest.approx(expected, abs=1e-9)
            near(weight, vectors["prodigy_quadratic"]["w"][str(step)])


def test_schedule_free_prodigy_vectors(vectors: dict[str, Any]) -> None:
    weight = double(W0).requires_grad_()
    optimizer = ScheduleFreeProdigyOptimizer([weight], weight_decay=0.1, d0=0.01)
    (group,) = optimizer.param_groups
    for gradient, expected in zip(GRADIENTS, vectors["schedule_free_prodigy"]["steps"], strict=True):
        near(weight, expected["y"])
        weight.grad = double(gradient)
        optimizer.step()
        near(optimizer.base_iterate(group, [weight])[0], expected["z"])
        near(optimizer.averages()[weight], expected["x"])
        assert group["distance"] == pytest.approx(expected["d"], abs=1e-9)
        assert group["share"] == pytest.approx(expected["c"], abs=1e-9)


@pytest.mark.parametrize("careful", [False, True])
def test_prodigy_is_the_packages(careful: bool) -> None:
    ours = random_weights()
    theirs = twins(ours)
    a = ProdigyOptimizer(
        ours, weight_decay=0.1, d0=0.01, growth_rate=1.5, bias_correction=careful, safeguard_warmup=careful
    )
    b = prodigyopt.Prodigy(
        theirs, weight_decay=0.1, d0=0.01, growth_rate=1.5, use_bias_correction=careful, safeguard_warmup=careful
    )
    for k in range(20):
        for one, other in zip(ours, theirs, strict=True):
            one.grad, other.grad = one.detach() - 4, other.detach() - 4
        for optimizer in (a, b):
            optimizer.param_groups[0]["lr"] = min(1.0, (k + 1) / 5)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # the package sums in float32
    assert a.param_groups[0]["distance"] > 0.011


@pytest.mark.parametrize("rule", [ProdigyOptimizer, ScheduleFreeProdigyOptimizer])
def test_prodigy_does_not_see_the_losss_scale(rule: Any) -> None:
    found = []
    for scale in (1.0, 1024.0):
        weights = random_weights()
        optimizer = rule(weights, eps=0.0, d0=1e-3)
        for _ in range(30):
            for weight in weights:
                weight.grad = scale * (weight.detach() - 3)
            optimizer.step()
        found.append([weight.detach().clone() for weight in weights])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-9)
    assert optimizer.param_groups[0]["distance"] > 0.01


def test_prodigy_stands_still_without_gradient_and_wants_one_group() -> None:
    weights = random_weights()
    before = twins(weights)
    optimizer = ProdigyOptimizer(weights, weight_decay=0.1)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(weights, before, rtol=0, atol=0)
    with pytest.raises(ValueError, match="one group"):
        ProdigyOptimizer([{"params": [weight]} for weight in weights])


# Amos


@pytest.mark.parametrize("style", ["adam", "reduced"])
def test_amos_vectors(style: Any, vectors: dict[str, Any]) -> None:
    expected = vectors[f"amos_{style}"]
    weight = double(W0).requires_grad_()
    optimizer = AmosOptimizer(
        [Variable(weight=weight, scale=0.5)], lr=0.1, betas=(0.95, 0.999), extra_decay=0.002, style=style
    )
    found = []
    for step, gradient in enumerate(GRADIENTS[:2], start=1):
        weight.grad = double(gradient)
        optimizer.step()
        found.append(weight.detach().clone())
        near(optimizer.state[weight]["b"], [expected[f"b{step}"]])
    check(found, expected)


@pytest.mark.parametrize("style", ["adam", "reduced"])
def test_amos_on_groups_is_amos_on_each(style: Any) -> None:
    """Rows that are groups move as variables of their own; a row without gradient only decays."""
    torch.manual_seed(0)
    table = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    rows = [row.detach().clone().requires_grad_() for row in table]
    options = {"lr": 0.1, "betas": (0.9, 0.98), "extra_decay": 0.01, "style": style}
    whole = AmosOptimizer([Variable(weight=table, scale=0.7, groups=3)], **options)
    single = AmosOptimizer([Variable(weight=row, scale=0.7) for row in rows], **options)
    for _ in range(6):
        table.grad = torch.randn_like(table)
        table.grad[1] = 0
        for row, gradient in zip(rows, table.grad, strict=True):
            row.grad = gradient.clone()
        whole.step()
        single.step()
    torch.testing.assert_close(table, torch.stack(rows), rtol=0, atol=1e-12)


def test_amos_rates_and_sizes(vectors: dict[str, Any]) -> None:
    expected = vectors["amos_base_lr"]
    assert base_rate(expected["max_k"], expected["converge_steps"]) == pytest.approx(expected["base_lr"], abs=1e-9)
    assert tau(1) == 0
    weight = torch.zeros(6, 8)
    assert expected_scale(ParameterKind.WEIGHT, weight) == 0.5
    assert expected_scale(ParameterKind.ATTENTION_OUT, weight) == pytest.approx(8**-0.5)
    assert expected_scale(ParameterKind.CONV_WEIGHT, torch.zeros(6, 4, 2, 2)) == 0.25
    assert expected_scale(ParameterKind.EMBEDDING, weight) == 1
    assert expected_scale(ParameterKind.LAYER_NORM_SCALE, weight[0]) == 1
    assert expected_scale(ParameterKind.LAYER_NORM_BIAS, weight[0]) == 0.5


# LAWA
