"""Sequences of different lengths in two array files, written as they come and read by number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from timetrial.prepared.arrays import ArrayWriter
from timetrial.prepared.folder import load_array


class RaggedWriter:
    """Writes sequences of different lengths: `<name>.npy`, their values in a row, and `<name>_lengths.npy`, int32."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype) -> None:
        self._values = ArrayWriter(folder / f"{name}.npy", dtype)
        self._lengths = ArrayWriter(folder / f"{name}_lengths.npy", np.dtype(np.int32))

    def append(self, values: np.ndarray, lengths: np.ndarray) -> None:
        """Write sequences that stand in a row, of those lengths."""
        self._values.append(values)
        self._lengths.append(lengths)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._values.__exit__(kind, error, trace)
        self._lengths.__exit__(kind, error, trace)


class Ragged:
    """Reads what `RaggedWriter` wrote into folders, in a row: mapped into memory, but for where sequences begin."""

    def __init__(self, folders: Sequence[Path], name: str) -> None:
        """Take the folders in order, at least one. Raises FileError for a broken file."""
        self._values = [load_array(folder / f"{name}.npy") for folder in folders]
        self._lengths = [load_array(folder / f"{name}_lengths.npy") for folder in folders]
        self._stops = np.cumsum([len(lengths) for lengths in self._lengths])
        self._offsets: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Return the number of sequences."""
        return int(self._stops[-1])

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the values, in a row, and the lengths of the sequences from `start` to before `stop`."""
        values, lengths = [self._values[0][:0]], [self._lengths[0][:0]]
        folder = int(np.searchsorted(self._stops, start, side="right"))
        while start < stop:
            first = int(self._stops[folder]) - len(self._lengths[folder])
            own = slice(start - first, min(stop, int(self._stops[folder])) - first)
            lengths.append(self._lengths[folder][own])
            offsets = self._offsets_of(folder)
            values.append(self._values[folder][offsets[own.start] : offsets[own.stop]])
            start = int(self._stops[folder])
            folder += 1
        return np.concatenate(values), np.concatenate(lengths)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values, in a row, and the lengths of the sequences of those numbers, in their order.

        Keeps in memory where every sequence begins, 8 bytes each.
        """
        first, lengths = self._starts[rows], self._starts[rows + 1] - self._starts[rows]
        ends = np.cumsum(lengths)
        values = np.empty(int(ends[-1]) if len(ends) else 0, self._values[0].dtype)
        folder_of = np.searchsorted(self._value_stops, first, side="right")
        for folder in np.unique(folder_of[lengths > 0]):
            own = (folder_of == folder) & (lengths > 0)
            before = int(self._value_stops[folder]) - len(self._values[folder])
            within = np.arange(lengths[own].sum()) - np.repeat(np.cumsum(lengths[own]) - lengths[own], lengths[own])
            to = within + np.repeat(ends[own] - lengths[own], lengths[own])
            values[to] = self._values[folder][within + np.repeat(first[own] - before, lengths[own])]
        return values, lengths

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each sequence begins, all values in a row, and where the last ends."""
        return np.concatenate([[0], np.cumsum(np.concatenate(self._lengths), dtype=np.int64)])

    @cached_property
    def _value_stops(self) -> np.ndarray:
        return np.cumsum([len(values) for values in self._values])

    def _offsets_of(self, folder: int) -> np.ndarray:
        """Return where a folder's sequences begin, and the last ends; kept for one folder at a time."""
        if folder not in self._offsets:
            self._offsets = {folder: np.concatenate([[0], np.cumsum(self._lengths[folder], dtype=np.int64)])}
        return self._offsets[folder]


def token_dtype(vocabulary: int) -> np.dtype:
    """Return the smallest of the dtypes uint16 and int32 that holds token ids below `vocabulary`."""
    return np.dtype(np.uint16 if vocabulary <= 2**16 else np.int32)
