"""Norms of layers and what descends by them: Scion, modular norm descent, symmetry-compatible updates."""

import math
from typing import Any

import pytest
import torch
from tasks import network_task
from torch import Tensor
from toy import start, train
from twins import near, random
from vectors import GRADIENTS, check, double, replay

from timetrial.algorithms.modular_norm_descent import ModularNormOptimizer
from timetrial.algorithms.muon import MuonOptimizer
from timetrial.algorithms.parts.norms import DIRECTIONS
from timetrial.algorithms.parts.orthogonal import exact_polar, newton_schulz
from timetrial.algorithms.scion import ScionOptimizer, put_on_ball
from timetrial.algorithms.symmetry_compatible import symmetric_direction
from timetrial.api import LossType


def direction(norm: str, matrix: Tensor, polar: Any = exact_polar) -> Tensor:
    return DIRECTIONS[norm](matrix[None], polar)[0]


# Norms.


def test_dual_norms_and_steepest_steps(vectors: dict[str, Any]) -> None:
    wanted = vectors["dual_norms"]
    gradient = double(GRADIENTS[0])
    duals = {
        "max_entry": "l1",
        "spectral": "nuclear",
        "rms_to_rms": "rms_to_rms_dual",
        "frobenius": "fro",
        "row": "row_l2_sum",
        "column": "col_l2_sum",
    }
    for norm, key in duals.items():
        near((gradient * direction(norm, gradient)).sum(), wanted[key], atol=1e-7)  # lengths + 1e-8
    for norm, key in {"max_entry": "steepest_linf", "spectral": "steepest_spec"}.items():
        steepest = direction(norm, gradient)
        near(-(gradient * steepest).sum() * steepest, wanted[key])


def test_scions_table(vectors: dict[str, Any]) -> None:
    wanted, gradient = vectors["scion_lmo"], double(GRADIENTS[0])
    near(direction("rms_to_rms", gradient, newton_schulz), wanted["spectral"])
    near(direction("rms_to_rms", gradient), wanted["spectral_exact"])
    near(direction("sign", gradient), wanted["sign_norm"])
    near(direction("column_rms", gradient), wanted["colnorm"])
    near(direction("row_mean", gradient), wanted["rownorm"])
    near(direction("column_rms", double([[0.3], [-0.4]]))[:, 0], wanted["bias_rms"])


NORMS = {
    "max_entry": lambda m: m.abs().max(),
    "sign": lambda m: m.abs().max() * m.shape[1],
    "spectral": lambda m: torch.linalg.matrix_norm(m, 2),
    "rms_to_rms": lambda m: torch.linalg.matrix_norm(m, 2) * math.sqrt(m.shape[1] / m.shape[0]),
    "rms_to_rms_max": lambda m: torch.linalg.matrix_norm(m, 2) * min(1.0, math.sqrt(m.shape[1] / m.shape[0])),
    "frobenius": lambda m: m.norm(),
    "row": lambda m: m.norm(dim=1).max(),
    "row_mean": lambda m: m.norm(dim=1).max() * math.sqrt(m.shape[1]),
    "column": lambda m: m.norm(dim=0).max(),
    "column_rms": lambda m: m.norm(dim=0).max() / math.sqrt(m.shape[0]),
}


@pytest.mark.parametrize("norm", DIRECTIONS)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_directions_have_norm_one_and_none_is_steeper(norm: str, shape: tuple[int, int]) -> None:
    gradient = random(*shape)
    steepest = direction(norm, gradient)
    assert float(NORMS[norm](steepest)) == pytest.approx(1, abs=1e-6)
    best = float((gradient * steepest).sum())
    for seed in range(1, 20):
        other = gradient + random(*shape, seed=seed)
        assert float((gradient * other).sum() / NORMS[norm](other)) <= best + 1e-9


# Scion.


def test_scion_vectors(vectors: dict[str, Any]) -> None:
    wanted = vectors["scion_step"]
    for constrained, name in ((True, "constrained"), (False, "unconstrained")):
        found = replay(
            lambda w, c=constrained: ScionOptimizer(w, lr=0.1, radius=3.0, constrained=c, orthogonalize=exact_polar), 2
        )
        check(found, {key.removeprefix(f"{name}_"): value for key, value in wanted.items() if key.startswith(name)})


OBLONG = [random(5, 3, seed=seed).tolist() for seed in range(3)]


