"""Time is one object with named kinds that always add up to the total."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from time import perf_counter_ns


class Kind(IntEnum):
    """What a stretch of wall time was spent on; at any instant exactly one."""

    SETUP = 0
    """The submission building its optimizer."""
    DATA = 1
    """Waiting for the next batch."""
    ALGORITHM = 2
    """Data selection, training steps, preparing for evaluations."""
    LOOP = 3
    """The harness's own work between two steps: on the clock, hence kept tiny."""
    EVALUATION = 4
    CHECKPOINT = 5
    LOGGING = 6
    HARNESS = 7
    """Everything else of the harness: building the model and the data, resuming."""


_ALWAYS_ON_CLOCK = {Kind.DATA, Kind.ALGORITHM, Kind.LOOP}
_REPORTED = {
    "submission": (Kind.SETUP, Kind.DATA, Kind.ALGORITHM, Kind.LOOP),
    "evaluation": (Kind.EVALUATION,),
    "checkpoint": (Kind.CHECKPOINT,),
    "logging": (Kind.LOGGING,),
    "harness": (Kind.HARNESS,),
}


DATA, ALGORITHM, LOOP = int(Kind.DATA), int(Kind.ALGORITHM), int(Kind.LOOP)
"""The kinds of the hot loop as plain integers, which a list is indexed by more quickly than by an enumeration."""


class Clock:
    """Charges wall time to the kind it was last switched to. Integer nanoseconds; saved and restored whole.

    `submission` is what scoring uses: the time of the kinds that are on the clock. The hot loop switches four
    times a step; what that and the rest of the loop cost is measured by `benchmarks/harness_overhead.py`.
    """

    __slots__ = ("_kind", "_now", "_on_clock", "_since", "_spent", "_submission")

    def __init__(self, *, setup_on_clock: bool, now: Callable[[], int] = perf_counter_ns) -> None:
        on_clock = _ALWAYS_ON_CLOCK | ({Kind.SETUP} if setup_on_clock else set())
        self._on_clock = [kind in on_clock for kind in Kind]
        self._now = now
        self._spent = [0] * len(Kind)
        self._submission = 0
        self._kind: int = Kind.HARNESS
        self._since = now()

    def switch(self, kind: int) -> int:
        """Charge the time since the last switch to the kind that was on, and turn `kind` on.

        Return the nanoseconds on the clock up to now.
        """
        now = self._now()
        spent = now - self._since
        self._spent[self._kind] += spent
        if self._on_clock[self._kind]:
            self._submission += spent
        self._kind = kind
        self._since = now
        return self._submission

    @property
    def submission(self) -> float:
        """Seconds on the clock up to this instant."""
        running = self._now() - self._since if self._on_clock[self._kind] else 0
        return (self._submission + running) * 1e-9

    @property
    def submission_at_switch(self) -> float:
        """Seconds on the clock up to the last switch, without reading the time again."""
        return self._submission * 1e-9

    @property
    def total(self) -> float:
        """Seconds of all kinds up to the last switch."""
        return sum(self._spent) * 1e-9

    def spent(self, kind: Kind) -> float:
        """Seconds charged to one kind up to the last switch."""
        return self._spent[kind] * 1e-9

    def by_kind(self) -> dict[str, float]:
        """Seconds by kind up to the last switch; `submission`'s own parts stand beside it as `submission/...`.

        With the set-up off the clock its time is the harness's.
        """
        seconds: dict[str, float] = {}
        for name, kinds in _REPORTED.items():
            on_clock = [kind for kind in kinds if name != "submission" or self._on_clock[kind]]
            seconds[name] = sum(self._spent[kind] for kind in on_clock) * 1e-9
            if name == "submission":
                seconds |= {f"submission/{kind.name.lower()}": self.spent(kind) for kind in on_clock}
        if not self._on_clock[Kind.SETUP]:
            seconds["harness"] += self.spent(Kind.SETUP)
        return seconds

    def state_dict(self) -> dict[str, int]:
        """Return what was charged up to the last switch, in nanoseconds by kind."""
        return {kind.name: self._spent[kind] for kind in Kind}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a saved state: of what came since, only the lost work's time is gone."""
        self._spent = [state[kind.name] for kind in Kind]
        self._submission = sum(self._spent[kind] for kind in Kind if self._on_clock[kind])
        self._since = self._now()
