"""Sequences of different lengths in files, and array files of unknown length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.errors import FileError
from timetrial.prepared.ragged import Ragged, RaggedWriter, token_dtype

sequences = st.lists(st.lists(st.integers(0, 2**16 - 1), max_size=5), max_size=6)


@settings(max_examples=60, deadline=None)
@given(folders=st.lists(sequences, min_size=1, max_size=4), choice=st.data())
def test_any_range_of_any_division(
    folders: list[list[list[int]]], choice: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Written in steps, to several folders, some of them empty."""
    root = tmp_path_factory.mktemp("ragged")
    paths = [root / str(number) for number in range(len(folders))]
    for path, own in zip(paths, folders, strict=True):
        path.mkdir()
        with RaggedWriter(path, "x", np.dtype(np.uint16)) as writer:
            for half in (own[:2], own[2:]):
                values = np.array([value for sequence in half for value in sequence], dtype=np.int64)
                writer.append(values, np.array([len(sequence) for sequence in half], dtype=np.int64))
    whole = [sequence for own in folders for sequence in own]
    ragged = Ragged(paths, "x")
    assert len(ragged) == len(whole)
    start = choice.draw(st.integers(0, len(whole)))
    stop = choice.draw(st.integers(start, len(whole)))
    for _ in range(2):  # what it keeps of the first time must not matter
        values, lengths = ragged.read(start, stop)
        assert values.dtype == np.uint16
        assert values.tolist() == [value for sequence in whole[start:stop] for value in sequence]
        assert lengths.tolist() == [len(sequence) for sequence in whole[start:stop]]
    rows = choice.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)) if whole else []
    values, lengths = ragged.take(np.array(rows, dtype=np.int64))
    assert values.dtype == np.uint16
    assert values.tolist() == [value for row in rows for value in whole[row]]
    assert lengths.tolist() == [len(whole[row]) for row in rows]


def test_files_are_plain_arrays(tmp_path: Path) -> None:
    with RaggedWriter(tmp_path, "x", np.dtype(np.uint16)) as writer:
        writer.append(np.array([7, 8, 9]), np.array([1, 2]))
    assert np.load(tmp_path / "x.npy").tolist() == [7, 8, 9]
    np.save(tmp_path / "y.npy", np.array([1, 2], np.int32))
    assert (tmp_path / "x_lengths.npy").read_bytes() == (tmp_path / "y.npy").read_bytes()
    (tmp_path / "x_lengths.npy").write_bytes(b"")
    with pytest.raises(FileError, match=r"x_lengths\.npy: is no array"):
        Ragged([tmp_path], "x")


def test_token_ids_take_two_bytes_where_they_fit() -> None:
    assert (token_dtype(2**16), token_dtype(2**16 + 1)) == (np.uint16, np.int32)