def oblong(build: Any) -> Tensor:
    weight = random(5, 3, seed=9).requires_grad_()
    optimizer = build([weight])
    for gradient in OBLONG:
        weight.grad = double(gradient)
        optimizer.step()
    return weight.detach()


def test_unconstrained_spectral_scion_is_muon_without_nesterov() -> None:
    """At the scale sqrt(out / in), which for a tall matrix is the original one."""
    ours = oblong(lambda w: ScionOptimizer(w, lr=0.01, radius=2.0, constrained=False))
    muon = oblong(lambda w: MuonOptimizer(w, lr=0.02, momentum=0.9, nesterov=False))
    torch.testing.assert_close(ours, muon)


def test_constrained_scion_is_muon_with_decay() -> None:
    ours = oblong(lambda w: ScionOptimizer(w, lr=0.01, radius=2.0))
    muon = oblong(lambda w: MuonOptimizer(w, lr=0.02, momentum=0.9, nesterov=False, weight_decay=0.5))
    torch.testing.assert_close(ours, muon)


def test_scion_of_the_infinity_norm_is_sign_descent() -> None:
    found = replay(lambda w: ScionOptimizer(w, lr=0.1, averaging=1.0, norm="max_entry", constrained=False), 3)
    wanted = double([[0.5, -1.0], [1.5, 2.0]])
    for weight, gradient in zip(found, GRADIENTS, strict=True):
        wanted = wanted - 0.1 * double(gradient).sign()
        torch.testing.assert_close(weight, wanted)


