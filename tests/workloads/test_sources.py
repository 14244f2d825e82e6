"""Batches in memory: a pure function of (seed, step), every example of an epoch exactly once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch
from timetrial.workloads.sources import ArraySource

sizes = st.tuples(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**32))


def source(examples: int, batch_size: int, seed: int) -> ArraySource:
    arrays = {"inputs": np.arange(examples), "targets": -np.arange(examples)}
    return ArraySource(arrays, batch_size, np.random.SeedSequence(seed))


@given(sizes)
def test_every_example_once_an_epoch(case: tuple[int, int, int]) -> None:
    examples, batch_size, _ = case
    batches = source(*case)
    epochs = 3
    steps = -(-epochs * examples // batch_size)
    stream = np.concatenate([batches.batch(step)["inputs"] for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(stream[epoch * examples : (epoch + 1) * examples]) == list(range(examples))


@given(sizes, st.lists(st.integers(0, 50), min_size=1, max_size=10))
def test_any_step_can_be_had_at_any_time(case: tuple[int, int, int], steps: list[int]) -> None:
    in_order = source(*case)
    expected = [in_order.batch(step) for step in range(51)]
    jumping = source(*case)
    for step in steps:
        batch = jumping.batch(step)
        np.testing.assert_array_equal(batch["inputs"], expected[step]["inputs"])
        np.testing.assert_array_equal(batch["targets"], -batch["inputs"])
        assert len(batch["inputs"]) == case[1]


def test_seeds_and_epochs_shuffle_differently() -> None:
    orders = [source(50, 50, seed).batch(step)["inputs"].tolist() for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_augmentation_is_a_function_of_the_step() -> None:
    arrays = {"inputs": np.zeros(10)}
    noisy = ArraySource(
        arrays,
        4,
        np.random.SeedSequence(1),
        augment=lambda batch, random: {"inputs": batch["inputs"] + random.standard_normal(4)},
    )
    first = [noisy.batch(step)["inputs"] for step in (0, 1, 0)]
    np.testing.assert_array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])


@given(sizes, st.integers(1, 8), st.booleans())
def test_ranks_divide_each_batch(case: tuple[int, int, int], ranks: int, augmented: bool) -> None:
    examples, size, seed = case
    batch_size = size * ranks
    arrays = {"inputs": np.arange(examples), "targets": -np.arange(examples)}

    def noisy(batch: HostBatch, random: np.random.Generator) -> HostBatch:
        return {**batch, "noise": random.random(len(batch["inputs"]))}

    def part(rank: int, ranks: int) -> ArraySource:
        augment = noisy if augmented else None
        return ArraySource(arrays, batch_size, np.random.SeedSequence(seed), augment, rank=rank, ranks=ranks)

    parts = [part(rank, ranks) for rank in range(ranks)]
    for step in (0, 3):
        whole = part(0, 1).batch(step)
        shares = [each.batch(step) for each in parts]
        for name, array in whole.items():
            joined = np.stack([share[name] for share in shares], axis=1).reshape(batch_size)
            np.testing.assert_array_equal(joined, array)


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    arrays = {"inputs": np.arange(9)}
    with pytest.raises(UserError, match="expected a multiple of the 2 ranks, found 3"):
        ArraySource(arrays, 3, np.random.SeedSequence(0), ranks=2)
    with pytest.raises(UserError, match="expected one from 0 to 1, found 2"):
        ArraySource(arrays, 4, np.random.SeedSequence(0), rank=2, ranks=2)


def test_a_batch_has_at_least_one_example() -> None:
    with pytest.raises(UserError, match="expected at least 1, found 0"):
        source(10, 0, 0)
