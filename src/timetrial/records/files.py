"""Files that are never torn: whole files by write-and-rename, logs by whole lines."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from timetrial.errors import UserError


class RecordWriteError(UserError):
    """A file of a record could not be written: a full disk, a folder without permission."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path}: cannot be written ({error.strerror or error}); nothing that was recorded is lost: "
            "make room or choose another --runs-dir, and run the same command again"
        )


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under `path` all at once, when the block ends without an error.

    Written beside its place, flushed to the disk and renamed. The price is twice the space for a moment, and
    that a crash can leave a `*.partial` file behind, which the next write replaces. Raises RecordWriteError.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RecordWriteError(path, error) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON atomically; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write((json.dumps(encode(data), indent=1, allow_nan=False) + "\n").encode())


def append_line(path: Path, data: Any) -> None:
    """Append one line of JSON and flush it to the disk; a write that fails half-way is taken back.

    Raises RecordWriteError.
    """
    line = (json.dumps(encode(data), allow_nan=False) + "\n").encode()
    try:
        with path.open("ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise RecordWriteError(path, error) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a log of JSON objects; what follows the last line's end was torn and is left out.

    Raises ValueError for a line that is complete and yet not a JSON object. A missing file is an empty log.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")[:-1]
    rows = [json.loads(line) for line in lines]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: expected a JSON object")
    return rows


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a log of JSON objects, a line each, atomically; see `atomic_file`."""
    with atomic_file(path) as file:
        file.writelines((json.dumps(encode(row), allow_nan=False) + "\n").encode() for row in rows)


def encode(data: Any) -> Any:
    """Return `data` with the numbers that JSON does not know as "nan", "inf" and "-inf"; `float` reads them."""
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    if isinstance(data, dict):
        return {key: encode(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [encode(value) for value in data]
    return data


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def flush_folder(folder: Path) -> None:
    """Make a rename durable; not every file system lets a folder be opened, and then it does not need it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
