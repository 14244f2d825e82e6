"""The order of training on Criteo's logs: blocks are shuffled, lines are not."""

from __future__ import annotations

import numpy as np
from commands import assert_same
from hypothesis import given
from hypothesis import strategies as st

from timetrial.workloads.criteo1tb.data import Blocks, BlockSource, StoredFields
from timetrial.workloads.criteo1tb.workload import TINY_FIELD_SIZES


def numbered(days: list[int], fields: int = 26) -> dict[str, np.ndarray]:
    """Return examples that tell their number by the first count."""
    examples = sum(days)
    counts = np.zeros((examples, 13), np.float32)
    counts[:, 0] = np.arange(examples)
    narrow = np.zeros((examples, fields), np.uint8)
    return {"labels": np.zeros(examples, np.uint8), "counts": counts, "narrow": narrow}


DAYS = [23, 8, 17]


def source(batch_size: int, seed: int = 0, rank: int = 0, ranks: int = 1) -> BlockSource:
    blocks, stored = Blocks.of_days(DAYS, 5), StoredFields(TINY_FIELD_SIZES)
    return BlockSource(
        numbered(DAYS), blocks, stored, batch_size, np.random.SeedSequence(seed), rank=rank, ranks=ranks
    )  # fmt: skip


def numbers(batch: dict[str, np.ndarray]) -> list[int]:
    return batch["inputs"][:, 0].astype(int).tolist()


def test_blocks_are_shuffled_and_lines_are_not() -> None:
    examples = sum(DAYS)
    stops = {0: 5, 5: 10, 10: 15, 15: 20, 20: 23, 23: 28, 28: 31, 31: 36, 36: 41, 41: 46, 46: 48}
    orders = []
    for epoch in range(3):
        found = numbers(source(examples).batch(epoch))
        assert sorted(found) == list(range(examples))
        starts = [number for number in found if number in stops]
        assert found == [number for start in starts for number in range(start, stops[start])]
        orders.append(starts)
    assert orders[0] != orders[1] != orders[2]
    assert numbers(source(examples, seed=1).batch(0)) != numbers(source(examples).batch(0))


@given(st.integers(1, 130), st.integers(0, 40), st.integers(0, 5))
def test_batches_cross_blocks_and_epochs(batch_size: int, step: int, seed: int) -> None:
    """Any batch, had without those before it, is its place in the epochs' orders in a row."""
    examples = sum(DAYS)
    start = step * batch_size
    epochs = range(start // examples, (start + batch_size - 1) // examples + 1)
    row = [number for epoch in epochs for number in numbers(source(examples, seed).batch(epoch))]
    offset = start % examples
    assert numbers(source(batch_size, seed).batch(step)) == row[offset : offset + batch_size]


@given(st.integers(1, 8), st.integers(1, 16), st.integers(0, 20))
def test_ranks_divide_every_batch(ranks: int, each: int, step: int) -> None:
    whole = source(ranks * each).batch(step)
    parts = [source(ranks * each, rank=rank, ranks=ranks).batch(step) for rank in range(ranks)]
    for rank, part in enumerate(parts):
        assert_same(part, {name: array[rank::ranks] for name, array in whole.items()})
