"""How sure a median over three or five studies can be: resamples of studies, and intervals from them.

Two sets of resamples. The *plain* bootstrap draws studies with replacement. With three studies it can only return
one of ten medians and is too narrow by √(2/3), so there is a *corrected* one as well, on log times:

- deviations from a cell's median are stretched to the cell's moderated SD, and each drawn study is moved by
  normal noise that brings the resampling variance up to it (see `spread.py`; smoothed bootstrap: Silverman and
  Young 1987, Biometrika 74(3), 469; narrowness bias: Hesterberg 2015, "What teachers should know about the
  bootstrap", The American Statistician 69(4), 371);
- deviations of a resampled median are scaled by √(df / χ²_df), one draw a resample, because that SD is known only
  so well. For a mean this gives Student's t interval (Fisher 1935, Annals of Eugenics 6(4), 391). A quantity that
  averages over many cells evenly, such as a speed-up, averages this uncertainty away; it uses the resamples
  without this scaling.

Resampling is within (submission, workload). All submissions use the same draws, so studies of equal number stay
paired, and a difference of two submissions is taken within a resample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.spread import Spread
from timetrial.scoring.times import median_over_studies

Floats = NDArray[np.float64]

_CHUNK = 500  # resamples at a time: 11 submissions x 14 workloads x 5 studies stay within a core's cache
_LOG_LIMIT = 600.0  # exp of it is finite; a time beyond it is a miss for every purpose


@dataclass(frozen=True, eq=False)
class Intervals:
    """Lower and upper ends, elementwise, of intervals for an array of quantities."""

    low: Floats
    high: Floats


def resample_medians(values: Floats, present: NDArray[np.bool_], resamples: int, rng: np.random.Generator) -> Floats:
    """Resample studies and take medians: (submissions, workloads, studies) to (resamples, submissions, workloads).

    Only studies that are `present` are drawn, as many as there are of them; infinity is a target not reached. A
    cell without any gives infinity.
    """
    cells = _Cells.of(values, present)
    chunks = [cells.medians(cells.draw(size, rng)) for size in _chunks(resamples)]
    return _without_nan(np.concatenate(chunks))


def resample_corrected(
    values: Floats, present: NDArray[np.bool_], resamples: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """As `resample_medians`, by the corrected bootstrap: scaled for what is not known of the SD, and unscaled."""
    cells = _Cells.of(values, present)
    spread = Spread.of(cells.values)
    cells = replace(cells, values=spread.logs)
    scaled, unscaled = [], []
    for size in _chunks(resamples):
        drawn = cells.draw(size, rng)
        drawn += spread.noise[..., None] * rng.standard_normal(drawn.shape)
        medians = _without_nan(cells.medians(drawn))
        scale = np.sqrt(spread.freedom / rng.chisquare(spread.freedom, size=medians.shape))
        unscaled.append(_exp(medians))
        scaled.append(_exp(spread.centre + scale * (medians - spread.centre)))
    return np.concatenate(scaled), np.concatenate(unscaled)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Study times with those present first in every cell."""

    values: Floats
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: Floats, present: NDArray[np.bool_]) -> _Cells:
        order = np.argsort(~present, axis=-1, kind="stable")
        return cls(np.take_along_axis(np.where(present, values, np.inf), order, axis=-1), present.sum(axis=-1))

    def draw(self, size: int, rng: np.random.Generator) -> Floats:
        """Draw studies with replacement, the same numbers for all submissions: shape (size, *values.shape)."""
        uniform = rng.random((size, 1, *self.values.shape[1:]))
        picks = (uniform * np.maximum(self.counts, 1)[..., None]).astype(np.intp)
        studies = self.values.shape[-1]
        picks += np.arange(0, self.values.size, studies).reshape(*self.counts.shape, 1)
        return np.asarray(self.values.ravel()[picks])

    def medians(self, drawn: Floats) -> Floats:
        """Medians of as many draws as a cell has studies; NaN where it has none."""
        studies = drawn.shape[-1]
        if (self.counts == studies).all():
            return median_over_studies(drawn)
        among = np.arange(studies) < self.counts[..., None]
        return median_over_studies(drawn, np.broadcast_to(among, drawn.shape))


def _chunks(resamples: int) -> list[int]:
    return [min(_CHUNK, resamples - start) for start in range(0, resamples, _CHUNK)]


def _without_nan(medians: Floats) -> Floats:
    return np.where(np.isnan(medians), np.inf, medians)


def _exp(logs: Floats) -> Floats:
    return np.where(logs < _LOG_LIMIT, np.exp(np.clip(logs, -_LOG_LIMIT, _LOG_LIMIT)), np.inf)


def percentile_intervals(resampled: Floats, level: float = 0.95) -> Intervals:
    """Percentile intervals along the first axis (Efron and Tibshirani 1993, section 13.3)."""
    tail = (1 - level) / 2
    ordered = np.sort(resampled, axis=0)
    count = len(ordered)
    return Intervals(ordered[int(tail * (count - 1))], ordered[-1 - int(tail * (count - 1))])


def bias_corrected_intervals(
    resampled: Floats, estimates: Floats, acceleration: Floats | float = 0.0, level: float = 0.95
) -> Intervals:
    """BCa intervals along the first axis (Efron 1987, "Better bootstrap confidence intervals", eq. 2.3 to 2.5).

    Without `acceleration` they are the BC intervals. Ties with the estimate count half. Ends are order statistics,
    never interpolated, so infinite resamples are no difficulty.
    """
    from scipy.special import ndtr, ndtri

    count = len(resampled)
    below = (resampled < estimates).mean(axis=0) + (resampled == estimates).mean(axis=0) / 2
    bias = ndtri(np.clip(below, 0.5 / count, 1 - 0.5 / count))
    ordered = np.sort(resampled, axis=0)
    ends = []
    for probability in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + ndtri(probability)
        where = ndtr(bias + shifted / np.maximum(1 - acceleration * shifted, 1e-3))
        index = np.clip(np.rint(where * (count - 1)), 0, count - 1).astype(np.intp)
        ends.append(np.take_along_axis(ordered, index[None], axis=0)[0])
    return Intervals(*ends)


def jackknife_medians(values: Floats, present: NDArray[np.bool_]) -> Floats:
    """Medians with one study left out: (studies, submissions, workloads); NaN where that study is not present."""
    left_out = []
    for study in range(values.shape[-1]):
        rest = present.copy()
        rest[..., study] = False
        medians = median_over_studies(values, rest)
        left_out.append(np.where(present[..., study] & ~np.isnan(medians), medians, np.nan))
    return np.stack(left_out)


def acceleration(jackknifed: Floats, samples: tuple[int, ...] = ()) -> Floats:
    """BCa's acceleration from leave-one-out values (Davison and Hinkley 1997, section 5.3.2).

    The first axis is the study left out; `samples` are the axes of the cell that it was left out of, where a
    quantity depends on several. NaN and infinite values count as of no influence.
    """
    known = np.isfinite(jackknifed)
    values = np.where(known, jackknifed, 0.0)
    mean = values.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    influences = np.where(known, mean - values, 0.0)
    influences /= np.maximum(np.abs(influences).max(), 1e-300)  # the ratio below is free of scale, its parts are not
    squares = (influences**2).sum(axis=(0, *samples))
    cubes = (influences**3).sum(axis=(0, *samples))
    divided = np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(squares), where=squares > 1e-60)
    return np.asarray(divided)
