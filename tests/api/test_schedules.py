"""Schedules at the points where they can be computed by hand."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.api import cyclic_cosine, warmup_constant, warmup_cosine, warmup_linear, warmup_stable_decay


def vector(shared: Path, key: str) -> dict[str, Any]:
    """spec: algorithms/test_vectors.json; a multiplier's floor of 1e-10 stands for the vectors' 0."""
    return json.loads((shared / "spec" / "algorithms" / "test_vectors.json").read_text())[key]


def test_vector_of_warmup_cosine(shared: Path) -> None:
    for step, value in vector(shared, "warmup_cosine")["lr"].items():
        assert warmup_cosine(int(step), warmup_steps=10, total_steps=100) == pytest.approx(value, abs=2e-10)


@pytest.mark.parametrize("shape", ["linear", "one_minus_sqrt"])
def test_vector_of_wsd(shape: Literal["linear", "one_minus_sqrt"], shared: Path) -> None:
    for step, value in vector(shared, "wsd")[shape].items():
        found = warmup_stable_decay(int(step), warmup_steps=10, total_steps=100, decay_steps=20, shape=shape)
        assert found == pytest.approx(value, abs=2e-10)


def test_vector_of_cyclic_lr(shared: Path) -> None:
    for step, value in vector(shared, "cyclic_lr")["lr"].items():
        found = cyclic_cosine(int(step), warmup_steps=10, total_steps=100, cycles=2)
        assert found == pytest.approx(value, abs=2e-10)


def test_one_cycle_is_warmup_cosine() -> None:
    for step in range(130):
        once = cyclic_cosine(step, warmup_steps=10, total_steps=100, cycles=1)
        assert once == pytest.approx(warmup_cosine(step, warmup_steps=10, total_steps=100), abs=2e-10)


def test_wsd_that_decays_all_the_way_is_linear_or_cosine() -> None:
    for step in range(130):
        linear = warmup_stable_decay(step, warmup_steps=10, total_steps=100, decay_steps=90, shape="linear")
        assert linear == pytest.approx(warmup_linear(step, warmup_steps=10, total_steps=100), abs=1e-12)
        cosine = warmup_stable_decay(step, warmup_steps=10, total_steps=100, decay_steps=90, shape="cosine")
        assert cosine == pytest.approx(warmup_cosine(step, warmup_steps=10, total_steps=100), abs=1e-12)


def test_wsd_and_constant_are_one_before_the_decay() -> None:
    for step in range(81):
        stable = warmup_stable_decay(step, warmup_steps=10, total_steps=100, decay_steps=20)
        assert stable == warmup_constant(step, warmup_steps=10)
    assert warmup_constant(10_000, warmup_steps=10) == 1.0


@pytest.mark.parametrize(("step", "value"), [(0, 1e-10), (5, 0.5), (10, 1.0), (55, 0.5), (100, 0.0), (1000, 0.0)])
def test_warmup_cosine(step: int, value: float) -> None:
    """spec: algorithms/test_vectors.json, `warmup_cosine`."""
    assert warmup_cosine(step, warmup_steps=10, total_steps=100) == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize(("step", "value"), [(0, 1e-10), (5, 0.5), (10, 1.0), (50, 0.505), (90, 0.01), (100, 0.01)])
def test_warmup_linear(step: int, value: float) -> None:
    """90 steps after the warm-up, 8 / 9 of them falling from 1 to 0.01: half-way at step 10 + 40."""
    found = warmup_linear(step, warmup_steps=10, total_steps=100, decay_steps_factor=8 / 9 + 1e-9, end_factor=0.01)
    assert found == pytest.approx(value, abs=1e-10)


@given(st.integers(0, 500), st.integers(0, 60), st.integers(1, 400), st.floats(0.1, 1.0), st.floats(0.0, 1.0))
def test_multipliers_stay_between_zero_and_one(
    step: int, warmup: int, total: int, decay_factor: float, end: float
) -> None:
    assert 0.0 <= warmup_cosine(step, warmup_steps=warmup, total_steps=total) <= 1.0
    linear = warmup_linear(
        step, warmup_steps=warmup, total_steps=total, decay_steps_factor=decay_factor, end_factor=end
    )
    assert 0.0 <= linear <= 1.0
    for shape in ("linear", "one_minus_sqrt", "cosine"):
        decayed = warmup_stable_decay(
            step, warmup_steps=warmup, total_steps=total, decay_steps=int(decay_factor * total), shape=shape
        )
        assert 0.0 <= decayed <= 1.0
    for cycles in (1, 2, 3):
        assert 0.0 <= cyclic_cosine(step, warmup_steps=warmup, total_steps=total, cycles=cycles) <= 1.0
