"""Arrays written to `.npy` files row by row, when nobody knows yet how many there will be."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy


class ArrayWriter:
    """Writes an array's rows as they come, so that it is never in memory; their number is filled in at the end."""

    def __init__(self, path: Path, dtype: Any, row: tuple[int, ...] = ()) -> None:
        """Begin a new file of rows of that dtype and shape."""
        self._rows = 0
        self._dtype = np.dtype(dtype)
        self._row = row
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        """Append rows; they are converted to the file's dtype, into which they must fit."""
        assert rows.shape[1:] == self._row, f"rows of shape {rows.shape[1:]}, not {self._row}"
        self._file.write(np.ascontiguousarray(rows, self._dtype).data if rows.size else b"")
        self._rows += len(rows)

    def _write_header(self) -> None:
        # numpy leaves room for the length to grow, so that any number of rows takes as much.
        shape = (self._rows, *self._row)
        header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()
