"""What the data of every generated workload must keep at `tiny`: pure, divisible, complete, and fit to train."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from timetrial.trial.clock import Clock
from timetrial.trial.stream import BatchStream, to_device
from timetrial.workloads.base import HostBatch, Workload
from timetrial.workloads.registry import known_workloads, load_workload
from timetrial.workloads.wmt.workload import Wmt

NAMES = sorted(name for name in known_workloads() if load_workload(name, "tiny").datasets)
CPU = torch.device("cpu")
FLAT = {"ogbg"}
"""Workloads whose batches are no stacks of examples: how their ranks share is tested with them."""


@pytest.fixture(params=NAMES)
def workload(request: pytest.FixtureRequest) -> Workload[Any]:
    return load_workload(request.param, "tiny")


def source_of(workload: Workload[Any], *, seed: int = 3, rank: int = 0, ranks: int = 1, size: int = 8) -> Any:
    return workload.data().train_source(np.random.SeedSequence(seed), size, rank=rank, ranks=ranks)


def is_flat(workload: Workload[Any]) -> bool:
    return type(workload).__module__.split(".")[-2] in FLAT


def same(one: HostBatch, other: HostBatch) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes() for name in one
    )


def test_a_resumed_stream_goes_on_with_the_same_bytes(workload: Workload[Any]) -> None:
    """Killed in the middle of an epoch: a new process sees the next 50 batches as the old one would have."""
    source = source_of(workload)
    position = max(workload.data().train_examples // 8 // 2, 1) + 3
    for index in range(position):
        source.batch(index)
    expected = [source.batch(index) for index in range(position, position + 50)]
    resumed = BatchStream(source_of(workload), 8, CPU, Clock(setup_on_clock=True))
    resumed.position = position
    for wanted in expected:
        found = {name: tensor.numpy() for name, tensor in next(resumed).items()}
        assert same(found, wanted)


def test_seeds_and_steps_give_different_batches(workload: Workload[Any]) -> None:
    batches = [source_of(workload, seed=seed).batch(step) for seed in (0, 1) for step in (0, 1)]
    assert not any(same(one, other) for i, one in enumerate(batches) for other in batches[:i])


def test_two_ranks_together_see_the_batch(workload: Workload[Any]) -> None:
    if is_flat(workload):
        pytest.skip("a flat batch; see the workload's own tests")
    for step in (0, 5):
        whole = source_of(workload).batch(step)
        halves = [source_of(workload, rank=rank, ranks=2).batch(step) for rank in range(2)]
        for name, array in whole.items():
            rows = sorted(row.tobytes() for row in array)
            assert rows == sorted(row.tobytes() for half in halves for row in half[name]), name


def test_every_batch_is_what_the_model_takes(workload: Workload[Any]) -> None:
    data = workload.data()
    source = source_of(workload)
    for step in range(3):
        workload.check_batch(source.batch(step))
    splits = ("train", "validation", "test")
    for split in splits:
        for batch in data.eval_batches(split, 16):
            workload.check_batch(batch)


def test_splits_do_not_overlap(workload: Workload[Any]) -> None:
    """No example of an evaluation split is one of another's; the training examples of an evaluation are neither's."""
    if is_flat(workload):
        pytest.skip("a flat batch; see the workload's own tests")
    if isinstance(workload, Wmt):
        pytest.skip("of tiny's few sentences chance says some twice; mini's splits: test_wmt_data.py")
    data = workload.data()
    splits = {
        split: {
            image.tobytes() + target.tobytes()
            for batch in data.eval_batches(split, 16)
            for image, target in zip(batch["inputs"], batch["targets"], strict=True)
        }
        for split in ("train", "validation", "test")
    }
    for one, other in combinations(splits.values(), 2):
        assert not one & other


def test_an_evaluation_is_the_same_every_time(workload: Workload[Any]) -> None:
    data = workload.data()
    for split in ("train", "validation", "test"):
        first, again = (list(data.eval_batches(split, 16)) for _ in range(2))
        assert all(same(one, other) for one, other in zip(first, again, strict=True))
        assert bool(first) == (data.eval_examples(split) > 0)


def test_a_few_steps_reduce_the_loss(workload: Workload[Any]) -> None:
    torch.manual_seed(0)
    half = workload.torch()
    model = half.build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    source = source_of(workload, size=16)
    losses = []
    for step in range(60):
        batch = to_device(source.batch(step), CPU)
        optimizer.zero_grad()
        loss = half.loss(batch, half.forward(model, batch, dropout=0.0)).mean
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
