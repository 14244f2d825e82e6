"""The step that algorithms share, and submissions made of an optimizer in one call."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy import PROBLEMS, ToyTask, train

from timetrial.algorithms.registry import identify, load_submission
from timetrial.api import Hyperparameters, SearchSpace, from_optimizer, log_uniform

SUBMISSION = """
import torch
from timetrial.api import SearchSpace, from_optimizer, log_uniform

Mine = from_optimizer(
    torch.optim.RAdam,
    hyperparameters={"lr": 0.05, "weight_decay": 0.0, "warmup_factor": 0.1},
    search_space=SearchSpace(lr=log_uniform(1e-3, 1e-1)),
)
"""


def run(algorithm, point, steps=200):
    torch.manual_seed(0)
    task = ToyTask(PROBLEMS["quadratic"](), step_hint=steps)
    instance = algorithm()
    instance.setup(task, Hyperparameters({**algorithm.hyperparameters, **point}))
    first = float(task.model.value().detach())
    train(instance, task, steps)
    return instance, float(task.model.value().detach()) / first


def test_a_file_of_one_call_is_a_submission(tmp_path: Path) -> None:
    path = tmp_path / "radam.py"
    path.write_text(SUBMISSION)
    algorithm = load_submission(identify(str(path)).location)
    assert algorithm.search_space == SearchSpace(lr=log_uniform(1e-3, 1e-1))
    instance, remaining = run(algorithm, {})
    assert isinstance(instance.optimizer, torch.optim.RAdam)
    assert remaining < 0.1
    assert instance.optimizer.param_groups[0]["lr"] < 1e-4, "down a cosine by default"


def test_the_optimizer_gets_what_is_not_the_steps_own() -> None:
    seen = {}

    def factory(parameters, **options):
        seen.update(options)
        return torch.optim.SGD(parameters, **options)

    point = {"lr": 0.01, "momentum": 0.9, "label_smoothing": 0.1, "dropout_rate": 0.0, "grad_clip": 1.0}
    run(from_optimizer(factory, hyperparameters=point), {}, steps=3)
    assert seen == {"lr": 0.01, "momentum": 0.9}


def test_a_schedule_of_ones_own() -> None:
    def halves(step, task, hyperparameters):
        return 0.5**step

    instance, _ = run(from_optimizer(torch.optim.SGD, hyperparameters={"lr": 0.01}, schedule=halves), {}, steps=4)
    assert instance.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 / 8)


def test_every_group_keeps_its_own_base_rate() -> None:
    def factory(parameters, lr):
        first, *others = parameters
        return torch.optim.SGD([{"params": [first], "lr": 10 * lr}, {"params": others, "lr": lr}])

    instance, _ = run(from_optimizer(factory, hyperparameters={"lr": 0.001}), {}, steps=5)
    one, other = (group["lr"] for group in instance.optimizer.param_groups)
    assert one == pytest.approx(10 * other)


def test_the_whole_gradient_is_clipped_to_its_norm() -> None:
    """SGD of rate 1 on a gradient of norm c moves by c, whatever the norm was before."""
    algorithm = from_optimizer(torch.optim.SGD, hyperparameters={"lr": 1.0, "grad_clip": 1e-3}, schedule=lambda *_: 1.0)
    torch.manual_seed(0)
    task = ToyTask(PROBLEMS["quadratic"](), step_hint=10)
    before = torch.cat([weight.detach().flatten().clone() for weight in task.model.parameters()])
    instance = algorithm()
    instance.setup(task, Hyperparameters(algorithm.hyperparameters))
    train(instance, task, 1)
    after = torch.cat([weight.detach().flatten() for weight in task.model.parameters()])
    assert float((after - before).norm()) == pytest.approx(1e-3, rel=1e-6)


def test_the_horizon_may_be_a_part_of_the_hint() -> None:
    point = {"lr": 0.01, "horizon_factor": 0.5}
    instance, _ = run(from_optimizer(torch.optim.SGD, hyperparameters=point), {}, steps=100)
    assert instance.optimizer.param_groups[0]["lr"] == 0.0