@pytest.mark.parametrize("norm", ["rms_to_rms", "sign", "row_mean", "column_rms"])
def test_the_constrained_form_stays_in_its_ball(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.empty(5, 3, dtype=torch.float64, requires_grad=True)
    put_on_ball(weight, norm="sign" if norm == "sign" else "rms_to_rms", radius=1.0, stack=1, generator=generator)
    with torch.no_grad():
        weight /= NORMS[norm](weight)
    optimizer = ScionOptimizer([weight], lr=0.3, norm=norm, orthogonalize=exact_polar)
    for seed in range(30):
        weight.grad = random(5, 3, seed=seed)
        optimizer.step()
        assert float(NORMS[norm](weight.detach())) <= 1 + 1e-6


def test_scion_starts_on_its_balls() -> None:
    task = network_task()
    start("scion", {"hidden_radius": 5.0, "output_radius": 16.0}, task)
    model = task.model
    assert set(model.embedding.weight.detach().unique().tolist()) == {-2.0, 2.0}  # 16 / 8
    near(torch.linalg.svdvals(model.hidden.weight.detach()).double(), [5 * math.sqrt(2)] * 8, atol=1e-5)
    # (8, 8, 3): 5 sqrt(8 / 8) / 3.
    near(torch.linalg.svdvals(model.convolution.weight.detach().flatten(1)).double(), [5 / 3] * 8, atol=1e-5)
    assert not model.output.weight.any()
    assert not model.hidden.bias.any()
    assert model.norm.weight.eq(1).all()


def test_scions_radius_of_a_convolution_is_the_published_scale() -> None:
    """v = sqrt(out / in) / k^2 NS5 of the flattened (out, in k^2)."""
    task = network_task()
    algorithm: Any = start("unconstrained_scion", {"averaging": 1.0, "hidden_radius": 1.0, "learning_rate": 1.0}, task)
    weight = task.model.convolution.weight
    before = weight.detach().clone()
    for each in task.model.parameters():
        each.grad = torch.randn_like(each)
    algorithm.optimizer.step()
    polar = newton_schulz(weight.grad.flatten(1)[None])[0]
    torch.testing.assert_close((before - weight.detach()).flatten(1), polar / 3, rtol=1e-4, atol=1e-6)


# Modular norm descent.


def test_modular_descent_by_the_largest_entry_is_sign_descent() -> None:
    found = replay(lambda w: ModularNormOptimizer(w, lr=0.1, momentum=0.0, norm="max_entry"), 3)
    signs = replay(lambda w: ScionOptimizer(w, lr=0.1, averaging=1.0, norm="max_entry", constrained=False), 3)
    for one, other in zip(found, signs, strict=True):
        torch.testing.assert_close(one, other)


def test_modular_descent_by_the_spectral_norm_is_muon() -> None:
    options: dict[str, Any] = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    ours = replay(lambda w: ModularNormOptimizer(w, **options, norm="spectral"), 3)
    muon = replay(lambda w: MuonOptimizer(w, **options, nesterov=False), 3)
    for one, other in zip(ours, muon, strict=True):
        torch.testing.assert_close(one, other)


def test_shampoo_without_averages_is_the_spectral_norm(vectors: dict[str, Any]) -> None:
    gradient = double(GRADIENTS[0])
    left, right = gradient @ gradient.mT, gradient.mT @ gradient
    roots = []
    for gram in (left, right):
        values, basis = torch.linalg.eigh(gram)
        roots.append(basis @ torch.diag(values**-0.25) @ basis.mT)
    near(direction("spectral", gradient), (roots[0] @ gradient @ roots[1]).tolist())


def test_an_embeddings_rows_are_the_columns_of_the_theory() -> None:
    weight = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    weight.grad = random(4, 3)
    ModularNormOptimizer([weight], lr=1.0, norm="column_rms", transposed=True).step()
    near(weight.detach().norm(dim=1), [math.sqrt(3)] * 4, atol=1e-5)  # lengths + 1e-8


def test_any_norm_may_be_given_to_a_role() -> None:
    for norm in DIRECTIONS:
        task = network_task()
        roles = {f"{role}_norm": norm for role in ("hidden", "embedding", "output", "vector")}
        train(start("modular_norm_descent", roles, task), task, 2)
        assert all(weight.isfinite().all() for weight in task.model.parameters())


# Symmetry-compatible updates.


def exact_root(grams: Tensor) -> Tensor:
    """Without the 1e-8 that the rules add: the vectors are of exact polar factors."""
    values, basis = torch.linalg.eigh(grams - 1e-8 * torch.eye(grams.shape[-1], dtype=grams.dtype))
    return (basis * values.rsqrt().unsqueeze(-2)) @ basis.mT


RULES = {
    "rownorm": {"rule": "row"},
    "rownorm_centered": {"rule": "row", "centred": True},
    "right_polar": {"rule": "polar_gradient", "power": 0.0},
    "right_polar_centered": {"rule": "polar_gradient", "power": 0.0, "centred": True},
    "hybrid_polar_then_row": {"rule": "polar_then_row"},
    "hybrid_row_then_polar_alpha1": {"rule": "row_then_polar"},
}


@pytest.mark.parametrize("key", RULES)
def test_symmetry_vectors(vectors: dict[str, Any], key: str) -> None:
    matrix = double(vectors["symmetry"]["M"])[None]
    near(symmetric_direction(matrix, **RULES[key], root=exact_root)[0], vectors["symmetry"][key])


def test_nuclear_norm_vector(vectors: dict[str, Any]) -> None:
    wanted = vectors["symmetry"]
    found = symmetric_direction(double(wanted["M"])[None], "polar_gradient", root=exact_root)[0]
    near(found, (wanted["right_nuclear"] * double(wanted["right_polar"])).tolist(), atol=1e-7)


@pytest.mark.parametrize("rule", ["row", "polar_gradient", "polar_then_row", "row_then_polar"])
@pytest.mark.parametrize("shape", [(7, 3), (3, 7)])
def test_rules_commute_with_their_symmetries(rule: str, shape: tuple[int, int]) -> None:
    m = random(*shape)
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(random(shape[1], shape[1], seed=2))[0]
    found = symmetric_direction((m[order] @ turn)[None], rule)[0]
    torch.testing.assert_close(found, symmetric_direction(m[None], rule)[0][order] @ turn, rtol=1e-5, atol=1e-6)
    centred = symmetric_direction(m[None], rule, centred=True)
    torch.testing.assert_close(centred.sum(dim=1), torch.zeros(1, shape[1], dtype=m.dtype))
    shifted = symmetric_direction((m + random(1, shape[1], seed=3))[None], rule, centred=True)
    torch.testing.assert_close(shifted, centred, rtol=1e-5, atol=1e-6)


def test_rules_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="unknown rule 'column'"):
        symmetric_direction(random(1, 2, 2), "column")


@pytest.mark.parametrize(
    ("loss_type", "centred"),
    [(LossType.SOFTMAX_CROSS_ENTROPY, True), (LossType.CTC_LOSS, True), (LossType.SIGMOID_CROSS_ENTROPY, False)],
)
def test_heads_are_centred_where_the_loss_sees_no_shift(loss_type: LossType, centred: bool) -> None:
    task = network_task()
    task.loss_type = loss_type
    algorithm: Any = start("symmetry_compatible", {}, task)
    (group,) = [group for group in algorithm.optimizer.param_groups if group["params"][0] is task.model.output.weight]
    assert group["centred"] == centred
    assert group["rule"] == "row"
