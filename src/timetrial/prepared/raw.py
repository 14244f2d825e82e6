"""Reading raw files: found by name, and errors that say which file and what to do."""

from __future__ import annotations

import errno
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from timetrial.errors import FileError, UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def require(path: Path, what: str) -> Path:
    """Return the path of a raw file or folder. Raises FileError where there is none."""
    if not path.exists():
        raise FileError(path, f"no such file or folder; expected {what}")
    return path


def require_some(folder: Path, pattern: str, what: str) -> list[Path]:
    """Return the files of a folder that match a glob pattern, sorted. Raises FileError where there are none."""
    require(folder, what)
    if found := sorted(folder.glob(pattern)):
        return found
    raise FileError(folder, f"no files {pattern}; expected {what}")


@contextmanager
def reading(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong while a raw file is read into a FileError; `errors` are a library's own."""
    expected: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, tarfile.TarError, *errors)
    try:
        yield
    except UserError:
        raise
    except expected as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise  # it is what was being written that found no room
        raise FileError(path, f"cannot be read ({_first_line(error)}); download it again, and run once more") from error


def library(module: str, extra: str) -> ModuleType:
    """Import a library that an extra of timetrial brings. Raises UserError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module} is not installed: pip install 'timetrial[{extra}]'") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
