"""One writer a record."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from timetrial.records.lock import LockedError, exclusive

HOLD = """
import sys, time
from pathlib import Path
from timetrial.records.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(lock: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = holder(lock)
    try:
        with pytest.raises(LockedError, match=f"{socket.gethostname()} {process.pid}"), exclusive(lock):
            pytest.fail("two processes held the lock")
    finally:
        finish(process)
    with exclusive(lock):
        assert lock.read_text().split() == [socket.gethostname(), str(os.getpid())]
    assert not lock.exists()


def test_a_killed_owner_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = holder(lock)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert lock.exists()
    with exclusive(lock):
        pass


def test_the_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("elsewhere 4711\n")
    with pytest.raises(LockedError, match="elsewhere 4711 began here on another machine"), exclusive(lock):
        pytest.fail("another machine's lock was taken")
    assert lock.read_text() == "elsewhere 4711\n"
