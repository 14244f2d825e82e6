"""Lines in pieces, cells, whole numbers, and arrays written row by row."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import FileError
from timetrial.prepared.arrays import ArrayWriter
from timetrial.prepared.lines import Cells, Lines, read_lines

NUMBERS = st.one_of(st.integers(-(10**10), 10**10).map(str), st.text("0123456789-+. x:/\xff", max_size=11))


def read(text: str) -> int | None:
    """Return a cell's number as the fast way must read it: one to eight digits, maybe a minus before them."""
    digits = text.removeprefix("-")
    return int(text) if 1 <= len(digits) <= 8 and set(digits) <= set("0123456789") else None


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_whole_numbers(rows: list[tuple[str, str, str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in rows).encode("latin-1")
    values, good = Cells(Lines(Path("table"), 1, text), "\t", 3).integers(slice(None))
    expected = [[read(cell) for cell in row] for row in rows]
    assert good.tolist() == [[number is not None for number in row] for row in expected]
    assert values.tolist() == [[number or 0 for number in row] for row in expected]


@given(lines=st.lists(st.text("ab,", max_size=30), max_size=20), ends=st.booleans(), piece=st.integers(31, 200))
def test_pieces_are_the_lines(
    lines: list[str], ends: bool, piece: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join(lines) + ("\n" if ends else "")
    path = tmp_path_factory.mktemp("lines") / "lines.gz"
    path.write_bytes(gzip.compress(text.encode()))
    found = list(read_lines(path, piece))
    joined = b"".join(each.text for each in found).decode()
    assert joined == text + ("\n" if text and not text.endswith("\n") else "")
    first = 1
    for each in found:
        assert each.first == first
        assert each.text.endswith(b"\n")
        first += each.text.count(b"\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1,2\n3\n4,5\n", "line 12: expected 2 fields, found 1"),
        ("1,2\n3,4\n5,6,7\n", "line 13: expected 2 fields, found 3"),
        ("1\n2\n", "line 11: expected 2 fields, found 1"),
        ("1,2,3\n4\n", "line 11: expected 2 fields, found 3"),
        ("\n", "line 11: expected 2 fields, found 1"),
    ],
)
def test_a_line_of_other_fields(text: str, problem: str) -> None:
    with pytest.raises(FileError, match=f"table: {problem}"):
        Cells(Lines(Path("table"), 11, text.encode()), ",", 2)


@pytest.mark.parametrize("counts", [[], [0], [3, 0, 2], [1] * 120])
@pytest.mark.parametrize("row", [(), (3,), (2, 2)])
def test_arrays_row_by_row(counts: list[int], row: tuple[int, ...], tmp_path: Path) -> None:
    pieces = [np.full((count, *row), number) for number, count in enumerate(counts)]
    with ArrayWriter(tmp_path / "array.npy", np.int16, row) as writer:
        for piece in pieces:
            writer.append(piece)
    found = np.load(tmp_path / "array.npy")
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, np.concatenate([np.empty((0, *row)), *pieces]))
