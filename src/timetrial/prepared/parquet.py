"""Parquet files, one column of them, a batch of rows at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from timetrial.errors import FileError
from timetrial.prepared.raw import library, reading

_SHARD = re.compile(r"(.*-)(\d{5})-of-(\d{5})\.parquet")
"""What Hugging Face names a file of several: `train-00000-of-00003.parquet`."""


def group_ranges(path: Path, column: str, extra: str, size: int) -> list[tuple[range, int]]:
    """Divide a file's row groups, in order, into ranges of about `size` bytes, and say how large each is.

    Bytes of all columns, without compression. Raises FileError: the file is broken or has no such column.
    """
    file = _open(path, column, extra)
    ranges: list[tuple[range, int]] = []
    start, total = 0, 0
    with reading(path, _arrow_error(extra)):
        sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
    for group, own in enumerate(sizes):
        total += own
        if total >= size or group == len(sizes) - 1:
            ranges.append((range(start, group + 1), total))
            start, total = group + 1, 0
    return ranges


def batches(path: Path, column: str, extra: str, rows: int, groups: Sequence[int] | None = None) -> Iterator[Any]:
    """Yield a column as pyarrow arrays of at most `rows` rows, of some row groups only if they are given.

    Raises FileError: the file is broken or has no such column.
    """
    file = _open(path, column, extra)
    with reading(path, _arrow_error(extra)):
        for batch in file.iter_batches(rows, row_groups=groups, columns=[column], use_threads=False):
            yield batch.column(0)


def shards(folder: Path, name: str) -> list[Path]:
    """Return the files `<name>-00000-of-00003.parquet` ... of a folder, none of them missing; none if there are none.

    Raises FileError, naming it, where one is missing.
    """
    found = sorted(folder.glob(f"{name}-*-of-*.parquet"))
    matches = [match for path in found if (match := _SHARD.fullmatch(path.name))]
    if not matches:
        return []
    start, _, count = matches[0].groups()
    expected = [folder / f"{start}{number:05}-of-{count}.parquet" for number in range(int(count))]
    for path in expected:
        if path not in found:
            raise FileError(path, f"no such file, though there is {found[0].name}; download all {int(count)}")
    return expected


def _open(path: Path, column: str, extra: str) -> Any:
    parquet = library("pyarrow.parquet", extra)
    with reading(path, _arrow_error(extra)):
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
    if column not in names:
        raise FileError(path, f"expected a column {column!r}, found {', '.join(names) or 'none'}")
    return file


def _arrow_error(extra: str) -> type[Exception]:
    error: type[Exception] = library("pyarrow", extra).ArrowException
    return error
