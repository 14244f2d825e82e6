"""Schedule-Free against the vectors, its package, and the rules it reduces to; evaluations elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schedulefree
import torch
from settings import SETTINGS
from torch import Tensor
from toy import Problem, Quadratic, ToyTask, start, train
from twins import give_gradients, near, random_weights, twins
from vectors import GRADIENTS, W0, double

from timetrial.algorithms.parts.averaging import batch_norm_statistics
from timetrial.algorithms.parts.schedule_free import ScheduleFreeOptimizer
from timetrial.algorithms.schedule_free_adamw import ScheduleFreeAdamWOptimizer, failed
from timetrial.algorithms.schedule_free_sgd import ScheduleFreeSGDOptimizer
from timetrial.algorithms.weighted_schedule_free_adamw import WeightedScheduleFreeAdamWOptimizer

FORM = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}
RULES: dict[str, Callable[[list[Tensor]], ScheduleFreeOptimizer]] = {
    "schedule_free_v1": lambda w: ScheduleFreeAdamWOptimizer(w, **FORM, r=0.75, decay_at="x", correction="step"),
    "schedule_free_v2": lambda w: ScheduleFreeAdamWOptimizer(w, **FORM, running_max=False, correction="step"),
    "schedule_free_pkg": lambda w: ScheduleFreeAdamWOptimizer(w, **FORM),
    "schedule_free_weighted": lambda w: WeightedScheduleFreeAdamWOptimizer(
        w, lr=0.1, beta1=0.9, r=1.0, running_max=False, beta2=0.99, eps=1e-8, weight_decay=0.1
    ),
    "schedule_free_sgd_pkg": lambda w: ScheduleFreeSGDOptimizer(w, lr=0.1, beta1=0.9, weight_decay=0.01),
}


@pytest.mark.parametrize("key", RULES)
def test_schedule_free_vectors(key: str, vectors: dict[str, Any]) -> None:
    weight = double(W0).requires_grad_()
    optimizer = RULES[key]([weight])
    (group,) = optimizer.param_groups
    for k, (gradient, expected) in enumerate(zip(GRADIENTS, vectors[key]["steps"], strict=True)):
        near(weight, expected["y"])
        weight.grad = double(gradient)
        group["lr"] = 0.1 * min(1.0, (k + 1) / 2)
        optimizer.step()
        near(optimizer.base_iterate(group, [weight])[0], expected["z"])
        near(optimizer.averages()[weight], expected["x"])
        assert group["share"] == pytest.approx(expected["c"], abs=1e-9)


@pytest.mark.parametrize("r", [0.0, 0.75])
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_schedule_free_is_the_packages(kind: str, r: float) -> None:
    ours = random_weights()
    theirs = twins(ours)
    a: ScheduleFreeOptimizer
    if kind == "adamw":
        a = ScheduleFreeAdamWOptimizer(ours, lr=0.02, betas=(0.95, 0.99), weight_decay=0.3, r=r)
        b: Any = schedulefree.AdamWScheduleFree(
            theirs, lr=0.02, betas=(0.95, 0.99), weight_decay=0.3, warmup_steps=4, r=r, foreach=False
        )
    else:
        a = ScheduleFreeSGDOptimizer(ours, lr=0.02, beta1=0.95, weight_decay=0.3, r=r)
        b = schedulefree.SGDScheduleFree(
            theirs, lr=0.02, momentum=0.95, weight_decay=0.3, warmup_steps=4, r=r, foreach=False
        )
    b.train()
    for k in range(12):
        give_gradients(ours, theirs)
        a.param_groups[0]["lr"] = 0.02 * min(1.0, (k + 1) / 4)
        a.step()
        b.step()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    b.eval()
    averages = a.averages()
    torch.testing.assert_close([averages[weight] for weight in ours], [w.detach() for w in theirs], rtol=0, atol=1e-11)


@pytest.mark.parametrize("key", ["schedule_free_pkg", "schedule_free_v2", "schedule_free_sgd_pkg"])
def test_with_gradients_at_the_base_iterate_it_is_the_base_rule(key: str) -> None:
    """b1 = 0 makes y = z: AdamW without momentum (its correction aside), SGD with its decay."""
    ours = random_weights()
    theirs = twins(ours)
    optimizer = RULES[key](ours)
    optimizer.param_groups[0]["beta1"] = 0.0
    base: torch.optim.Optimizer
    if key == "schedule_free_sgd_pkg":
        base = torch.optim.SGD(theirs, lr=0.1, weight_decay=0.01)
    else:
        (group,) = optimizer.param_groups
        if group["correction"] == "step":  # which leaves eps alone, and scales the decay
            group.update(eps=0.0, weight_decay=0.0)
        options = {"eps": group["eps"], "weight_decay": group["weight_decay"]}
        base = torch.optim.AdamW(theirs, lr=0.1, betas=(0.0, 0.99), **options)
    for _ in range(5):
        give_gradients(ours, theirs)
        optimizer.step()
        base.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("key", RULES)
def test_equal_weights_give_the_plain_mean(key: str) -> None:
    weights = random_weights()
    optimizer = RULES[key](weights)
    (group,) = optimizer.param_groups
    group["p"] = 0.0
    if key != "schedule_free_weighted":  # whose r also weighs the gradients
        group["r"] = 0.0
    iterates = []
    for _ in range(7):
        give_gradients(weights)
        optimizer.step()
        iterates.append([each.clone() for each in optimizer.base_iterate(group, weights)])
    counts = [(k + 1) ** group["r"] for k in range(7)]
    for weight, values in zip(weights, zip(*iterates, strict=True), strict=True):
        mean = sum(count * value for count, value in zip(counts, values, strict=True)) / sum(counts)
        torch.testing.assert_close(optimizer.averages()[weight], mean, rtol=0, atol=1e-10)


def test_dual_averaging_with_equal_weights_and_no_decay_is_the_plain_rule() -> None:
    ours = random_weights()
    theirs = twins(ours)
    a = WeightedScheduleFreeAdamWOptimizer(
        ours, lr=0.1, beta1=0.9, r=0.0, running_max=False, beta2=0.99, eps=1e-8, weight_decay=0.1
    )
    b = RULES["schedule_free_pkg"](theirs)
    for _ in range(5):
        give_gradients(ours, theirs)
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def losses(*values: float) -> list[dict[str, float]]:
    return [{"validation/accuracy": 0.0, "validation/loss": value} for value in values]


def test_what_counts_as_a_failed_training() -> None:
    assert not failed([1.0, 1.0, 1.0])
    assert failed([1.0, 1.0, 1.0, 1.0])
    assert failed([1.0, 2.0, float("nan"), float("nan"), float("nan")])
    assert not failed([1.0, 0.9, 0.9, 0.9, 0.9])
    assert not failed([1.0, 3.0, 3.0, 3.0, 2.9])


def test_a_failed_training_starts_over_at_half_the_rate_also_after_a_resume() -> None:
    torch.manual_seed(0)
    task = ToyTask(Quadratic(), step_hint=100)
    initial = [weight.detach().clone() for weight in task.model.parameters()]
    algorithm: Any = start("schedule_free_adamw", {"warmup_factor": 0.05}, task)
    train(algorithm, task, 11)
    task.evaluations = tuple(losses(1.0, 1.0, 1.0, 1.0))
    algorithm.prepare_for_eval(task)

    again: Any = start("schedule_free_adamw", {"warmup_factor": 0.05}, task)
    again.load_state_dict(algorithm.state_dict())
    train(again, task, 1)
    (group,) = again.optimizer.param_groups
    assert group["step"] == 1
    assert group["initial_lr"] == 0.00125
    assert group["lr"] == pytest.approx(0.00125 / 5)  # the warm-up of 5 steps begins anew
    for weight, old in zip(task.model.parameters(), initial, strict=True):
        assert (weight - old).abs().max() < 0.002
    train(again, task, 1)
    assert group["step"] == 2  # no restart without a new evaluation


def test_the_external_ruleset_does_not_restart() -> None:
    task = ToyTask(Quadratic(), step_hint=100)
    algorithm: Any = start("schedule_free_adamw", {"restarts": False}, task)
    train(algorithm, task, 11)
    task.evaluations = tuple(losses(1.0, 1.0, 1.0, 1.0))
    train(algorithm, task, 1)
    assert algorithm.optimizer.param_groups[0]["step"] == 12


# Training at one point, evaluation at another

ELSEWHERE = ("schedule_free_adamw", "lawa_queue", "lawa_ema", "single_worker_diloco", "schedule_free_prodigy")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_evaluation_leaves_no_trace_on_the_training(name: str) -> None:
    results = []
    for evaluated in (False, True):
        torch.manual_seed(0)
        task = ToyTask(Quadratic(), step_hint=200)
        algorithm = start(name, SETTINGS[name][0], task)
        for _ in range(6):
            train(algorithm, task, 7)
            if evaluated:
                trained = task.model.layer.weight.detach().clone()
                algorithm.prepare_for_eval(task)
                seen = task.model.layer.weight.detach().clone()
                algorithm.prepare_for_eval(task)  # as good as once
                assert torch.equal(seen, task.model.layer.weight)
                assert not torch.equal(seen, trained)
        train(algorithm, task, 1)
        results.append(task.model.layer.weight.detach().clone())
    assert torch.equal(*results)


class Normed(Problem):
    """A regression on the batch norm of random data."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.last = torch.nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        data = torch.linspace(-1, 2, 24).reshape(8, 3).sin()
        return self.last(self.norm(self.first(data))).square().mean().expand(len(inputs))


