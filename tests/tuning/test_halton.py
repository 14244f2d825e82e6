"""The public sampler against its own numbers, to the last bit."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial.errors import UserError
from timetrial.tuning.halton import halton_points, prime_bases, radical_inverse

untimed = settings(deadline=None)  # other work on the machine must not fail a test

SPACES = ["all_log_and_feasible", "mixed_linear_log", "single_dimension_linear", "feasible_only_mixed_types"]

SPEC_POINTS = [
    [0.137146069645, 0.273974437265, 0.286124277284],
    [0.806542180187, 0.991166705831, 0.830019332783],
    [0.256900419696, 0.230230795353, 0.360796325720],
    [0.175017103422, 0.375703837062, 0.474822561845],
    [0.169899396154, 0.475398648862, 0.874418929151],
]
"""Three dimensions, five points (spec: protocol.md, 7, test vectors)."""


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "golden" / "halton.json").read_text())


@pytest.mark.parametrize("name", SPACES)
def test_points_are_the_public_ones_to_the_last_bit(golden, name):
    space = golden["spaces"][name]
    dimensions = len(space["search_space"])
    assert prime_bases(dimensions) == space["prime_bases"]
    assert halton_points(golden["num_points"], dimensions).tolist() == space["unit_cube_unshuffled"]


def test_the_golden_file_has_no_other_space(golden):
    assert sorted(golden["spaces"]) == sorted(SPACES)


def test_two_dimensions_are_the_public_ones_to_the_last_bit(golden):
    assert halton_points(4, 2).tolist() == golden["raw_sequences"]["dims2_defaults_noshuffle_n4"]


def test_unshifted_coordinates_are_the_public_ones_to_the_last_bit(golden):
    expected = golden["raw_sequences"]["dims3_skip0_noshift_noshuffle_n8"]
    for column, base in enumerate([977, 983, 991]):
        digits = list(range(1, base))
        np.random.RandomState(base).shuffle(digits)
        inverse = radical_inverse(np.arange(1, 9), np.array([0, *digits]))
        assert inverse.tolist() == [point[column] for point in expected]


def test_indices_of_several_digits_are_the_public_ones_to_the_last_bit(golden):
    expected = golden["raw_sequences"]["explicit_primes_5_7_identity_digits_skip0_noshift"]
    for column, base in enumerate([5, 7]):
        inverse = radical_inverse(np.arange(1, 9), np.arange(base))
        assert inverse.tolist() == [point[column] for point in expected]


def test_the_vectors_of_the_specification():
    np.testing.assert_allclose(halton_points(5, 3), SPEC_POINTS, rtol=0, atol=5e-13)
    np.testing.assert_allclose(
        halton_points(1, 6)[0],
        [0.756572292322, 0.364141525912, 0.691447593355, *SPEC_POINTS[0]],
        rtol=0,
        atol=5e-13,
    )


def test_bases_are_the_largest_odd_primes_but_997(golden):
    assert [*prime_bases(11), 997] == golden["odd_primes_below_1000_last_12"]
    assert prime_bases(166)[:5] == [3, 5, 7, 11, 13]


def test_too_many_dimensions_are_refused():
    with pytest.raises(UserError) as caught:
        halton_points(1, 167)
    assert str(caught.value) == (
        "the 'algoperf' sampler draws at most 166 hyperparameters, found 167: "
        "make the search space smaller, or use the 'sobol' sampler"
    )


@untimed
@given(count=st.integers(1, 40), more=st.integers(0, 40), dimensions=st.integers(1, 8), extra=st.integers(0, 4))
def test_neither_more_points_nor_more_dimensions_change_what_is_there(count, more, dimensions, extra):
    larger = halton_points(count + more, dimensions + extra)
    assert np.array_equal(halton_points(count, dimensions), larger[:count, extra:])


def test_ordinary_radical_inverse_of_base_two():
    assert radical_inverse(np.arange(8), np.arange(2)).tolist() == [
        0,
        1 / 2,
        1 / 4,
        3 / 4,
        1 / 8,
        5 / 8,
        3 / 8,
        7 / 8,
    ]


@pytest.mark.parametrize("base", [3, 11, 491])
def test_all_indices_of_two_digits_fill_the_grid(base):
    grid = np.arange(base**2) / base**2
    inverse = radical_inverse(np.arange(base**2), np.arange(base))
    np.testing.assert_allclose(np.sort(inverse), grid, rtol=0, atol=1e-15)


def test_coordinates_lie_on_shifted_grids_without_repeats():
    points = halton_points(800, 5)
    assert points.min() >= 0
    assert points.max() < 1
    for column, base in enumerate(prime_bases(5)):
        # Indices 101 to 900 have one digit in each of these bases: 800 different cells of the grid.
        cells = (points[:, column] - points[0, column]) * base
        np.testing.assert_allclose(cells, np.rint(cells), rtol=0, atol=1e-9)
        assert len(set(np.rint(cells).astype(int) % base)) == 800
