"""How a run is going: live on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from timetrial.launch.runner import Ended, Evaluated, Event, Interrupted, Started
from timetrial.records.plan import TrialPlan, TrialResult


class RunProgress:
    """Shows the whole run and every running trial; call it with each event."""

    def __init__(self, console: Console, todo: Sequence[TrialPlan], *, done: int, jobs: int) -> None:
        self._console = console
        self._jobs = jobs
        self._done = done
        self._total = done + len(todo)
        self._waiting = {plan.folder: plan for plan in todo}
        self._began: dict[str, float] = {}
        self._walls: dict[str, list[float]] = {}
        self._pace: dict[str, float] = {}
        """What a whole trial of a workload takes of the seconds granted, as far as those that run can tell."""
        self._left: dict[str, float] = {}
        """Seconds that a running trial still needs at most, as of its last evaluation."""
        self._bars: dict[str, TaskID] = {}
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[amount]}", justify="right"),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._overall = self._live.add_task(
            "[bold]all trials[/bold]",
            total=self._total,
            completed=done,
            amount=f"{done} of {self._total}",
            note=self._left_note(),
        )
        self.results: list[tuple[TrialPlan, TrialResult]] = []
        self.interrupted: list[Interrupted] = []

    def __enter__(self) -> RunProgress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Started(plan):
                self._began[plan.folder] = time.monotonic()
                self._bars[plan.folder] = self._live.add_task(_short_name(plan), total=1.0, amount="", note="starts")
            case Evaluated(plan, row):
                done, amount = _done(plan, row)
                self._look_ahead(plan, row, done)
                self._live.update(self._bars[plan.folder], completed=done, amount=amount, note=_standing(plan, row))
            case Ended(plan, result):
                self.results.append((plan, result))
                self._close(plan)
                self._say(plan, result.reason, bad=result.ended == "failed")
            case Interrupted(plan, reason):
                self.interrupted.append(event)
                self._close(plan)
                self._say(plan, reason, bad=True)

    def _look_ahead(self, plan: TrialPlan, row: Mapping[str, float], done: float) -> None:
        """Learn from a running trial how long it, and others on its workload, will take at most."""
        if done > 0:
            self._pace[plan.workload.name] = row["total_time"] / done / _granted(plan)
            self._left[plan.folder] = row["total_time"] * max(1 / done - 1, 0)
            self._live.update(self._overall, note=self._left_note())

    def _close(self, plan: TrialPlan) -> None:
        self._done += 1
        self._walls.setdefault(plan.workload.name, []).append(time.monotonic() - self._began[plan.folder])
        del self._waiting[plan.folder]
        self._left.pop(plan.folder, None)
        self._live.remove_task(self._bars.pop(plan.folder))
        self._live.update(
            self._overall,
            completed=self._done,
            amount=f"{self._done} of {self._total}",
            note=self._left_note(),
        )

    def _say(self, plan: TrialPlan, reason: str, *, bad: bool) -> None:
        """Everything off a terminal; on one only what went wrong, since the bars tell the rest."""
        if bad or not self._console.is_terminal:
            style = "red" if bad else ""
            left = f" ({self._left_note()})" if self._waiting else ""
            line = f"[{self._done}/{self._total}] {plan.folder}: {reason}{left}"
            self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _left_note(self) -> str:
        return f"about {_duration(self._time_left())} left"

    def _time_left(self) -> float:
        """Seconds until all trials are over, at most."""
        left = (self._left.get(folder, self._expected(plan)) for folder, plan in self._waiting.items())
        return sum(left) / self._jobs

    def _expected(self, plan: TrialPlan) -> float:
        """What such trials took so far, else what those that run are likely to, else the budget.

        Of the budget, as much as whole trials of other workloads are likely to need of theirs: where steps end
        trials, seconds are granted with room to spare.
        """
        name = plan.workload.name
        if walls := self._walls.get(name):
            return sum(walls) / len(walls)
        elsewhere = statistics.median(self._pace.values()) if self._pace else 1.0
        return _granted(plan) * self._pace.get(name, elsewhere)


def _granted(plan: TrialPlan) -> float:
    """Seconds that a trial may take; where only steps count, those of a race."""
    return plan.workload.budget if math.isinf(plan.budget) else plan.budget


def _short_name(plan: TrialPlan) -> str:
    return escape(f"{plan.submission.name} on {plan.workload.name}, study {plan.study} trial {plan.trial}")


def _done(plan: TrialPlan, row: Mapping[str, float]) -> tuple[float, str]:
    """How much of what it is granted a trial has used, and that in words: of its seconds or of its steps."""
    seconds = row["submission_time"] / plan.budget
    # An algorithm that selects its data draws more than it trains on: then the limit shown is the least there is.
    limit = plan.step_limit(max(round(row["examples"] / row["step"]), 1))
    steps = row["step"] / limit
    if steps > seconds:
        return steps, f"{row['step']:.0f} of {limit:.0f} steps"
    return seconds, f"{row['submission_time']:.3g} of {plan.budget:g} s"


def _standing(plan: TrialPlan, row: Mapping[str, float]) -> str:
    workload = plan.workload
    target = f" (target {workload.validation_target:g})" if plan.race else ""
    return f"step {row['step']:.0f}, {workload.metric} {row[f'validation/{workload.metric}']:.4g}{target}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
