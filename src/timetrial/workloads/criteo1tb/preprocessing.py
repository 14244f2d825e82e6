"""From raw click logs to the model's inputs: logarithms of counts, hashed categories (spec: workloads/criteo1tb.md, 1).

FarmHash's Fingerprint64 is that of G. Pike, https://github.com/google/farmhash, `farmhashna::Hash64`, for up to 16
bytes: a category has 8 and its field's number up to two more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timetrial.errors import UserError
from timetrial.workloads.base import HostBatch

MISSING_CATEGORY = b"00000000"
_MISSING = (b"", b"-1")
"""What stands in a log for a missing field; the second is what the reference takes for one, too."""

_K0, _K2 = np.uint64(0xC3A5C85C97CB3127), np.uint64(0x9AE16A3B2F90404F)
_LONGEST = 16
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def log_counts(counts: np.ndarray) -> np.ndarray:
    """Return ln(1 + x) as float32 of counts of any shape; missing ones, negative, give 0."""
    return np.log1p(np.maximum(counts, 0)).astype(np.float32)


def hash_categories(texts: np.ndarray, field: int, size: int) -> np.ndarray:
    """Return the bucket, int64 in [0, size), of each category of the field numbered `field` from 0.

    `texts` are bytes (n,) of numpy's kind `S`; two of different fields have different buckets but by chance.
    Raises UserError for one that is longer than 14 bytes.
    """
    present = np.where(np.isin(texts, _MISSING), MISSING_CATEGORY, texts)
    return (fingerprint64(np.char.add(present, str(field).encode())) % np.uint64(size)).astype(np.int64)


def hex_texts(categories: np.ndarray) -> np.ndarray:
    """Return uint32 (n,) as 8 hexadecimal digits each, bytes (n,): 0 is what a missing category is taken for."""
    nibbles = categories[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & np.uint32(15)
    return _HEX_DIGITS[nibbles].view("S8")[:, 0]


def parse_lines(lines: Sequence[str], field_sizes: Sequence[int], dense_fields: int = 13) -> HostBatch:
    """Return lines of a log, tab-separated: label, counts, categories, as a batch.

    `inputs` float32 (n, counts + categories), `targets` float32 (n,). Like the reference's, buckets pass through
    float32, which rounds those above 2^24. Raises UserError where a line has too few or too many fields.
    """
    columns = 1 + dense_fields + len(field_sizes)
    rows = [line.rstrip("\n").encode().split(b"\t") for line in lines]
    for number, row in enumerate(rows):
        if len(row) != columns:
            raise UserError(f"click log, line {number} of a batch: expected {columns} fields, found {len(row)}")
    texts = np.array(rows)
    numbers = np.where(np.isin(texts[:, : 1 + dense_fields], _MISSING), b"0", texts[:, : 1 + dense_fields])
    buckets = [
        hash_categories(texts[:, 1 + dense_fields + field], field, size) for field, size in enumerate(field_sizes)
    ]
    counts = log_counts(numbers[:, 1:].astype(np.float64))
    return {
        "inputs": np.concatenate([counts, np.stack(buckets, axis=1).astype(np.float32)], axis=1),
        "targets": numbers[:, 0].astype(np.float32),
    }


def fingerprint64(texts: np.ndarray) -> np.ndarray:
    """Return the 64-bit fingerprint, uint64 (n,), of bytes (n,) of numpy's kind `S`.

    Raises UserError for one of more than 16 bytes.
    """
    lengths = np.char.str_len(texts)
    longest = int(lengths.max(initial=0))
    if longest > _LONGEST:
        raise UserError(f"category: expected at most {_LONGEST} bytes with its field's number, found {longest}")
    hashes = np.empty(len(texts), np.uint64)
    for length in np.unique(lengths):
        chosen = lengths == length
        hashes[chosen] = _fingerprint(texts[chosen], int(length))
    return hashes


def _fingerprint(texts: np.ndarray, length: int) -> np.ndarray:
    """Return the fingerprints of texts of one length."""
    if length == 0:
        return np.full(len(texts), _K2)
    text = np.ascontiguousarray(texts.astype(f"S{length}")).view(np.uint8).reshape(-1, length)
    mul = _K2 + np.uint64(2 * length)
    if length >= 8:
        return fingerprint64_of_ends(_integer(text[:, :8]), _integer(text[:, -8:]), length)
    if length >= 4:
        first = _integer(text[:, :4]) << np.uint64(3)
        return _mix(first + np.uint64(length), _integer(text[:, -4:]), mul)
    a, b, c = (text[:, place].astype(np.uint64) for place in (0, length >> 1, length - 1))
    y, z = a + (b << np.uint64(8)), (c << np.uint64(2)) + np.uint64(length)
    return _shift_mix(y * _K2 ^ z * _K0) * _K2


def fingerprint64_of_ends(first: np.ndarray, last: np.ndarray, length: int) -> np.ndarray:
    """Return the fingerprints of texts of 8 to 16 bytes, of which `first` and `last` are the 8 at either end, uint64.

    They are read as little-endian integers (n,).
    """
    mul = _K2 + np.uint64(2 * length)
    a, b = first + _K2, last
    return _mix(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)


def _integer(octets: np.ndarray) -> np.ndarray:
    """Read (n, bytes) as little-endian integers, uint64 (n,)."""
    return np.ascontiguousarray(octets).view(f"<u{octets.shape[1]}")[:, 0].astype(np.uint64)


def _rotate(x: np.ndarray, bits: int) -> np.ndarray:
    return x >> np.uint64(bits) | x << np.uint64(64 - bits)


def _shift_mix(x: np.ndarray) -> np.ndarray:
    return x ^ x >> np.uint64(47)


def _mix(u: np.ndarray, v: np.ndarray, mul: np.uint64) -> np.ndarray:
    a = _shift_mix((u ^ v) * mul)
    return _shift_mix((v ^ a) * mul) * mul


class DictionaryCoded:
    """Makes batches of dictionary-coded rows: the raw values' preprocessing is done once, for the dictionaries.

    What a row's code stands for is looked up, so that a batch is what `parse_lines` makes of the same raw values.
    """

    def __init__(
        self, counts: np.ndarray, categories: np.ndarray, field_sizes: Sequence[int], wide: np.ndarray
    ) -> None:
        """Take counts (codes,), all fields' categories uint32 in a row, and which fields are stored as `wide`."""
        starts = np.cumsum([0, *field_sizes])
        texts = hex_texts(categories)
        self._log_counts = log_counts(counts)
        self._buckets = np.concatenate(
            [
                hash_categories(texts[start:stop], field, size)
                for field, (start, stop, size) in enumerate(zip(starts[:-1], starts[1:], field_sizes, strict=True))
            ]
        ).astype(np.float32)
        self._columns = {"narrow": np.flatnonzero(~wide), "wide": np.flatnonzero(wide)}
        self._starts = {name: starts[columns] for name, columns in self._columns.items()}

    def __call__(self, rows: HostBatch) -> HostBatch:
        """Return `inputs` float32 (n, 39) and `targets` float32 (n,) of rows as `generator.split_arrays` has them."""
        dense = rows["dense"]
        fields = dense.shape[1]
        inputs = np.empty((len(dense), fields + sum(map(len, self._columns.values()))), np.float32)
        inputs[:, :fields] = self._log_counts.take(dense)
        for name, columns in self._columns.items():
            inputs[:, fields + columns] = self._buckets.take(rows[name] + self._starts[name])
        return {"inputs": inputs, "targets": rows["labels"].astype(np.float32)}
