"""LAWA, DiLoCo and EMA-Nesterov against the vectors, by hand, and against the rules they reduce to."""

from __future__ import annotations

from typing import Any

import torch
from toy import Quadratic, ToyTask, start, train
from twins import near
from vectors import GRADIENTS, W0, check, double

from timetrial.algorithms.ema_nesterov import follow, look_ahead
from timetrial.algorithms.single_worker_diloco import outer_step


def test_lawa_vector(vectors: dict[str, Any]) -> None:
    task = ToyTask(torch.nn.Linear(2, 2, bias=False, dtype=torch.float64), step_hint=1000)
    algorithm: Any = start("lawa_queue", {}, task)
    assert algorithm.evaluation_point(task) is None
    for weights in vectors["lawa"]["queue"]:
        algorithm.look([double(weights)])
    algorithm.prepare_for_eval(task)
    near(task.model.weight, vectors["lawa"]["average"])


def test_lawa_looks_when_it_should() -> None:
    torch.manual_seed(0)
    task = ToyTask(Quadratic(), step_hint=1000)
    algorithm: Any = start("lawa_queue", {}, task)
    looks = []
    algorithm.look = lambda tensors: looks.append(task.step + 1)
    train(algorithm, task, 30)
    assert looks == [20, 22, 24, 26, 28, 30]


def test_a_queue_of_one_or_an_average_without_memory_is_nadamw() -> None:
    for name, overrides in (
        ("lawa_queue", {"queue_length": 1, "start_factor": 0.0, "period_factor": 0.0001}),
        ("lawa_ema", {"average_beta": 0.0, "period_factor": 0.0001}),
    ):
        found = []
        for each, own in ((name, overrides), ("nadamw", {})):
            torch.manual_seed(0)
            task = ToyTask(Quadratic(), step_hint=50)
            algorithm = start(each, own, task)
            for _ in range(3):
                train(algorithm, task, 7)
                algorithm.prepare_for_eval(task)
            found.append(task.model.layer.weight.detach().clone())
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_the_moving_average_by_hand() -> None:
    task = ToyTask(torch.nn.Linear(1, 1, bias=False, dtype=torch.float64), step_hint=1000)
    algorithm: Any = start("lawa_ema", {"average_beta": 0.2}, task)
    for value in (1.0, 2.0, 4.0):  # shares of the old: 2/11, 0.2 (for 3/12), 0.2
        algorithm.look([double([[value]])])
    near(algorithm.evaluation_point(task)[0], [[0.2 * (0.2 * 1 + 0.8 * 2) + 0.8 * 4]])


# Outer steps


def test_diloco_vector(vectors: dict[str, Any]) -> None:
    expected = vectors["sw_diloco_outer"]
    slow, momentum = [double(W0)], [torch.zeros(2, 2, dtype=torch.float64)]
    fast = [slow[0] - double(expected["pseudo_grad"])]
    outer_step(slow, fast, momentum, outer_rate=0.3006, outer_momentum=0.7675)
    near(slow[0], expected["slow_new"])
    near(fast[0], expected["slow_new"])


def test_a_steady_drift_gains_what_momentum_promises() -> None:
    slow, momentum = [double([0.0])], [double([0.0])]
    for _ in range(100):
        before = slow[0].clone()
        outer_step(slow, [slow[0] + 1], momentum, outer_rate=0.3006, outer_momentum=0.7675)
    near(slow[0] - before, [0.3006 / (1 - 0.7675)])


def test_diloco_of_rate_one_without_momentum_is_its_inner_optimizer() -> None:
    shared = {"one_minus_beta1": 0.01, "beta2": 0.995, "weight_decay": 0.2, "warmup_factor": 0.0}
    found = []
    for name, own in (
        ("single_worker_diloco", {"outer_rate": 1.0, "outer_momentum": 0.0, "outer_period": 5}),
        ("adamw", {}),
    ):
        torch.manual_seed(0)
        task = ToyTask(Quadratic(), step_hint=100)
        algorithm = start(name, {**shared, **own, "learning_rate": 0.01}, task)
        train(algorithm, task, 20)
        algorithm.prepare_for_eval(task)
        found.append(task.model.layer.weight.detach().clone())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_diloco_keeps_its_period_but_in_a_very_short_run() -> None:
    for hint, period in ((1500, 75), (1_000_000, 75), (40, 2), (10, 1)):
        algorithm: Any = start("single_worker_diloco", {}, ToyTask(Quadratic(), step_hint=hint))
        assert algorithm._period == period


def test_ema_nesterov_vector(vectors: dict[str, Any]) -> None:
    weight = double(W0).requires_grad_()
    moves = [torch.zeros(2, 2, dtype=torch.float64)]
    inner = torch.optim.SGD([weight], lr=0.1)
    found = []
    for gradient in GRADIENTS[:2]:
        before = look_ahead([weight], moves, 0.9)
        weight.grad = double(gradient)
        inner.step()
        follow([weight], before, moves, 0.99)
        found.append(weight.detach().clone())
    check(found, vectors["ema_nesterov_sgd"])


def test_ema_nesterov_without_look_ahead_is_adamw() -> None:
    found = []
    for name, own in (("ema_nesterov", {"look_ahead": 0.0}), ("adamw", {})):
        torch.manual_seed(0)
        task = ToyTask(Quadratic(), step_hint=20)
        train(start(name, own, task), task, 10)
        found.append(task.model.layer.weight.detach().clone())
    assert torch.equal(*found)
