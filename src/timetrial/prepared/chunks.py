"""Arrays in a row: many memory maps read like one array, as far as batches need it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Chunked:
    """The concatenation of arrays along the first axis, which is never made: rows are read where they lie."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        """Take at least one array; all have the same dtype and the same shape but for the first axis."""
        self._arrays = list(arrays)
        self._stops = np.cumsum([len(array) for array in arrays])

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._stops[-1])

    @property
    def dtype(self) -> np.dtype:
        """Of all the arrays."""
        return self._arrays[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """As of one array."""
        return (len(self), *self._arrays[0].shape[1:])

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return the rows of those numbers, in their order; `axis` is there for numpy's sake and must be 0."""
        assert axis == 0, "only rows are taken"
        if len(self._arrays) == 1:
            return self._arrays[0].take(rows, axis=0)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        chunk_of = np.searchsorted(self._stops, rows, side="right")
        for chunk in np.unique(chunk_of):
            chosen = chunk_of == chunk
            array = self._arrays[chunk]
            found[chosen] = array.take(rows[chosen] - (self._stops[chunk] - len(array)), axis=0)
        return found

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return a slice of rows, read into memory if it spans several arrays; its step must be 1."""
        start, stop, step = rows.indices(len(self))
        assert step == 1, "only rows that follow one another are sliced"
        pieces = []
        chunk = int(np.searchsorted(self._stops, start, side="right"))
        while start < stop:
            array = self._arrays[chunk]
            first = int(self._stops[chunk]) - len(array)
            pieces.append(array[start - first : stop - first])
            start = int(self._stops[chunk])
            chunk += 1
        if not pieces:
            return self._arrays[0][:0]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
