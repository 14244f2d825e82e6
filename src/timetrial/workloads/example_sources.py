"""Data whose examples are made one by one: read from record files, decoded, augmented, in threads and ahead of time.

The batch of step i is a pure function of (seed, i), as for data in memory: the threads decide when an example is
made, never what it is. Decoders let go of Python's lock, so that threads are enough.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.sources import Shuffle, check_division

TrainingExample: TypeAlias = Callable[[int, np.random.Generator], HostBatch]
"""Makes the training example of a number, with the help of chance; threads call it at once."""
Example: TypeAlias = Callable[[int], HostBatch]
"""Makes an evaluation's example of a number."""
Mix: TypeAlias = Callable[[HostBatch, HostBatch, np.random.Generator], HostBatch]
"""Makes a batch of examples and of those before them in it; the generator is the step's."""

Collate: TypeAlias = Callable[[Sequence[HostBatch]], HostBatch]
"""Makes a batch of examples: `stack`, unless their arrays are of several lengths."""

_AHEAD = 2
"""Batches that are made while one is trained on."""


def stack(examples: Sequence[HostBatch]) -> HostBatch:
    """Return the batch of examples: arrays of the same names, shapes and dtypes."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def default_threads() -> int:
    """Return as many threads as there are cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        collate: Collate = stack,
        rank: int = 0,
        ranks: int = 1,
        threads: int | None = None,
    ) -> None:
        """Take how many examples there are and what makes one of them."""
        check_division(batch_size, rank, ranks)
        self._example = example
        self._batch_size = batch_size
        self._mix = mix
        self._collate = collate
        self._own = np.arange(rank, batch_size, ranks)
        self._shuffle = Shuffle(examples, seed)
        self._pool = ThreadPoolExecutor(threads or default_threads(), thread_name_prefix="examples")
        self._ahead: dict[int, dict[int, Future[HostBatch]]] = {}

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0, and begin with the next ones."""
        wanted = range(index, index + 1 + _AHEAD)
        for old in self._ahead.keys() - set(wanted):
            for future in self._ahead.pop(old).values():
                future.cancel()
        for step in wanted:
            if step not in self._ahead:
                self._ahead[step] = self._begin(step)
        made = {place: future.result() for place, future in self._ahead.pop(index).items()}
        batch = self._collate([made[place] for place in self._own.tolist()])
        if self._mix is None:
            return batch
        before = self._collate([made[place] for place in self._before().tolist()])
        return self._mix(batch, before, self._shuffle.augmentation(index))

    def _begin(self, step: int) -> dict[int, Future[HostBatch]]:
        """Hand a batch's examples to the threads, by their place in the batch."""
        rows = self._shuffle.rows(step * self._batch_size, self._batch_size)
        places = self._own if self._mix is None else np.union1d(self._own, self._before())
        return {place: self._pool.submit(self._make, int(rows[place]), step, place) for place in places.tolist()}

    def _make(self, row: int, step: int, place: int) -> HostBatch:
        return self._example(row, self._shuffle.augmentation(step, 1 + place))

    def _before(self) -> np.ndarray:
        return (self._own - 1) % self._batch_size


@dataclass(frozen=True, kw_only=True)
class EvaluationSplit:
    """What an evaluation runs over."""

    examples: int
    example: Example


class ExampleData:
    """Implements `timetrial.workloads.base.Data` with examples that are made when they are needed."""

    def __init__(
        self,
        train_examples: int,
        train: TrainingExample,
        evaluation: Mapping[Split, EvaluationSplit],
        *,
        mix: Mix | None = None,
        collate: Collate = stack,
        threads: int | None = None,
    ) -> None:
        """Take what makes an example of each split, what makes a batch of them, and what mixes a training batch."""
        self._train_examples = train_examples
        self._train = train
        self._evaluation = evaluation
        self._mix = mix
        self._collate = collate
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
            collate=self._collate,
            rank=rank,
            ranks=ranks,
            threads=self._threads,
        )

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in order, the next batches in the making."""
        part = self._evaluation[split]
        waiting: deque[list[Future[HostBatch]]] = deque()
        with ThreadPoolExecutor(self._threads or default_threads(), thread_name_prefix="examples") as pool:
            for start in range(0, part.examples, batch_size):
                rows = range(start, min(start + batch_size, part.examples))
                waiting.append([pool.submit(part.example, row) for row in rows])
                if len(waiting) > _AHEAD:
                    yield self._collate([future.result() for future in waiting.popleft()])
            while waiting:
                yield self._collate([future.result() for future in waiting.popleft()])
