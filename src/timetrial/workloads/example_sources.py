"""Data whose examples are made one by one: read from record files, decoded, augmented, in threads and ahead of time.

The batch of step i is a pure function of (seed, i), as for data in memory: the threads decide when an example is
made, never what it is. Decoders let go of Python's lock, so that threads are enough.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.batch_memory import BatchMemory
from timetrial.workloads.sources import Shuffle, check_division

Parts: TypeAlias = dict[str, Any]
"""An example: by name an array, or what a `Row` of that name writes."""
TrainingExample: TypeAlias = Callable[[int, np.random.Generator], Parts]
"""Makes the training example of a number, with the help of chance; threads call it at once."""
Example: TypeAlias = Callable[[int], Parts]
"""Makes an evaluation's example of a number."""
Mix: TypeAlias = Callable[[Parts, Parts, np.random.Generator], Parts]
"""Makes one example of an example and of the one before it; the generator is the step's, the same for all."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a part of an example becomes its row of a batch, where that is more than to be copied."""

    shape: tuple[int, ...]
    dtype: np.dtype
    write: Callable[[np.ndarray, Any], object]
    """Writes the part into the row, all of it."""


Rows: TypeAlias = Mapping[str, Row]

_NO_ROWS: Rows = {}
_AHEAD = 2
"""Batches that are made while one is trained on."""


class _Batch:
    """A batch in the making: the threads put examples where they belong, so that nobody stacks them afterwards.

    A thousand images of the published size are 600 MB, a tenth of a second and more for a single thread.
    """

    def __init__(self, count: int, rows: Rows, memory: BatchMemory, ranks: int = 1) -> None:
        self._count = count
        self._ranks = ranks
        self._rows = rows
        self._memory = memory
        self._lock = Lock()
        self.arrays: HostBatch = {}

    def put(self, place: int, example: Parts) -> None:
        """Take the example of a place in the whole batch; this rank's are every so many."""
        row = place // self._ranks
        with self._lock:
            if not self.arrays:
                self.arrays = {name: self._empty(name, part) for name, part in example.items()}
        assert example.keys() == self.arrays.keys(), "examples of a batch have the same arrays"
        for name, part in example.items():
            array = self.arrays[name]
            if name in self._rows:
                self._rows[name].write(array[row], part)
                continue
            assert np.shape(part) == array.shape[1:], f"{name}: examples of a batch have the same shape"
            array[row] = part

    def _empty(self, name: str, part: Any) -> np.ndarray:
        row = self._rows.get(name) or np.asarray(part)
        return self._memory.empty((self._count, *row.shape), row.dtype)


class _MixedBatch:
    """A batch in the making whose examples are mixed, each as soon as it and the one before it are there."""

    def __init__(self, own: np.ndarray, batch_size: int, mix: Callable[[Parts, Parts], Parts], mixed: _Batch) -> None:
        self._size = batch_size
        self._mix = mix
        self._lock = Lock()
        self._mixed = mixed
        self._made: dict[int, Parts] = {}
        self._missing = {place: {place, (place - 1) % batch_size} for place in own.tolist()}

    @property
    def arrays(self) -> HostBatch:
        return self._mixed.arrays

    def put(self, place: int, example: Parts) -> None:
        ready = []
        with self._lock:
            self._made[place] = example
            for needing in {place, (place + 1) % self._size} & self._missing.keys():
                self._missing[needing].discard(place)
                if not self._missing[needing]:
                    del self._missing[needing]
                    ready.append((needing, self._made[needing], self._made[(needing - 1) % self._size]))
            for made in {place, (place - 1) % self._size, (place + 1) % self._size} & self._made.keys():
                if not {made, (made + 1) % self._size} & self._missing.keys():
                    del self._made[made]
        for needing, own, before in ready:
            self._mixed.put(needing, self._mix(own, before))


