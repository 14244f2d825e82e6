"""Data in memory: the batch of step i is a pure function of (seed, i)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Self, TypeAlias

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch, Split

Prepare: TypeAlias = Callable[[HostBatch], HostBatch]
"""Makes of rows as they are stored a batch as the model takes it, of each row by itself in training."""
Augment: TypeAlias = Callable[[HostBatch, np.random.Generator], HostBatch]
"""The same for training, where chance has a part."""

_SHUFFLE, _AUGMENT = 0, 1
_SUBSET_SEED = 20261124


def _as_they_are(batch: HostBatch) -> HostBatch:
    return batch


def fixed_subset(examples: int, wanted: int) -> np.ndarray:
    """Return which training examples an evaluation's `train` split holds, sorted: `wanted` of them, or all there are.

    The same ones in every trial, where the public code draws them anew.
    """
    order = np.random.Generator(np.random.PCG64(_SUBSET_SEED)).permutation(examples)
    return np.sort(order[:wanted])


class Shuffle:
    """Seeded orders of the epochs, and a generator for each step, in any order of asking.

    Philox is counter-based, so that any epoch's order and any step's augmentation can be had without what came
    before: seeking is free and resuming exact.
    """

    def __init__(self, examples: int, seed: np.random.SeedSequence) -> None:
        self.examples = examples
        self._key = seed.generate_state(2, np.uint64)
        self._orders: dict[int, np.ndarray] = {}

    def rows(self, start: int, count: int) -> np.ndarray:
        """Return the example numbers of positions `start` ... of the endless concatenation of epochs."""
        epoch, offset = divmod(start, self.examples)
        rows = self.order(epoch)[offset : offset + count]
        while len(rows) < count:
            epoch += 1
            rows = np.concatenate([rows, self.order(epoch)[: count - len(rows)]])
        return rows

    def order(self, epoch: int) -> np.ndarray:
        """Return an epoch's permutation; the last two are kept, since a batch may need both."""
        if epoch not in self._orders:
            kept = {old: order for old, order in self._orders.items() if old == epoch - 1}
            self._orders = {**kept, epoch: self._generator(_SHUFFLE, epoch).permutation(self.examples)}
        return self._orders[epoch]

    def augmentation(self, step: int, place: int = 0) -> np.random.Generator:
        """Return the generator of a step's augmentation; of one example's, by its place in the batch from 1."""
        return self._generator(_AUGMENT, step, place)

    def _generator(self, stream: int, index: int, place: int = 0) -> np.random.Generator:
        counter = np.array([0, place, stream, index], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))


class ArraySource:
    """Batches from arrays that fit in memory, reshuffled every epoch; a batch may span two epochs.

    Every example of an epoch is used exactly once. Of a batch, rank r of R takes rows r, r + R, ... An augmented
    batch is made whole on every rank and then divided, since an augmentation may mix examples.
    """

    def __init__(
        self,
        arrays: HostBatch,
        batch_size: int,
        seed: np.random.SeedSequence,
        augment: Augment | None = None,
        *,
        prepare: Prepare = _as_they_are,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Take arrays of equal length; `augment`, or without it `prepare`, makes training batches of stored rows."""
        check_division(batch_size, rank, ranks)
        self._arrays = arrays
        self._batch_size = batch_size
        self._augment = augment
        self._prepare = prepare
        self._own = slice(rank, None, ranks)
        self._shuffle = Shuffle(len(next(iter(arrays.values()))), seed)

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0."""
        rows = self._shuffle.rows(index * self._batch_size, self._batch_size)
        if self._augment is None:
            own = rows[self._own]
            return self._prepare({name: array.take(own, axis=0) for name, array in self._arrays.items()})
        stored = {name: array.take(rows, axis=0) for name, array in self._arrays.items()}
        batch = self._augment(stored, self._shuffle.augmentation(index))
        return {name: array[self._own] for name, array in batch.items()}


class ArrayData:
    """Implements `timetrial.workloads.base.Data` with arrays that fit in memory."""

    def __init__(
        self,
        train: HostBatch,
        evaluation: Mapping[Split, HostBatch],
        *,
        prepare: Prepare = _as_they_are,
        prepare_evaluation: Prepare | None = None,
        augment: Augment | None = None,
    ) -> None:
        """Take the training arrays and those that evaluations run over, as they are stored.

        `prepare` makes a batch of stored rows; other ones are made by `augment` of training rows, if it is given,
        and by `prepare_evaluation` of an evaluation's.
        """
        self._train = train
        self._evaluation = evaluation
        self._augment = augment
        self._prepare = prepare
        self._prepare_evaluation = prepare_evaluation or prepare

    @classmethod
    def of_splits(
        cls,
        splits: Mapping[Split, HostBatch],
        eval_train: slice,
        *,
        prepare: Prepare = _as_they_are,
        augment: Augment | None = None,
    ) -> Self:
        """Take the arrays of all splits; an evaluation's `train` split is the slice `eval_train` of the training's."""
        train = splits["train"]
        evaluation = {**splits, "train": {name: array[eval_train] for name, array in train.items()}}
        return cls(train, evaluation, prepare=prepare, augment=augment)

    @property
    def train_examples(self) -> int:
        """Number of examples in the training split."""
        return _length(self._train)

    def eval_examples(self, split: Split) -> int:
        """Return how many examples an evaluation of `split` runs over."""
        return _length(self._evaluation[split])

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> ArraySource:
        """Return the training data, reshuffled every epoch and augmented anew at every step."""
        return ArraySource(self._train, batch_size, seed, self._augment, prepare=self._prepare, rank=rank, ranks=ranks)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in order, not augmented."""
        arrays = self._evaluation[split]
        for start in range(0, _length(arrays), batch_size):
            yield self._prepare_evaluation({name: array[start : start + batch_size] for name, array in arrays.items()})


def check_division(batch_size: int, rank: int = 0, ranks: int = 1) -> None:
    """Raise UserError unless the batch can be divided among the ranks, and there is such a rank."""
    if batch_size < 1:
        raise UserError(f"batch size: expected at least 1, found {batch_size}")
    if not 0 <= rank < ranks:
        raise UserError(f"rank: expected one from 0 to {ranks - 1}, found {rank}")
    if batch_size % ranks:
        raise UserError(f"batch size: expected a multiple of the {ranks} ranks, found {batch_size}")


def _length(arrays: HostBatch) -> int:
    return len(next(iter(arrays.values())))
