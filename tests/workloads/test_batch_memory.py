"""Memory of batches is lent again when nobody has the batch any more, and not before."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from timetrial.workloads.batch_memory import BatchMemory

LARGE = (64, 1024)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_what_is_given_back_is_lent_again() -> None:
    memory = BatchMemory()
    first = memory.empty(LARGE, np.dtype(np.float32))
    place = address(first)
    other = memory.empty(LARGE, np.dtype(np.float32))
    assert address(other) != place
    del first
    gc.collect()
    again = memory.empty((1024, 64), np.dtype(np.int32))
    assert address(again) == place
    assert (again.shape, again.dtype) == ((1024, 64), np.int32)
    again[...] = 7


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: array[3:5],
        lambda array: array[3].reshape(32, 32).T[1:],
        lambda array: array.view(np.uint8),
        torch.from_numpy,
        lambda array: torch.from_numpy(array[1:])[2:, 5],
        memoryview,
    ],
)
def test_a_view_keeps_the_memory(keep: object) -> None:
    memory = BatchMemory()
    array = memory.empty(LARGE, np.dtype(np.float32))
    place = address(array)
    kept = keep(array)  # type: ignore[operator]
    del array
    gc.collect()
    assert address(memory.empty(LARGE, np.dtype(np.float32))) != place
    del kept
    gc.collect()
    fresh = [memory.empty(LARGE, np.dtype(np.float32)) for _ in range(2)]
    assert place in [address(array) for array in fresh]


def test_an_array_outlives_the_memory() -> None:
    memory = BatchMemory()
    array = memory.empty(LARGE, np.dtype(np.float64))
    array[...] = 3
    del memory
    gc.collect()
    assert (array == 3).all()


def test_small_and_empty_arrays() -> None:
    memory = BatchMemory()
    assert memory.empty((3,), np.dtype(np.int64)).shape == (3,)
    assert memory.empty((0, 5), np.dtype(np.int64)).shape == (0, 5)
