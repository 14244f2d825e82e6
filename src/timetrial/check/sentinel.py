"""Watches what a submission does beside training: files, network, environment, threads, patches, global settings.

It lives in a process of its own, since what it hooks into cannot be unhooked.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from timetrial.check import static
from timetrial.check.findings import Finding, line_of

_WATCHED_MODULES = (
    "torch",
    "torch.nn",
    "torch.nn.functional",
    "torch.optim",
    "torch.autograd",
    "torch.Tensor",
    "torch.nn.Module",
    "torch.optim.Optimizer",
    "time",
    "random",
    "timetrial.trial.clock.Clock",
    "timetrial.trial.loop",
    "timetrial.trial.evaluation",
    "timetrial.workloads.losses",
    "timetrial.workloads.metrics.sums.SummedEvaluation",
)
_SETTINGS = {
    "torch.get_num_threads()": torch.get_num_threads,
    "torch.get_num_interop_threads()": torch.get_num_interop_threads,
    "torch.get_default_dtype()": torch.get_default_dtype,
    "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision,
    "torch.backends.cuda.matmul.allow_tf32": lambda: torch.backends.cuda.matmul.fp32_precision,
    "torch.backends.cudnn.allow_tf32": lambda: torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
    "torch.backends.cudnn.benchmark": lambda: torch.backends.cudnn.benchmark,
    "torch.backends.cudnn.deterministic": lambda: torch.backends.cudnn.deterministic,
    "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled,
    "torch.is_grad_enabled()": torch.is_grad_enabled,
    "torch.is_anomaly_enabled()": torch.is_anomaly_enabled,
}
_EVENTS = {
    "open": "reads or writes the file {0!r}",
    "os.listdir": "lists the folder {0!r}",
    "os.scandir": "lists the folder {0!r}",
    "socket.connect": "opens a network connection to {1!r}",
    "socket.getaddrinfo": "looks up the network address {0!r}",
    "subprocess.Popen": "starts the program {0!r}",
    "os.system": "runs the command {0!r}",
    "os.putenv": "changes the environment variable {0!r}",
}
"""Audit events, and what they mean in words."""
_STDLIB = sysconfig.get_paths()["stdlib"]
_LIBRARIES = ("site-packages", "dist-packages")
_TRANSPARENT = ("torch/serialization.py", "numpy/lib", "pandas")
"""Library code that does something for its caller, as the standard library does: the caller is who did it."""


FILES, THREADS, PATCHES, SETTINGS = (
    "files, network, environment",
    "threads and processes",
    "patched functions",
    "global settings",
)
"""The checks that the sentinel's findings belong to."""


