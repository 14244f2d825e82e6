"""AMUSE: the specification's numbers, what its averages are, and where it reduces to Muon."""

from typing import Any

import pytest
import torch
from tasks import WorkloadTask, network_task
from torch import Tensor
from toy import BATCH, ToyTask, start, train
from vectors import GRADIENTS, W0, double

from timetrial.algorithms.amuse import AmuseOptimizer, closed_form_interpolation
from timetrial.algorithms.muon import MuonOptimizer
from timetrial.algorithms.parts.averaging import batch_norm_statistics
from timetrial.algorithms.parts.orthogonal import exact_polar

OPTIONS: dict[str, Any] = {"lr": 0.1, "warmup": 2, "weight_decay": 0.05, "orthogonalize": exact_polar}


def steps_of(**options: Any) -> list[dict[str, Any]]:
    """Three steps of the fixture with a linear warm-up of the rate: x, y, z and the group's numbers after each."""
    weight = double(W0).requires_grad_()
    optimizer = AmuseOptimizer([weight], **{**OPTIONS, **options})
    (group,) = optimizer.param_groups
    found = []
    for step, gradient in enumerate(GRADIENTS, start=1):
        group["lr"] = 0.1 * min(1.0, step / 2)
        optimizer.to_gradient_point()
        weight.grad = double(gradient)
        optimizer.step()
        y = weight.detach().clone()
        optimizer.to_average()
        numbers = {"beta": group["interpolation"], "c": group["lr"] ** 2 / group["weight_sum"], "lr": group["lr"]}
        found.append({"z": optimizer.state[weight]["base"].clone(), "x": weight.detach().clone(), "y": y, **numbers})
    return found


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("amuse_muon_exact_polar", {}),
        ("amuse_muon_upstream_unmix", {"upstream_inversion": True}),
        ("amuse_adamw", {"matrix": False}),
    ],
)
def test_vectors(vectors: dict[str, Any], key: str, options: dict[str, Any]) -> None:
    for found, wanted in zip(steps_of(**options), vectors[key]["steps"], strict=True):
        for name in ("x", "y", "z"):
            torch.testing.assert_close(found[name], double(wanted[name]), rtol=0, atol=1e-9)
        for name in ("beta", "c", "lr"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-12)


def test_closed_form_of_the_interpolation(vectors: dict[str, Any]) -> None:
    for step, wanted in vectors["amuse_beta_paper_uniform_c"]["beta"].items():
        found = closed_form_interpolation(int(step), warmup=2000, start=0.4, rho=0.8)
        assert found == pytest.approx(wanted, abs=1e-12)


def interpolations(last: int, **options: Any) -> dict[int, float]:
    """The interpolation after each step of a run with warm-up."""
    optimizer = AmuseOptimizer([torch.zeros(1, 1)], lr=1.0, warmup=2000, beta1=0.4, rho=0.8, **options)
    (group,) = optimizer.param_groups
    found = {}
    for step in range(1, last + 1):
        group["step"], group["lr"] = step, min(1.0, step / 2000)
        optimizer._advance(group)
        found[step] = group["interpolation"]
    return found


def test_interpolation_of_the_public_code(vectors: dict[str, Any]) -> None:
    found = interpolations(16000)
    for step, wanted in vectors["amuse_beta_code_linear_warmup"]["beta"].items():
        assert found[int(step)] == pytest.approx(wanted, abs=1e-9)


def test_uniform_averaging_has_the_closed_form(vectors: dict[str, Any]) -> None:
    uniform, closed = interpolations(8000, rate_power=0.0), interpolations(8000, closed_form=True)
    for step, wanted in vectors["amuse_beta_paper_uniform_c"]["beta"].items():
        if int(step) <= 8000:
            assert uniform[int(step)] == pytest.approx(wanted, abs=1e-9)
            assert closed[int(step)] == pytest.approx(wanted, abs=1e-12)


def test_the_average_is_that_of_the_base_iterates() -> None:
    found = steps_of()
    for last in range(1, 4):
        weights = [step["lr"] ** 2 for step in found[:last]]
        mean = sum(weight * step["z"] for weight, step in zip(weights, found, strict=False)) / sum(weights)
        torch.testing.assert_close(found[last - 1]["x"], mean)


def test_amuse_without_averaging_is_muon() -> None:
    """Where the newest iterate has all the weight, x = y = z."""
    weight, twin = double(W0).requires_grad_(), double(W0).requires_grad_()
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.95, "weight_decay": 0.05}
    ours = AmuseOptimizer([weight], **options, warmup=3, time_power=100.0)
    muon = MuonOptimizer([twin], **options, scale="match_rms")
    for gradient in GRADIENTS:
        for each, optimizer in ((weight, ours), (twin, muon)):
            each.grad = double(gradient) + 0.1 * each.detach()
            optimizer.step()
        torch.testing.assert_close(weight, twin)


@pytest.mark.parametrize("options", [{"warmup": 0}, {"beta1": 0.0}])
def test_what_cannot_be_inverted_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AMUSE needs"):
        AmuseOptimizer([torch.zeros(1, 1)], **{**OPTIONS, **options})


def weights_of(task: ToyTask) -> list[Tensor]:
    return [weight.detach().clone() for weight in task.model.parameters()]


def test_it_trains_at_y_and_evaluates_at_x() -> None:
    task = network_task()
    algorithm = start("amuse", {}, task)
    train(algorithm, task, 7)
    y = weights_of(task)
    algorithm.prepare_for_eval(task)
    x = weights_of(task)
    assert any(not torch.allclose(one, other) for one, other in zip(x, y, strict=True))
    algorithm.prepare_for_eval(task)
    assert all(torch.equal(one, other) for one, other in zip(x, weights_of(task), strict=True))
    algorithm.optimizer.to_gradient_point()
    for one, other in zip(weights_of(task), y, strict=True):
        torch.testing.assert_close(one, other)


def test_batch_statistics_are_those_of_the_average() -> None:
    """Only forward passes at x, every third step, move them."""
    task = network_task()
    algorithm: Any = start("amuse", {}, task)
    calls: list[tuple[bool, bool]] = []
    forward = task.forward

    def noted(batch: Any, **options: Any) -> Tensor:
        at_average = algorithm.optimizer.param_groups[0]["at_average"]
        calls.append((at_average, options.get("update_batch_norm", True)))
        return forward(batch)

    task.forward = noted  # type: ignore[method-assign]
    for _ in range(4):
        task.backward = lambda batch, **options: (noted(batch, **options).mean().backward(), None)  # type: ignore[assignment,misc,return-value]
        algorithm.step(task, BATCH)
        task.step += 1
    assert calls == [(True, True), (False, False), (False, False), (False, False), (True, True), (False, False)]


def test_batch_statistics_of_padded_batches_are_those_of_the_average_too() -> None:
    """The speech models' batch norm, which is none of PyTorch's classes, is not moved at y."""
    task = WorkloadTask("librispeech_deepspeech")
    algorithm = start("amuse", {}, task)
    statistics = batch_norm_statistics(task.model)
    assert statistics
    moved = []
    for _ in range(4):
        before = [each.clone() for each in statistics]
        algorithm.step(task, task.batch)
        moved.append(any(not torch.equal(*pair) for pair in zip(before, statistics, strict=True)))
        task.step += 1
    assert moved == [True, False, False, True]
