"""Runs trials in processes of this machine, forked from a server that has PyTorch loaded."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from timetrial.launch.cores import physical_cores, slots
from timetrial.launch.runner import Ended, Evaluated, Event, Interrupted, Started
from timetrial.records.plan import TrialPlan
from timetrial.workloads.registry import known_workloads

_WORKER = "timetrial.launch.worker"


@dataclass(frozen=True)
class _Running:
    plan: TrialPlan
    process: BaseProcess
    channel: Connection
    slot: frozenset[int]


class LocalRunner:
    """Implements `timetrial.launch.runner.Runner`: `jobs` trials at a time, each on cores of its own."""

    def __init__(self, jobs: int) -> None:
        self._slots = slots(physical_cores(), jobs)

    def run(self, plans: Sequence[TrialPlan], runs: Path, on_event: Callable[[Event], None]) -> None:
        """Run all `plans`; see `Runner.run`."""
        waiting = list(reversed(plans))
        free = list(reversed(self._slots))
        running: list[_Running] = []
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_WORKER, *_workload_modules(plans)])
        try:
            with _single_threaded_libraries():
                while waiting or running:
                    while waiting and free:
                        running.append(_start(context, waiting.pop(), runs, free.pop()))
                        on_event(Started(running[-1].plan))
                    for trial in _ready(running):
                        if not _pass_on(trial, on_event):
                            running.remove(trial)
                            free.append(trial.slot)
        finally:
            for trial in running:
                trial.process.terminate()  # safe at any instant: trials go on from their checkpoints
                trial.process.join()


def default_jobs(threads: int | None) -> int:
    """Return how many trials of so many threads fit this machine's cores; None means all cores a trial."""
    return max(len(physical_cores()) // threads, 1) if threads else 1


def _workload_modules(plans: Sequence[TrialPlan]) -> list[str]:
    """The modules of the workloads, so that what they import is loaded once for all trials."""
    known = known_workloads()
    return sorted({known[plan.workload.base].partition(":")[0] for plan in plans})


def _start(
    context: multiprocessing.context.ForkServerContext, plan: TrialPlan, runs: Path, slot: frozenset[int]
) -> _Running:
    from timetrial.launch import worker

    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=worker.work, args=(plan, runs, slot, sender))
    process.start()
    sender.close()
    return _Running(plan, process, receiver, slot)


def _ready(running: Sequence[_Running]) -> list[_Running]:
    """Wait for news and return the trials that have some."""
    ready = connection.wait([trial.channel for trial in running])
    return [trial for trial in running if trial.channel in ready]


def _pass_on(trial: _Running, on_event: Callable[[Event], None]) -> bool:
    """Pass one message on as an event; return whether the trial is still running."""
    try:
        kind, content = trial.channel.recv()
    except EOFError:
        trial.process.join()
        reason = f"its process died (exit code {trial.process.exitcode}); run the same command again to go on"
        on_event(Interrupted(trial.plan, reason))
        return False
    if kind == "evaluated":
        on_event(Evaluated(trial.plan, content))
        return True
    trial.process.join()
    on_event(Ended(trial.plan, content) if kind == "ended" else Interrupted(trial.plan, content))
    return False


@contextmanager
def _single_threaded_libraries() -> Iterator[None]:
    """Have the fork server load its libraries without thread pools; a trial sets PyTorch's threads itself."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