class NormedTask(ToyTask):
    """A task that heeds `update_batch_norm`, and notes it."""

    def forward(self, batch: Any, *, train: bool = True, update_batch_norm: bool = True, **options: Any) -> Tensor:
        self.model.train(train)
        self.model.norm.track_running_stats = update_batch_norm
        self.passes = [*getattr(self, "passes", []), (update_batch_norm, torch.is_grad_enabled())]
        return super().forward(batch)

    def backward(self, batch: Any, **options: Any) -> Any:
        loss = self.loss(batch, self.forward(batch, update_batch_norm=options["update_batch_norm"]))
        loss.mean.backward()
        return loss


@pytest.mark.parametrize(("passes", "steps_with"), [(1, {0, 3}), (2, {1, 2, 4, 5})])
def test_v2_takes_batch_norms_statistics_at_the_average(passes: int, steps_with: set[int]) -> None:
    torch.manual_seed(0)
    task = NormedTask(Normed(), step_hint=40)
    algorithm: Any = start("schedule_free_adamw_v2", {"statistics_passes": passes, "learning_rate": 0.1}, task)
    for step in range(6):
        task.passes = []
        before = [each.clone() for each in batch_norm_statistics(task.model)]
        averages = algorithm.optimizer.averages()
        weight = averages.get(task.model.first.weight, task.model.first.weight).detach().clone()
        bias = averages.get(task.model.first.bias, task.model.first.bias).detach().clone()
        train(algorithm, task, 1)
        assert task.passes == [*([(True, False)] if step in steps_with else []), (False, True)]
        if step in steps_with:
            hidden = torch.linspace(-1, 2, 24).reshape(8, 3).sin() @ weight.T + bias
            torch.testing.assert_close(task.model.norm.running_mean, 0.9 * before[0] + 0.1 * hidden.mean(0))
        else:
            assert torch.equal(task.model.norm.running_mean, before[0])


@pytest.mark.parametrize("name", ["lawa_queue", "lawa_ema"])
def test_lawa_averages_parameters_alone_as_entered(name: str) -> None:
    torch.manual_seed(0)
    task = NormedTask(Normed(), step_hint=40)
    algorithm = start(name, {"start_factor": 0.0}, task)
    train(algorithm, task, 5)
    trained = {key: value.clone() for key, value in task.model.state_dict().items()}
    algorithm.prepare_for_eval(task)
    shown = {key: value.clone() for key, value in task.model.state_dict().items()}
    changed = {key for key in trained if not torch.equal(shown[key], trained[key])}
    assert changed == {key for key, _ in task.model.named_parameters()}
    algorithm.back_to_training(task)  # type: ignore[attr-defined]
    assert all(torch.equal(value, trained[key]) for key, value in task.model.state_dict().items())
