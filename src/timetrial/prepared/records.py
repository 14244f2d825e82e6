"""Record files: encoded images, sounds and slices, many in a file, each read by its number.

The format is ArrayRecord's (https://github.com/google/array_record), one record a chunk, with a checksum each; the
records are compressed already or do not compress, so that they are stored as they are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.folder import REPAIR, Prepared
from timetrial.prepared.raw import library

SUFFIX = ".array_record"
EXTRA = "data"


def write_records(path: Path, records: Iterable[bytes]) -> int:
    """Write records to a new file and return how many there are; one after the other, so that memory stays small.

    Raises OSError where they cannot be written.
    """
    writer = library("array_record.python.array_record_module", EXTRA).ArrayRecordWriter(
        str(path), "group_size:1,uncompressed"
    )
    count = 0
    for record in records:
        _written(path, writer.write, record)
        count += 1
    _written(path, writer.close)
    return count


def _written(path: Path, call: Callable[..., None], *arguments: bytes) -> None:
    try:
        call(*arguments)
    except RuntimeError as error:  # the library's only kind
        full = os.strerror(errno.ENOSPC)
        raise OSError(errno.ENOSPC if full in str(error) else errno.EIO, str(error), str(path)) from error


class Records:
    """Record files in a row, read like one: record i, whichever file it is in. Threads may share it."""

    def __init__(self, paths: Sequence[Path], counts: Sequence[int]) -> None:
        """Take the files and how many records each holds."""
        self._paths = list(paths)
        self._stops = np.cumsum(counts)

    @classmethod
    def of_split(cls, prepared: Prepared, split: str, name: str) -> Self:
        """Return the records of a split's parts: a file of that name in each, a record an example."""
        counts = [part.examples for part in prepared.manifest.parts if part.split == split]
        return cls(prepared.files(split, name), counts)

    def __len__(self) -> int:
        """Return the number of records."""
        return int(self._stops[-1]) if len(self._stops) else 0

    def read(self, number: int) -> bytes:
        """Return a record. Raises FileError where its file is broken there."""
        file = int(np.searchsorted(self._stops, number, side="right"))
        first = int(self._stops[file - 1]) if file else 0
        path = self._paths[file]
        try:
            found = self._readers[file].read([number - first])
        except RuntimeError as error:
            raise FileError(path, f"record {number - first} is broken ({error}); {REPAIR}") from error
        return bytes(found[0])

    @cached_property
    def _readers(self) -> list[Any]:
        """Open all files; threads that come first at once may each do so, which does no harm."""
        reader = library("array_record.python.array_record_module", EXTRA).ArrayRecordReader
        readers = []
        for path, count in zip(self._paths, np.diff(self._stops, prepend=0), strict=True):
            try:
                opened = reader(str(path), "readahead_buffer_size:0")
                found = opened.num_records()
            except RuntimeError as error:
                raise FileError(path, f"cannot be read ({error}); {REPAIR}") from error
            if found != count:
                raise FileError(path, f"expected {count} records, found {found}; {REPAIR}")
            readers.append(opened)
        return readers
