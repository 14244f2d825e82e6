"""95 % intervals hold the truth as often as they say: the benchmark of coverage, on fewer pools."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("benchmark_coverage", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def check(measured, low: float, high: float) -> None:
    for quantity in ("scores", "times", "speedups"):
        assert low <= measured[quantity]["corrected"]["coverage"] <= high, (quantity, measured[quantity])


@pytest.mark.parametrize("studies", [3, 5])
def test_corrected_intervals_cover(coverage, studies: int) -> None:
    check(coverage.measure(studies=studies, misses=False, pools=40, resamples=1000, seed=1), 0.90, 0.995)


def test_the_plain_percentile_interval_of_a_time_is_too_short_with_three_studies(coverage) -> None:
    measured = coverage.measure(studies=3, misses=False, pools=40, resamples=1000, seed=1)
    # the median of three lies below the truth three times in 1/8 of all cases, and above it as often
    assert measured["times"]["percentile"]["coverage"] == pytest.approx(0.75, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("misses", [False, True])
@pytest.mark.parametrize("studies", [3, 5])
def test_corrected_intervals_cover_between_92_and_98_percent(coverage, studies: int, misses: bool) -> None:
    check(coverage.measure(studies=studies, misses=misses, pools=400, resamples=2000, seed=2), 0.92, 0.985)
