"""Runs functions in processes of their own, some at a time, forked from a server that has PyTorch loaded."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_PATIENCE = 120.0
"""Seconds without news from any process after which those that run are given up."""


def run_all(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    jobs: int,
    on_done: Callable[[], None],
    given_up: Callable[[str], Result],
) -> list[Result]:
    """Return `function(task)` of every task, in their order; `given_up(reason)` stands for one that never returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["timetrial.check.probe"])
    results: dict[int, Result] = {}
    waiting = list(range(len(tasks)))[::-1]
    running: dict[Connection, tuple[int, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(function, tasks[index], sender))
                process.start()
                sender.close()
                running[receiver] = (index, process)
            ready = connection.wait(list(running), timeout=_PATIENCE)
            if not ready:
                ready = list(running)
            for channel in ready:
                assert isinstance(channel, Connection), "a pipe's end"
                index, process = running.pop(channel)
                results[index] = _received(channel, process, given_up)
                on_done()
    finally:
        for _, process in running.values():
            process.kill()
    return [results[index] for index in range(len(tasks))]


def _work(function: Callable[[Task], Result], task: Task, channel: Connection) -> None:
    channel.send(function(task))


def _received(channel: Connection, process: Any, given_up: Callable[[str], Result]) -> Result:
    """Return what a process sent; end it where it sent nothing."""
    if not channel.poll():
        process.kill()
        return given_up(f"did not return within {_PATIENCE:.0f} s")
    try:
        result: Result = channel.recv()
    except EOFError:
        process.join()
        return given_up(f"its process died (exit code {process.exitcode})")
    process.join(5)
    process.kill()  # a thread that was left running keeps it alive
    return result
