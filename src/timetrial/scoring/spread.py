"""How much study times scatter, when three or five studies of each cell must tell.

A cell is one submission on one workload. Its own SD is known badly (2 or 4 degrees of freedom), but the cells of a
pool resemble each other, so variances are shrunk towards what is typical of the pool, by as much as the cells say:
the moderated variance of Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
expression in microarray experiments", Statistical Applications in Genetics and Molecular Biology 3(1), article 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.times import median_over_studies

Floats = NDArray[np.float64]

_MANY = 1e6  # degrees of freedom of a spread that is the same in all cells
_CELLS_NEEDED = 3  # to estimate how much spreads differ from cell to cell


@dataclass(frozen=True, eq=False)
class Spread:
    """Log times of every cell, prepared for smooth resampling: shape (..., cells), `logs` with studies last."""

    logs: Floats
    """Log times, their deviations from `centre` stretched to the moderated SD; infinite where not reached."""
    centre: Floats
    """Median log time of the studies that reached the target; 0 where none did."""
    noise: Floats
    """SD of the noise that makes the variance of a resample the moderated variance."""
    freedom: Floats
    """Degrees of freedom of the moderated variance."""

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Estimate it from times (..., cells, studies); infinite ones, and those not above 0, did not reach."""
        finite = np.isfinite(values) & (values > 0)
        logs = np.log(values, where=finite, out=np.full_like(values, np.inf))
        reached = finite.sum(axis=-1)
        known = np.where(finite, logs, 0.0)
        mean = known.sum(axis=-1) / np.maximum(reached, 1)
        squares = (np.where(finite, known - mean[..., None], 0.0) ** 2).sum(axis=-1)
        own_freedom = np.maximum(reached - 1, 0).astype(np.float64)
        own = squares / np.maximum(own_freedom, 1)
        prior, prior_freedom = prior_variance(own[own_freedom > 0], own_freedom[own_freedom > 0])
        freedom = prior_freedom + own_freedom
        variance = (prior_freedom * prior + squares) / np.maximum(freedom, 1)
        stretch = np.sqrt(np.divide(variance, own, out=np.ones_like(own), where=own > 0))
        centre = np.where(reached > 0, median_over_studies(np.where(finite, logs, np.nan), finite), 0.0)
        # resampling m studies gives (m - 1)/m of their variance; noise adds the rest, all of it if they agree
        share = np.where(own > 0, 1 / np.maximum(reached, 1), 1.0)
        return cls(
            logs=np.where(finite, centre[..., None] + stretch[..., None] * (known - centre[..., None]), np.inf),
            centre=centre,
            noise=np.sqrt(variance * share),
            freedom=np.maximum(freedom, 1),
        )


def prior_variance(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """What variance is typical of a pool, and how many degrees of freedom that knowledge is worth.

    By moments of log variances (Smyth 2004, section 6.2). Cells without any scatter are left out of the estimate.
    Too few cells give (0, 0): each is taken as it is.
    """
    from scipy.special import digamma, polygamma

    scattered = variances > 0
    variances, half = variances[scattered], freedom[scattered] / 2
    if len(variances) < _CELLS_NEEDED:
        return 0.0, 0.0
    logs = np.log(variances) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    half_prior = min(_inverse_trigamma(excess), _MANY) if excess > 1 / _MANY else _MANY
    typical = np.exp(logs.mean() + digamma(half_prior) - np.log(half_prior))
    return float(typical), 2 * half_prior


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-9 * x:
            break
    return x