def default_threads() -> int:
    """Return as many threads as there are cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_Gathering: TypeAlias = _Batch | _MixedBatch


class ExampleSource:
    """Training batches of examples made in threads, reshuffled every epoch; a batch may span two epochs.

    Every example of an epoch is used exactly once. Of a batch, rank r of R makes examples r, r + R, ... and, where
    they are mixed, also the one before each.
    """

    def __init__(
        self,
        examples: int,
        example: TrainingExample,
        batch_size: int,
        seed: np.random.SeedSequence,
        *,
        mix: Mix | None = None,
        rows: Rows = _NO_ROWS,
        rank: int = 0,
        ranks: int = 1,
        threads: int | None = None,
    ) -> None:
        """Take how many examples there are and what makes one of them."""
        check_division(batch_size, rank, ranks)
        self._example = example
        self._batch_size = batch_size
        self._mix = mix
        self._rows = rows
        self._memory = BatchMemory()
        self._own = np.arange(rank, batch_size, ranks)
        self._ranks = ranks
        self._shuffle = Shuffle(examples, seed)
        self._pool = ThreadPoolExecutor(threads or default_threads(), thread_name_prefix="examples")
        self._ahead: dict[int, tuple[_Gathering, list[Future[None]]]] = {}

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0, and begin with the next ones."""
        wanted = range(index, index + 1 + _AHEAD)
        for old in self._ahead.keys() - set(wanted):
            for future in self._ahead.pop(old)[1]:
                future.cancel()
        for step in wanted:
            if step not in self._ahead:
                self._ahead[step] = self._begin(step)
        return _whole(*self._ahead.pop(index))

    def _begin(self, step: int) -> tuple[_Gathering, list[Future[None]]]:
        """Hand a batch's examples to the threads."""
        numbers = self._shuffle.rows(step * self._batch_size, self._batch_size)
        own, size = self._own, self._batch_size
        plain = _Batch(len(own), self._rows, self._memory, self._ranks)
        batch: _Gathering = plain
        places = own
        if self._mix is not None:
            batch = _MixedBatch(own, size, partial(self._mixed, step), plain)
            places = np.union1d(own, (own - 1) % size)
        making = [self._pool.submit(self._make, int(numbers[place]), step, place, batch) for place in places.tolist()]
        return batch, making

    def _make(self, number: int, step: int, place: int, batch: _Gathering) -> None:
        batch.put(place, self._example(number, self._shuffle.augmentation(step, 1 + place)))

    def _mixed(self, step: int, own: Parts, before: Parts) -> Parts:
        assert self._mix is not None
        return self._mix(own, before, self._shuffle.augmentation(step))


@dataclass(frozen=True, kw_only=True)
class EvaluationSplit:
    """What an evaluation runs over."""

    examples: int
    example: Example
    rows: Rows = field(default_factory=dict)


class ExampleData:
    """Implements `timetrial.workloads.base.Data` with examples that are made when they are needed."""

    def __init__(
        self,
        train_examples: int,
        train: TrainingExample,
        evaluation: Mapping[Split, EvaluationSplit],
        *,
        mix: Mix | None = None,
        rows: Rows = _NO_ROWS,
        threads: int | None = None,
    ) -> None:
        """Take what makes an example of each split; of training, what mixes and what writes them."""
        self._train_examples = train_examples
        self._train = train
        self._evaluation = evaluation
        self._mix = mix
        self._rows = rows
        self._threads = threads

    @property
    def train_examples(self) -> int:
        """Number of examples in the training split."""
        return self._train_examples

    def eval_examples(self, split: Split) -> int:
        """Return how many examples an evaluation of `split` runs over."""
        return self._evaluation[split].examples

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> ExampleSource:
        """Return the training data, reshuffled every epoch and augmented anew at every step."""
        return ExampleSource(
            self._train_examples,
            self._train,
            batch_size,
            seed,
            mix=self._mix,
            rows=self._rows,
            rank=rank,
            ranks=ranks,
            threads=self._threads,
        )

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in order, the next batches in the making."""
        part = self._evaluation[split]
        memory = BatchMemory()
        waiting: deque[tuple[_Gathering, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(self._threads or default_threads(), thread_name_prefix="examples") as pool:
            for start in range(0, part.examples, batch_size):
                numbers = range(start, min(start + batch_size, part.examples))
                batch = _Batch(len(numbers), part.rows, memory)
                waiting.append((batch, [pool.submit(_put, part.example, n, batch, n - start) for n in numbers]))
                if len(waiting) > _AHEAD:
                    yield _whole(*waiting.popleft())
            while waiting:
                yield _whole(*waiting.popleft())


def _put(example: Example, number: int, batch: _Gathering, place: int) -> None:
    batch.put(place, example(number))


def _whole(batch: _Gathering, making: Sequence[Future[None]]) -> HostBatch:
    for future in making:
        future.result()
    return batch.arrays
