"""Click logs read fast: what `parse_lines` makes of each line, made of thousands of lines at once.

Nearly every category has 8 digits, a word, and is hashed as one; every other cell is read one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from timetrial.prepared.lines import Cells, Lines
from timetrial.workloads.base import HostBatch
from timetrial.workloads.criteo1tb.preprocessing import (
    MISSING_CATEGORY,
    fingerprint64_of_ends,
    hash_categories,
    log_counts,
)

DENSE_FIELDS = 13
_DIGITS = 8
"""Of a category."""
_LONGEST = 14
"""Bytes of a category; with its field's number there may be 16."""
_MISSING_WORD = np.frombuffer(MISSING_CATEGORY, "<u8")[0]


def parse_log(lines: Lines, field_sizes: Sequence[int]) -> HostBatch:
    """Return lines of a log: label, counts, categories, tab-separated.

    `labels` uint8 (n,); `counts` float32 (n, 13), as logarithms; `buckets` uint32 (n, fields), not yet rounded by
    float32. Raises FileError, with the line's number, where the number of fields is wrong, a label is neither 0 nor 1
    (unlike the reference, which takes a missing one for 0), a count is no number or a category is too long.
    """
    cells = Cells(lines, "\t", 1 + DENSE_FIELDS + len(field_sizes))
    return {"labels": _labels(cells), "counts": _log_counts(cells), "buckets": _buckets(cells, field_sizes)}


def _labels(cells: Cells) -> np.ndarray:
    labels = cells.first_octets(slice(1))[:, 0] - np.uint8(ord("0"))
    broken = (labels > 1) | (cells.lengths[:, 0] != 1)
    if broken.any():
        line = int(broken.argmax())
        raise cells.error(line, f"expected a label of 0 or 1, found {_shown(cells.cell(line, 0))}")
    return labels


def _log_counts(cells: Cells) -> np.ndarray:
    columns = slice(1, 1 + DENSE_FIELDS)
    values, read = cells.integers(columns)
    counts = values.astype(np.float64)
    for line, column in np.argwhere(~read & (cells.lengths[:, columns] > 0)).tolist():
        counts[line, column] = _number(cells, line, 1 + column)
    return log_counts(counts)


def _number(cells: Cells, line: int, column: int) -> float:
    """Return a count that is no short whole number."""
    text = cells.cell(line, column)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise cells.error(line, f"field {column + 1}: expected a count, found {_shown(text)}")
    return number


def _buckets(cells: Cells, field_sizes: Sequence[int]) -> np.ndarray:
    first = 1 + DENSE_FIELDS
    lengths = cells.lengths[:, first:]
    if (long := lengths > _LONGEST).any():
        line, field = np.argwhere(long)[0].tolist()
        shown = _shown(cells.cell(line, first + field))
        raise cells.error(line, f"field {first + field + 1}: expected a category of 8 digits, found {shown}")
    words = cells.words(slice(first, None))
    words[lengths == 0] = _MISSING_WORD
    buckets = np.empty(words.shape, np.uint32)
    for field, size in enumerate(field_sizes):
        buckets[:, field] = _hash_words(np.ascontiguousarray(words[:, field]), field, size)
        if (odd := np.flatnonzero((lengths[:, field] != _DIGITS) & (lengths[:, field] > 0))).size:
            texts = [cells.cell(line, first + field) for line in odd.tolist()]
            buckets[odd, field] = hash_categories(np.array(texts), field, size)
    return buckets


def _hash_words(words: np.ndarray, field: int, size: int) -> np.ndarray:
    """Return the buckets, uint64 (n,), of categories of 8 bytes, which are read as little-endian integers."""
    suffix = str(field).encode()
    gone = np.uint64(8 * len(suffix))
    last = words >> gone | np.uint64(int.from_bytes(suffix, "little")) << np.uint64(64) - gone
    hashes = fingerprint64_of_ends(words, last, _DIGITS + len(suffix))
    return hashes - hashes // np.uint64(size) * np.uint64(size)  # numpy's remainder takes four times as long


def _shown(text: bytes) -> str:
    return repr(text[:40].decode(errors="replace"))
