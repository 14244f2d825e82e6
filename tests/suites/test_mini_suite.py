"""`mini-1`: the benchmark's nine families at the preset `mini`."""

import pytest

from timetrial.suite import load_suite
from timetrial.workloads.registry import is_runnable

MINI = load_suite("mini-1")
FULL = load_suite("algoperf-0.6")


def test_it_has_the_benchmarks_nine_workloads() -> None:
    assert set(MINI.workloads) == set(FULL.workloads)
    for name, workload in MINI.workloads.items():
        assert workload.preset == "mini"
        assert (workload.metric, workload.direction) == (FULL.workloads[name].metric, FULL.workloads[name].direction)
        assert is_runnable(workload)


def test_an_evaluation_is_due_within_a_twenty_fifth_of_the_budget() -> None:
    for workload in MINI.all_workloads.values():
        assert workload.evaluation_period.seconds is not None
        assert workload.evaluation_period.seconds < 0.04 * workload.budget


@pytest.mark.parametrize("name", ["mini-1", "quickstart-1"])
def test_where_anyone_races_anywhere_steps_end_a_trial(name: str) -> None:
    """The self-tuning ruleset grants half as much again of both, as in the public benchmark."""
    external, own = (load_suite(name).ruleset(ruleset) for ruleset in ("external", "self"))
    assert (external.step_limit, external.budget_factor) == (1.0, 1.0)
    assert (own.step_limit, own.budget_factor) == (1.5, 1.5)


def test_both_rulesets_exist() -> None:
    assert set(MINI.rulesets) == {"external", "self"}
    assert MINI.ruleset("self").studies == 3
    assert MINI.ruleset("external").trials == 5, "public submissions list five points"
