"""Training data in memory: the batch of step i is a pure function of (seed, i)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch

Augment: TypeAlias = Callable[[HostBatch, np.random.Generator], HostBatch]

_SHUFFLE, _AUGMENT = 0, 1


class ArraySource:
    """Batches from arrays that fit in memory, reshuffled every epoch; a batch may span two epochs.

    Every example of an epoch is used exactly once. Philox is counter-based, so that any epoch's order and any
    step's augmentation can be had without what came before: seeking is free and resuming exact.
    """

    def __init__(
        self,
        arrays: HostBatch,
        batch_size: int,
        seed: np.random.SeedSequence,
        augment: Augment | None = None,
    ) -> None:
        """Take arrays of equal length; `augment` maps a batch and a generator to a new batch."""
        if batch_size < 1:
            raise UserError(f"batch size: expected at least 1, found {batch_size}")
        self._arrays = arrays
        self._batch_size = batch_size
        self._augment = augment
        self._examples = len(next(iter(arrays.values())))
        self._key = seed.generate_state(2, np.uint64)
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0."""
        rows = self._rows(index * self._batch_size)
        batch = {name: array.take(rows, axis=0) for name, array in self._arrays.items()}
        return self._augment(batch, self._generator(_AUGMENT, index)) if self._augment else batch

    def _rows(self, start: int) -> np.ndarray:
        """Return the example numbers of positions `start` ... of the endless concatenation of epochs."""
        epoch, offset = divmod(start, self._examples)
        rows = self._order(epoch)[offset : offset + self._batch_size]
        while len(rows) < self._batch_size:
            epoch += 1
            rows = np.concatenate([rows, self._order(epoch)[: self._batch_size - len(rows)]])
        return rows

    def _order(self, epoch: int) -> np.ndarray:
        """Return an epoch's permutation; the last two are kept, since a batch may need both."""
        if epoch not in self._orders:
            kept = {old: order for old, order in self._orders.items() if old == epoch - 1}
            self._orders = {**kept, epoch: self._generator(_SHUFFLE, epoch).permutation(self._examples)}
        return self._orders[epoch]

    def _generator(self, stream: int, index: int) -> np.random.Generator:
        counter = np.array([0, 0, stream, index], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))
