"""What every installed algorithm must keep: it converges, resumes exactly, and trains every workload."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from settings import SETTINGS
from tasks import WorkloadTask, network_task
from toy import BATCH, PROBLEMS, algorithm_of, remaining_gap, start, train

from timetrial.algorithms.registry import known_submissions
from timetrial.api import Hyperparameters
from timetrial.tuning.sampling import draw_points

NAMES = sorted(known_submissions())
WORKLOADS = (
    "criteo1tb",
    "fastmri",
    "finewebedu_lm",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "ogbg",
    "wmt",
)
every_algorithm = pytest.mark.parametrize("name", NAMES)


def test_every_algorithm_is_tested_on_the_problems() -> None:
    assert sorted(SETTINGS) == NAMES


@every_algorithm
@pytest.mark.parametrize("problem", PROBLEMS)
def test_it_converges(name: str, problem: str) -> None:
    overrides, tolerance = SETTINGS[name]
    gaps = [remaining_gap(name, overrides, problem, seed=seed) for seed in range(3)]
    assert all(gap <= tolerance for gap in gaps), gaps  # no NaN is


def states_of(*objects: Any) -> bytes:
    file = io.BytesIO()
    torch.save([each.state_dict() for each in objects], file)
    return file.getvalue()


@every_algorithm
def test_it_resumes_exactly(name: str) -> None:
    """10 steps, an evaluation, saved, loaded into new objects, 10 steps more: as 20 steps without a break."""
    task = network_task()
    algorithm = start(name, {}, task)
    train(algorithm, task, 10)
    algorithm.prepare_for_eval(task)
    saved = states_of(algorithm, task.model)
    generators = task.generator.get_state(), torch.get_rng_state()
    train(algorithm, task, 10)
    algorithm.prepare_for_eval(task)

    again = network_task()
    resumed = start(name, {}, again)
    own, model = torch.load(io.BytesIO(saved), weights_only=False)
    again.model.load_state_dict(model)
    resumed.load_state_dict(own)
    again.step = 10
    again.generator.set_state(generators[0])
    torch.set_rng_state(generators[1])
    train(resumed, again, 10)
    resumed.prepare_for_eval(again)
    for key, value in task.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[key], value), key


@every_algorithm
def test_it_learns_something_of_every_kind(name: str) -> None:
    task = network_task()
    before = float(task.backward(BATCH).mean)
    weights = [weight.detach().clone() for weight in task.model.parameters()]
    algorithm = start(name, {}, task)
    train(algorithm, task, 40)
    algorithm.prepare_for_eval(task)
    assert float(task.backward(BATCH).mean) < before
    for (key, weight), old in zip(task.model.named_parameters(), weights, strict=True):
        assert not torch.equal(weight, old), f"{key} never moved"


@every_algorithm
def test_it_trains_a_compiled_model(name: str) -> None:
    """The compiled forward pass sees the weights as they are, also where they are swapped for evaluations."""
    plain, compiled = network_task(), network_task()
    compiled.model.compile(backend="aot_eager")
    for task in (plain, compiled):
        algorithm = start(name, {}, task)
        train(algorithm, task, 3)
        algorithm.prepare_for_eval(task)
        train(algorithm, task, 2)
    torch.compiler.reset()
    for one, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@every_algorithm
def test_its_search_space_has_points_of_its_own(name: str) -> None:
    algorithm = algorithm_of(name)
    if algorithm.search_space is None:
        assert algorithm.hyperparameters
        return
    for study in draw_points(algorithm.search_space, sampler="sobol", studies=2, trials=3, seed=0):
        for point in study:
            task = network_task()
            instance = algorithm()
            instance.setup(task, Hyperparameters({**algorithm.hyperparameters, **point}))
            train(instance, task, 2)
            assert all(weight.isfinite().all() for weight in task.model.parameters())


@every_algorithm
def test_it_trains_every_workload(name: str) -> None:
    for workload in WORKLOADS:
        task = WorkloadTask(workload)
        algorithm = start(name, {}, task)
        for _ in range(3):
            algorithm.step(task, task.batch)
            task.step += 1
        algorithm.prepare_for_eval(task)
        for key, weight in task.model.named_parameters():
            assert weight.isfinite().all(), f"{workload}: {key}"
