"""The small interface behind which trials run: local processes here, a cluster's engine elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from timetrial.records.plan import TrialPlan, TrialResult


@dataclass(frozen=True)
class Started:
    """A trial began, or went on."""

    plan: TrialPlan


@dataclass(frozen=True)
class Evaluated:
    """A trial recorded an evaluation."""

    plan: TrialPlan
    evaluation: Mapping[str, float]


@dataclass(frozen=True)
class Ended:
    """A trial has a result."""

    plan: TrialPlan
    result: TrialResult


@dataclass(frozen=True)
class Interrupted:
    """A trial stopped without a result, and can go on from its last checkpoint; `reason` is for the user."""

    plan: TrialPlan
    reason: str


Event: TypeAlias = Started | Evaluated | Ended | Interrupted


class Runner(Protocol):
    """Runs trials and says how they go. Every trial ends with an `Ended` or an `Interrupted`."""

    def run(self, plans: Sequence[TrialPlan], runs: Path, on_event: Callable[[Event], None]) -> None:
        """Run all `plans`, writing records below `runs`; KeyboardInterrupt stops everything and passes on."""
