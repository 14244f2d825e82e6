"""What a trial's own process does; a fork server imports this module once, with PyTorch in its wake."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path

from timetrial.errors import UserError
from timetrial.launch.cores import pin
from timetrial.records.plan import TrialPlan
from timetrial.trial.run import run_trial


def work(plan: TrialPlan, runs: Path, cores: frozenset[int], channel: Connection) -> None:
    """Run one trial, send each evaluation, at last the result or the sentence that says why there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with_parent()
    pin(cores)
    try:
        result = run_trial(plan, runs, lambda evaluation: _tell(channel, "evaluated", evaluation))
        _tell(channel, "ended", result)
    except UserError as error:
        _tell(channel, "interrupted", str(error))


def _tell(channel: Connection, kind: str, content: object) -> None:
    """Send a message; with nobody left to hear it the process ends, rather than take that for a failed trial."""
    try:
        channel.send((kind, content))
    except OSError:
        os._exit(1)


def _die_with_parent() -> None:
    """A trial whose launcher was killed must not go on unseen: it dies, and resumes with the next launch."""
    parent = parent_process()
    assert parent is not None, "a worker is started by the local runner"

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
