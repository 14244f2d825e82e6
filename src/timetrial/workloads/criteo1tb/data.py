"""Prepared click logs: how examples are stored, and batches of them from the memory map.

Stored are what the model takes, in the smallest types that hold it exactly: 113 bytes an example at full size, where
39 float32 and a label are 157.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timetrial.prepared.arrays import ArrayWriter
from timetrial.prepared.chunks import Chunked
from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import SPLITS, HostBatch, Split
from timetrial.workloads.criteo1tb.logs import DENSE_FIELDS
from timetrial.workloads.sources import Shuffle, check_division

_GROUPS = (("narrow", np.uint8), ("middle", np.uint16), ("wide", np.uint32))
"""Arrays of buckets by their type, the smaller ones first."""

_ROWS = 4096
"""Rows whose columns are filled at a time, so that they stay in the cache."""

StoredRows = Mapping[str, np.ndarray | Chunked]


class StoredFields:
    """How examples are stored: `labels` uint8 (n,), `counts` float32 (n, 13), and the buckets of narrow to wide fields.

    Makes batches of stored rows when called.
    """

    def __init__(self, field_sizes: Sequence[int]) -> None:
        """Take how many buckets each field has."""
        self._fields = len(field_sizes)
        last = np.array(field_sizes, np.int64) - 1
        self._columns: dict[str, np.ndarray] = {}
        least = 0
        for name, dtype in _GROUPS:
            most = np.iinfo(dtype).max
            if (columns := np.flatnonzero((last >= least) & (last <= most))).size:
                self._columns[name] = columns
            least = int(most) + 1

    def pack(self, parsed: HostBatch) -> HostBatch:
        """Return as stored what `parse_log` returns."""
        buckets = parsed["buckets"]
        packed = {name: buckets[:, columns] for name, columns in self._columns.items()}
        return {"labels": parsed["labels"], "counts": parsed["counts"], **packed}

    def __call__(self, rows: HostBatch) -> HostBatch:
        """Return `inputs` float32 (n, 39), like the reference's rounded to float32, and `targets` float32 (n,)."""
        examples = len(rows["labels"])
        inputs = np.empty((examples, DENSE_FIELDS + self._fields), np.float32)
        for start in range(0, examples, _ROWS):
            piece = slice(start, start + _ROWS)
            inputs[piece, :DENSE_FIELDS] = rows["counts"][piece]
            for name, columns in self._columns.items():
                stored = rows[name][piece]
                for place, column in enumerate(columns.tolist()):
                    inputs[piece, DENSE_FIELDS + column] = stored[:, place]
        return {"inputs": inputs, "targets": rows["labels"].astype(np.float32)}

    def write(self, folder: Path, pieces: Iterator[HostBatch]) -> int:
        """Write pieces of stored examples to files in a folder; return how many examples they are."""
        columns = {name: (len(self._columns[name]),) for name in self._columns}
        rows: dict[str, tuple[int, ...]] = {"labels": (), "counts": (DENSE_FIELDS,), **columns}
        dtypes = {"labels": np.uint8, "counts": np.float32, **dict(_GROUPS)}
        with ExitStack() as files:
            writers = {
                name: files.enter_context(ArrayWriter(folder / f"{name}.npy", dtypes[name], row))
                for name, row in rows.items()
            }
            examples = 0
            for piece in pieces:
                examples += len(piece["labels"])
                for name, writer in writers.items():
                    writer.append(piece[name])
        return examples


def slice_of(rows: StoredRows, start: int, stop: int) -> HostBatch:
    """Return stored rows from `start` to before `stop`; they are not read yet, unless they span several parts."""
    return {name: array[start:stop] for name, array in rows.items()}


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Runs of examples that stay together in every epoch: the reference shuffles files, not lines."""

    starts: np.ndarray
    """Number of each block's first example (blocks,)."""
    lengths: np.ndarray
    """Examples of each block (blocks,)."""

    @classmethod
    def of_days(cls, examples: Sequence[int], block_lines: int) -> Blocks:
        """Cut every day, of so many examples, into blocks of `block_lines`, the last of a day shorter."""
        starts, lengths, first = [], [], 0
        for day in examples:
            offsets = np.arange(0, day, block_lines)
            starts.append(first + offsets)
            lengths.append(np.minimum(block_lines, day - offsets))
            first += day
        return cls(starts=np.concatenate(starts), lengths=np.concatenate(lengths))


class BlockSource:
    """Training batches: in every epoch the blocks in another order, a block's examples one after another.

    A batch may span blocks and epochs; every example of an epoch is used exactly once. Of a batch, rank r of R reads
    examples r, r + R, ... only.
    """

    def __init__(
        self,
        rows: StoredRows,
        blocks: Blocks,
        stored: StoredFields,
        batch_size: int,
        seed: np.random.SeedSequence,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Take stored rows and the blocks that they are cut into."""
        check_division(batch_size, rank, ranks)
        self._rows = rows
        self._blocks = blocks
        self._stored = stored
        self._batch_size = batch_size
        self._rank, self._ranks = rank, ranks
        self._examples = int(blocks.lengths.sum())
        self._shuffle = Shuffle(len(blocks.lengths), seed)
        self._stops: dict[int, np.ndarray] = {}

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0."""
        pieces = []
        place = 0
        while place < self._batch_size:
            start, left = self._find(index * self._batch_size + place)
            count = min(left, self._batch_size - place)
            own = slice((self._rank - place) % self._ranks, None, self._ranks)
            piece = slice_of(self._rows, start, start + count)
            pieces.append(self._stored({name: array[own] for name, array in piece.items()}))
            place += count
        if len(pieces) == 1:
            return pieces[0]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _find(self, position: int) -> tuple[int, int]:
        """Return which example stands at a position of all epochs in a row, and how many are left in its block."""
        epoch, offset = divmod(position, self._examples)
        order = self._shuffle.order(epoch)
        if epoch not in self._stops:
            self._stops = {epoch: np.cumsum(self._blocks.lengths[order])}
        place = int(np.searchsorted(self._stops[epoch], offset, side="right"))
        left = int(self._stops[epoch][place]) - offset
        block = order[place]
        return int(self._blocks.starts[block] + self._blocks.lengths[block]) - left, left


class ClickData:
    """Implements `timetrial.workloads.base.Data` with prepared logs."""

    def __init__(self, prepared: Prepared, field_sizes: Sequence[int], block_lines: int, eval_train: int) -> None:
        """Take a prepared dataset; an evaluation's `train` split is its first `eval_train` training examples.

        The reference's are others in every evaluation, since it shuffles the files anew.
        """
        self._rows: dict[Split, StoredRows] = {split: prepared.arrays(split) for split in SPLITS}
        self._stored = StoredFields(field_sizes)
        days = [part.examples for part in prepared.manifest.parts if part.split == "train"]
        self._blocks = Blocks.of_days(days, block_lines)
        self._eval_train = min(eval_train, self.train_examples)

    @property
    def train_examples(self) -> int:
        """Number of examples in the training split."""
        return len(self._rows["train"]["labels"])

    def eval_examples(self, split: Split) -> int:
        """Return how many examples an evaluation of `split` runs over."""
        return self._eval_train if split == "train" else len(self._rows[split]["labels"])

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> BlockSource:
        """Return the training data, its blocks reshuffled every epoch."""
        return BlockSource(self._rows["train"], self._blocks, self._stored, batch_size, seed, rank=rank, ranks=ranks)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in order."""
        examples = self.eval_examples(split)
        for start in range(0, examples, batch_size):
            yield self._stored(slice_of(self._rows[split], start, min(start + batch_size, examples)))
