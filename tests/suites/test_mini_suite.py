"""`mini-1`: the benchmark's nine families at the preset `mini`."""

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


def test_both_rulesets_exist() -> None:
    assert set(MINI.rulesets) == {"external", "self"}
    assert MINI.ruleset("self").studies == 3
