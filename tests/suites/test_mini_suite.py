"""`mini-1`: the benchmark's nine families, and variants drawn by the suite's seed."""

import numpy as np

from timetrial.suite import load_suite
from timetrial.workloads.registry import is_runnable, load_workload

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


def test_held_out_variants_are_all_that_exist_and_one_a_family_is_drawn_by_the_seed() -> None:
    held_out = MINI.held_out
    assert held_out is not None
    for base, pool in held_out.pools.items():
        suffixes = {name.removeprefix(f"{base}_") for name in pool}
        assert suffixes == set(load_workload(base, "mini").variants) - {"test"}
    random = np.random.default_rng(held_out.draw_seed)
    assert list(held_out.drawn) == [pool[random.integers(len(pool))] for pool in held_out.pools.values()]
    assert sum(map(len, held_out.pools.values())) == 24


def test_both_rulesets_exist() -> None:
    assert set(MINI.rulesets) == {"external", "self"}
    assert MINI.ruleset("self").studies == 3
