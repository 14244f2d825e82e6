"""One writer a folder: a lock file with the owner's host and process number."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timetrial.errors import UserError


class LockedError(UserError):
    """Another process writes here."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; raises LockedError where another process holds it.

    On one machine the kernel's file lock decides, and lets go of it when a process dies, however it dies. A file
    system that is shared between machines may not carry that lock across, so the file also names its owner: one
    left by another machine is respected until a person removes it.
    """
    descriptor = _acquire(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise LockedError(f"{path.parent}: another process is at work here ({owner})") from None
        if not _is_current(descriptor, path):
            os.close(descriptor)  # its owner removed the file between our opening and our locking it
            continue
        owner = _owner(descriptor)
        if owner and owner.split()[0] != socket.gethostname():
            os.close(descriptor)
            raise LockedError(
                f"{path.parent}: {owner} began here on another machine; "
                f"if that process is dead, remove {path} and run again"
            )
        return descriptor


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 300, 0).decode(errors="replace").strip()


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
