"""What a run shows while it goes on."""

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from timetrial.algorithms.registry import identify
from timetrial.cli.progress import RunProgress
from timetrial.launch.plan import RunRequest, plan_run
from timetrial.launch.runner import Ended, Evaluated, Interrupted, Started
from timetrial.records.plan import TrialPlan, TrialResult
from timetrial.suite import Suite


@pytest.fixture
def plans(tiny_suite: Suite) -> list[TrialPlan]:
    workload = tiny_suite.workload("digits_mlp")
    submissions = [identify("adamw")]
    return plan_run(
        RunRequest(suite=tiny_suite, workloads=[workload], submissions=submissions, ruleset="external", studies=1)
    )


def evaluation(plan: TrialPlan) -> dict[str, float]:
    """An evaluation after 40 steps of the suite's batch size and 5 seconds of training."""
    examples = 40.0 * plan.workload.batch_size
    return {"step": 40.0, "examples": examples, "submission_time": 5.0, "total_time": 6.0, "validation/accuracy": 0.5}


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=150, color_system=None), text


def test_off_a_terminal_every_trial_is_a_line(plans: list[TrialPlan], reached: TrialResult) -> None:
    screen, text = console(terminal=False)
    with RunProgress(screen, plans, done=3, jobs=1) as progress:
        for plan in plans:
            progress(Started(plan))
        progress(Ended(plans[0], reached))
        progress(Interrupted(plans[1], "its process died"))
    assert text.getvalue().splitlines() == [
        "[4/5] tiny-test/external/adamw/study_0/digits_mlp/trial_1: reached accuracy 0.6 (about 0 s left)",
        "[5/5] tiny-test/external/adamw/study_0/digits_mlp/trial_2: its process died",
    ]
    assert [plan for plan, _ in progress.results] == [plans[0]]
    assert len(progress.interrupted) == 1


def test_a_terminal_shows_bars_and_the_time_left(plans: list[TrialPlan], reached: TrialResult) -> None:
    screen, text = console(terminal=True)
    row = evaluation(plans[0])
    with RunProgress(screen, plans, done=0, jobs=1) as progress:
        progress(Started(plans[0]))
        progress(Evaluated(plans[0], row))
        progress._live.refresh()
        progress(Ended(plans[0], reached))
        progress(Started(plans[1]))
        progress(Ended(plans[1], replace(reached, ended="failed", reason="ValueError: no")))
    shown = text.getvalue()
    assert "adamw on digits_mlp, study 0 trial 1" in shown
    assert "5 of 20 s" in shown
    assert "step 40, accuracy 0.5 (target 0.6)" in shown
    assert "about 40 s left" in shown, "at first two whole budgets"
    assert "about 42 s left" in shown, "a quarter of the budget took 6 s: 18 s more, and 24 s for the other trial"
    assert "about 0 s left" in shown
    assert "trial_2: ValueError: no" in shown, "what went wrong stays on the screen"
    assert "trial_1: reached" not in shown


def test_runs_without_a_race_count_steps(plans: list[TrialPlan], tmp_path: Path) -> None:
    plan = replace(plans[0], race=False, budget=math.inf, max_steps=80)
    screen, text = console(terminal=True)
    with RunProgress(screen, [plan], done=0, jobs=1) as progress:
        progress(Started(plan))
        progress(Evaluated(plan, evaluation(plan)))
        progress._live.refresh()
        assert progress._live.tasks[1].percentage == 50.0
    assert "step 40, accuracy 0.5" in text.getvalue()
    assert "target" not in text.getvalue()


def test_a_race_shows_what_it_has_used_most_of(plans: list[TrialPlan]) -> None:
    """40 of 80 steps are more than 5 of 20 s; for a slower algorithm 15 of 20 s are more than those."""
    plan = replace(plans[0], max_steps=80)
    screen, text = console(terminal=True)
    row = evaluation(plan)
    with RunProgress(screen, [plan], done=0, jobs=1) as progress:
        progress(Started(plan))
        progress(Evaluated(plan, row))
        progress._live.refresh()
        assert progress._live.tasks[1].percentage == 50.0
        progress(Evaluated(plan, {**row, "submission_time": 15.0, "total_time": 18.0}))
        progress._live.refresh()
        assert progress._live.tasks[1].percentage == 75.0
    shown = text.getvalue()
    assert "40 of 80 steps" in shown
    assert "about 6 s left" in shown, "half of it took 6 s"
    assert "15 of 20 s" in shown


def test_smaller_batches_are_granted_more_steps(plans: list[TrialPlan]) -> None:
    """Half the batch size makes for 160 steps; twice the batch size does not make for 40."""
    plan = replace(plans[0], max_steps=80)
    screen, text = console(terminal=True)
    row = {**evaluation(plan), "submission_time": 1.0}
    with RunProgress(screen, [plan], done=0, jobs=1) as progress:
        progress(Started(plan))
        progress(Evaluated(plan, {**row, "examples": row["examples"] / 2}))
        progress._live.refresh()
        assert progress._live.tasks[1].percentage == 25.0
        progress(Evaluated(plan, {**row, "examples": 2 * row["examples"]}))
        progress._live.refresh()
        assert progress._live.tasks[1].percentage == 50.0
    assert "40 of 160 steps" in text.getvalue()


def test_what_one_workload_needs_of_its_seconds_is_expected_of_others(
    plans: list[TrialPlan], tiny_suite: Suite
) -> None:
    plan = replace(plans[0], max_steps=80)
    other = replace(plan, workload=tiny_suite.workload("digits_resnet"), budget=100.0)
    screen, text = console(terminal=True)
    row = evaluation(plan)
    with RunProgress(screen, [plan, other], done=0, jobs=1) as progress:
        progress._live.refresh()
        progress(Started(plan))
        progress(Evaluated(plan, row))
        progress._live.refresh()
    shown = text.getvalue()
    assert "about 2 min 0 s left" in shown, "at first both budgets"
    assert "about 1 min 6 s left" in shown, "6 s more of this trial; it needs 12 of its 20 s, the other 60 of its 100"
