"""`algoperf.profiler`: profilers that measure nothing, since the trial's clock does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Profiler:
    """Takes names of actions, as the public one does."""

    def __init__(self, local_rank: int | None = None) -> None:
        self._local_rank = local_rank

    def set_local_rank(self, local_rank: int) -> None:
        """Note the rank."""
        self._local_rank = local_rank

    @property
    def local_rank(self) -> int:
        """The rank; 0 where none was set."""
        return self._local_rank or 0

    def start(self, action_name: str) -> None:
        """Begin an action."""

    def stop(self, action_name: str) -> None:
        """End an action."""

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """Run a block as an action."""
        yield action_name

    def summary(self) -> str:
        """Return an empty report."""
        return ""


class PassThroughProfiler(Profiler):
    """The public benchmark's name for a profiler that measures nothing."""
