"""Raw tables in text files, read without a Python loop over lines: whole lines in pieces, cut into cells, cells read.

A file is read some megabytes at a time, and numpy looks at all its cells at once, so that memory stays small and
a line costs microseconds.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import reading

PIECE = 1 << 20
"""Bytes read at a time; a line must be shorter. Larger pieces are slower: what is made of them leaves the cache."""

NEWLINE = ord("\n")
_MINUS = ord("-")
_WORD = 8
"""Bytes of a word: the digits that are read at once."""


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file, each with the newline at its end."""

    path: Path
    first: int
    """Number of the first line, counted from 1."""
    text: bytes


def read_lines(path: Path, piece: int = PIECE) -> Iterator[Lines]:
    """Yield a text file's lines in pieces of about `piece` bytes; a file named `.gz` is unpacked on the way.

    Raises FileError where it cannot be read to its end, or holds a line longer than a piece.
    """
    first, rest = 1, b""
    with reading(path), _open(path) as file:
        while block := file.read(piece):
            cut = block.rfind(b"\n") + 1
            if cut:
                text = rest + block[:cut]
                yield Lines(path, first, text)
                first += text.count(b"\n")
                rest = b""
            rest += block[cut:]
            if len(rest) > piece:
                raise FileError(path, f"line {first}: longer than {piece} bytes; expected a text file of short lines")
    if rest:
        yield Lines(path, first, rest + b"\n")


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


class Cells:
    """The cells of a table's lines: where each starts and how long it is, int64 (lines, columns)."""

    def __init__(self, lines: Lines, separator: str, columns: int) -> None:
        """Cut lines into cells. Raises FileError, with the line's number, where one has not `columns` of them."""
        self.lines = lines
        # With a word of padding on both sides, so that one can be read at any cell's start and before its end.
        self.octets = np.frombuffer(b"".join((bytes(_WORD), lines.text, bytes(_WORD))), np.uint8)
        stops = np.flatnonzero((self.octets == ord(separator)) | (self.octets == NEWLINE))
        newlines = self.octets[stops] == NEWLINE
        rows = len(stops) // columns
        last = newlines[columns - 1 :: columns]
        if len(stops) != rows * columns or not last.all() or np.count_nonzero(newlines) != rows:
            found = np.diff(np.flatnonzero(newlines), prepend=-1)
            line = int((found != columns).argmax())
            raise self.error(line, f"expected {columns} fields, found {found[line]}")
        starts = np.empty_like(stops)
        starts[0] = _WORD
        np.add(stops[:-1], 1, out=starts[1:])
        self.starts = starts.reshape(-1, columns)
        self.lengths = (stops - starts).reshape(-1, columns)

    def error(self, line: int, problem: str) -> FileError:
        """Return an error about a line, counted from 0 within the piece."""
        return FileError(self.lines.path, f"line {self.lines.first + line}: {problem}")

    def cell(self, line: int, column: int) -> bytes:
        """Return what stands in a cell."""
        start = int(self.starts[line, column])
        return self.octets[start : start + int(self.lengths[line, column])].tobytes()

    @cached_property
    def _words(self) -> np.ndarray:
        """The 8 bytes from each byte on, as a little-endian integer: overlapping, and of no size of their own."""
        return np.ndarray((len(self.octets) - _WORD + 1,), "<u8", buffer=self.octets, strides=(1,))

    def words(self, columns: slice) -> np.ndarray:
        """Return the 8 bytes from each cell's start on, whether they are the cell's or not, uint64 (lines, columns)."""
        return self._words[self.starts[:, columns]]

    def first_octets(self, columns: slice) -> np.ndarray:
        """Return each cell's first byte, or what follows an empty one, uint8 (lines, columns)."""
        return self.octets[self.starts[:, columns]]

    def integers(self, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return whole numbers int64 (lines, columns), and for which cells they stand.

        A cell of one to eight digits, with or without a minus before them, is read; another gives 0 and False.
        """
        starts, lengths = self.starts[:, columns], self.lengths[:, columns]
        negative = (self.octets[starts] == _MINUS) & (lengths > 0)
        digits = lengths - negative
        good = (digits > 0) & (digits <= _WORD)
        # The word that ends where the cell does; what stands before the cell is shifted out, the digits' 3 is removed.
        beyond = np.where(good, 8 * (_WORD - digits), 0).astype(np.uint64)
        word = (self._words[starts + lengths - _WORD] ^ _ZEROS) >> beyond << beyond
        good &= ((word + _ABOVE_NINE | word) & _HIGH_BITS) == 0
        # Two digits, then four, then eight are joined in all places of the word at once.
        word = (word * np.uint64(10 * 256 + 1) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
        word = (word * np.uint64(100 * 65536 + 1) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
        values = (word * np.uint64(10_000 * 2**32 + 1) >> np.uint64(32)).astype(np.int64)
        values[~good] = 0
        return np.where(negative, -values, values), good


_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)
"""Added to bytes up to 127, makes the highest bit of those above 9 one."""
_HIGH_BITS = np.uint64(0x8080808080808080)
