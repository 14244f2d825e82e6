"""Files that are never torn."""

import math
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.records.files import RecordWriteError, append_line, read_lines, write_json, write_lines

rows = st.dictionaries(st.text(max_size=5), st.floats() | st.integers(-(2**53), 2**53), max_size=4)


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: writes stop half-way, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)


@settings(max_examples=25)  # each flushes to the disk
@given(st.lists(rows, max_size=5))
def test_lines_round_trip_with_numbers_that_json_lacks(tmp_path_factory: pytest.TempPathFactory, data: list) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.jsonl"
    for row in data:
        append_line(path, row)
    read = [{key: float(value) for key, value in row.items()} for row in read_lines(path)]
    assert len(read) == len(data)
    for old, new in zip(data, read, strict=True):
        assert old.keys() == new.keys()
        for key, value in old.items():
            assert new[key] == value or (math.isnan(value) and math.isnan(new[key]))


@settings(max_examples=25)
@given(st.integers(0, 60))
def test_a_torn_last_line_is_not_read(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "log.jsonl"
    write_lines(path, [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.5}])
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    assert len(read_lines(path)) == content[:kept].count(b"\n")


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, {"step": 1})
    before = path.read_bytes()
    with disk_with_room_for(len(before) + 4), pytest.raises(RecordWriteError, match=r"log.jsonl: cannot be written"):
        append_line(path, {"step": 2, "loss": 0.123456789})
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"ended": "failed"})
    before = path.read_bytes()
    with disk_with_room_for(10), pytest.raises(RecordWriteError, match="run the same command again"):
        write_json(path, {"ended": "target_reached", "reason": "x" * 1000})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert os.listdir(tmp_path) == ["result.json"]
