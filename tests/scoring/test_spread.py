"""Moderated variances against Smyth's published definitions and simulated pools."""

import numpy as np
import pytest
from scipy.special import polygamma

from timetrial.scoring.spread import Spread, _inverse_trigamma, prior_variance


@pytest.mark.parametrize("x", [1e-3, 0.5, 1.0, 7.0, 1e5])
def test_inverse_trigamma(x: float) -> None:
    assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)


def test_prior_is_recovered_from_many_cells() -> None:
    rng = np.random.default_rng(0)
    prior_freedom, typical, freedom = 5.0, 0.04, 4.0
    true = typical * prior_freedom / rng.chisquare(prior_freedom, 20_000)  # Smyth 2004, eq. 2
    variances = true * rng.chisquare(freedom, 20_000) / freedom
    estimate = prior_variance(variances, np.full(20_000, freedom))
    np.testing.assert_allclose(estimate, [typical, prior_freedom], rtol=0.06)


def test_equal_spreads_are_pooled_entirely() -> None:
    rng = np.random.default_rng(0)
    spread = Spread.of(np.exp(0.1 * rng.standard_normal((5000, 3))))
    assert spread.freedom.min() > 50
    np.testing.assert_allclose(spread.noise * np.sqrt(3), 0.1, rtol=0.1)


def test_too_few_cells_are_taken_as_they_are() -> None:
    logs = np.array([[0.0, 0.1, 0.2], [0.0, 0.0, 0.0]])
    spread = Spread.of(np.exp(logs))
    np.testing.assert_allclose(spread.logs, logs, atol=1e-12)
    np.testing.assert_allclose(spread.noise, [0.1 / np.sqrt(3), 0.0], atol=1e-12)
    np.testing.assert_array_equal(spread.freedom, [2, 2])


def test_misses_say_nothing_of_the_spread() -> None:
    spread = Spread.of(np.array([[1.0, np.e, np.inf], [np.inf, np.inf, np.inf]]))
    np.testing.assert_allclose(spread.centre, [0.5, 0.0])
    np.testing.assert_array_equal(np.isinf(spread.logs), [[False, False, True], [True, True, True]])
    assert np.isfinite(spread.noise).all()
