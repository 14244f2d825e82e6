"""Schedules at the points where they can be computed by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.api import warmup_cosine, warmup_linear


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