class Sentinel:
    """Collects findings while `watching`; a finding names the line of the submission that caused it."""

    def __init__(self, folder: Path) -> None:
        """Take the submission's file, or its folder."""
        self._own = str(folder)
        self._timetrial = str(Path(__file__).resolve().parents[1])
        self._armed = False
        self._moment = ""
        self.findings: list[Finding] = []
        self._starts: dict[threading.Thread, str] = {}
        self._children = {child.pid for child in psutil.Process().children(recursive=True)}
        self._threads = {thread.ident for thread in threading.enumerate()}
        self._functions = _functions()
        self._settings = {name: read() for name, read in _SETTINGS.items()}
        sys.addaudithook(self._on_event)
        _watch_environment(self._on_environment)
        _watch_threads(self._on_thread)

    @contextmanager
    def watching(self, moment: str) -> Iterator[None]:
        """Watch while the block runs; `moment` says what it is, as in `step`."""
        self._moment, self._armed = moment, True
        try:
            yield
        finally:
            self._armed = False
            self._look_around()

    def watch_import(self) -> None:
        """Look for what importing the submission changed; reading files then is its own affair."""
        self._moment = "import"
        self._look_around()

    def _look_around(self) -> None:
        self._check_functions()
        self._check_settings()
        self._check_threads()

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        words = _EVENTS.get(event)
        if words is None or (event == "open" and isinstance(arguments[0], int)):
            return
        if place := self._place():
            self._add(FILES, words.format(*arguments, "", ""), place)

    def _on_thread(self, thread: threading.Thread) -> None:
        if self._armed and (place := self._place()):
            self._starts[thread] = place

    def _on_environment(self, key: object) -> None:
        if self._armed and (place := self._place(direct=True)):
            self._add(FILES, f"reads the environment variable {key!r}", place)

    def _place(self, *, direct: bool = False) -> str | None:
        """Return the submission's line that is responsible for what happens now, None where other code is."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(self._own):
                return f"{file}:{frame.f_lineno}"
            # These hooks see everything, wherever they are installed: themselves among the libraries, mostly.
            if file != __file__ and self._is_responsible(frame, direct=direct):
                return None
            frame = frame.f_back
        return None

    def _is_responsible(self, frame: FrameType, *, direct: bool) -> bool:
        """Whether a frame does what it does on its own account: an import, the harness, a library."""
        file = frame.f_code.co_filename
        if "importlib" in file or "importlib" in frame.f_globals.get("__name__", ""):
            return True
        if file.startswith(self._timetrial):
            return True
        if any(folder in file for folder in _LIBRARIES):
            return direct or not any(part in file for part in _TRANSPARENT)
        return direct and not file.startswith((_STDLIB, "<frozen"))

    def _check_functions(self) -> None:
        for name, function in _functions().items():
            before = self._functions.get(name)
            if before is not None and before is not function:
                self._add(PATCHES, f"replaces {name} by a function of its own", line_of(function))
                self._functions[name] = function

    def _check_settings(self) -> None:
        for name, read in _SETTINGS.items():
            found = read()
            if found != self._settings[name]:
                # A setting leaves no trace of who changed it: the text has to tell.
                place = ", ".join(static.setting_lines(Path(self._own), name)) or self._own
                self._add(SETTINGS, f"changes {name} from {self._settings[name]} to {found}", place)
                self._settings[name] = found

    def _check_threads(self) -> None:
        for thread in threading.enumerate():
            if thread.ident not in self._threads and thread is not threading.current_thread():
                self._threads.add(thread.ident)
                self._add(THREADS, f"leaves the thread {thread.name!r} running", self._starts.get(thread, ""))
        for child in psutil.Process().children(recursive=True):
            if child.pid not in self._children:
                self._children.add(child.pid)
                if "_inductor" not in " ".join(_command_line(child)):  # PyTorch's own, for torch.compile
                    self._add(THREADS, f"leaves the process {child.name()!r} running", "")

    def _add(self, rule: str, what: str, place: str) -> None:
        self.findings.append(Finding(message=f"{self._moment}: {what}", where=place, rule=rule))


def _command_line(process: psutil.Process) -> Sequence[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


def _functions() -> dict[str, Any]:
    """Return every callable of the watched modules and classes, by its full name."""
    found: dict[str, Any] = {}
    for name in _WATCHED_MODULES:
        root, _, path = name.partition(".")
        if root not in sys.modules:
            continue
        try:
            holder = attrgetter(path)(sys.modules[root]) if path else sys.modules[root]
        except AttributeError:
            continue
        found |= {f"{name}.{key}": value for key, value in vars(holder).items() if callable(value)}
    return found


def _watch_environment(report: Callable[[object], None]) -> None:
    """Have every look-up in `os.environ` reported: `in` and `get` come through here too."""
    environment: Any = type(os.environ)
    get = environment.__getitem__

    def getitem(self: Any, key: object) -> Any:
        report(key)
        return get(self, key)

    environment.__getitem__ = getitem


def _watch_threads(report: Callable[[threading.Thread], None]) -> None:
    """Have every start of a thread reported."""
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        report(thread)
        begin(thread)

    threading.Thread.start = start  # type: ignore[method-assign, assignment]  # this process is the sentinel's own
