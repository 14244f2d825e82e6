"""Which processor cores a trial gets, so that trials that run side by side do not disturb each other."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores() -> list[int]:
    """Return one logical processor of each physical core that this process may use.

    Two trials on the two threads of one core would slow each other down by an amount nobody knows.
    """
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    chosen: dict[str, int] = {}
    for core in sorted(os.sched_getaffinity(0)):
        chosen.setdefault(_siblings(core), core)
    return sorted(chosen.values())


def slots(cores: list[int], jobs: int) -> list[frozenset[int]]:
    """Divide the cores into `jobs` equal, disjoint parts; with more jobs than cores they share."""
    share = max(len(cores) // jobs, 1)
    return [frozenset(cores[(job * share + k) % len(cores)] for k in range(share)) for job in range(jobs)]


def pin(cores: frozenset[int]) -> None:
    """Keep this process on the given cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _siblings(core: int) -> str:
    """Name the physical core of a logical processor; where Linux does not tell, each is its own."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(core)
