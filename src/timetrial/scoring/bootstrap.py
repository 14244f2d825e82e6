"""How sure a median over three or five studies can be: resamples of studies, and intervals from them.

Two sets of resamples. The *plain* bootstrap draws studies with replacement. With three studies it can only return
one of ten medians and is too narrow by √(2/3), so there is a *corrected* one as well, on log times:

- each drawn study is moved by normal noise of SD s/√m, where s is the cell's SD (m - 1 below the line) and m the
  number of its studies that reached the target: the resampling variance becomes s² instead of s² (m - 1)/m
  (smoothed bootstrap: Silverman and Young 1987, Biometrika 74(3), 469; narrowness bias: Hesterberg 2015, "What
  teachers should know about the bootstrap", The American Statistician 69(4), 371);
- deviations of a resampled median from the cell's median are scaled by √(df / χ²_df), df = m - 1, one draw a
  resample: s itself is known only so well. For a mean this gives Student's t interval (Fisher 1935, "The fiducial
  argument in statistical inference", Annals of Eugenics 6(4), 391).

Resampling is within (submission, workload). All submissions use the same draws, so studies of equal number stay
paired, and a difference of two submissions is taken within a resample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.times import median_over_studies

Floats = NDArray[np.float64]

_CHUNK = 500  # resamples at a time: 11 submissions x 14 workloads x 5 studies stay within a core's cache
_LOG_LIMIT = 600.0  # exp of it is finite; a time beyond it is a miss for every purpose


@dataclass(frozen=True, eq=False)
class Intervals:
    """Lower and upper ends, elementwise, of intervals for an array of quantities."""

    low: Floats
    high: Floats


def resample_medians(
    values: Floats, present: NDArray[np.bool_], resamples: int, rng: np.random.Generator, *, corrected: bool
) -> Floats:
    """Resample studies and take medians: (submissions, workloads, studies) to (resamples, submissions, workloads).

    Only studies that are `present` are drawn, as many as there are of them; infinity is a target not reached. A
    cell without any gives infinity.
    """
    order = np.argsort(~present, axis=-1, kind="stable")
    values = np.take_along_axis(np.where(present, values, np.inf), order, axis=-1)
    counts = present.sum(axis=-1)
    drawn = None if (counts == values.shape[-1]).all() else np.arange(values.shape[-1]) < counts[..., None]
    spread = _Spread.of(values) if corrected else None
    data = values if spread is None else spread.logs
    result = np.empty((resamples, *values.shape[:2]))
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        uniform = rng.random((size, 1, *values.shape[1:]))
        picks = (uniform * np.maximum(counts, 1)[..., None]).astype(np.intp)
        picks += np.arange(0, data.size, values.shape[-1]).reshape(*values.shape[:2], 1)
        chunk = data.ravel()[picks]
        if spread is not None:
            chunk += spread.noise * rng.standard_normal(chunk.shape)
        medians = median_over_studies(chunk, None if drawn is None else np.broadcast_to(drawn, chunk.shape))
        result[start : start + size] = medians if spread is None else spread.widen(medians, rng)
    return np.where(np.isnan(result), np.inf, result)


@dataclass(frozen=True, eq=False)
class _Spread:
    """Centre and spread of the log times of every cell, over the studies that reached the target."""

    logs: Floats
    centre: Floats
    noise: Floats
    freedom: Floats

    @classmethod
    def of(cls, values: Floats) -> _Spread:
        finite = np.isfinite(values) & (values > 0)
        logs = np.log(values, where=finite, out=np.full_like(values, np.inf))
        reached = finite.sum(axis=-1)
        known = np.where(finite, logs, 0.0)
        mean = known.sum(axis=-1) / np.maximum(reached, 1)
        squares = (np.where(finite, known - mean[..., None], 0.0) ** 2).sum(axis=-1)
        freedom = np.maximum(reached - 1, 0)
        pooled = squares.sum() / max(freedom.sum(), 1)
        # one study says nothing of its spread: take the pool's, as uncertain as two studies would leave it
        variance = np.where(freedom > 0, squares / np.maximum(freedom, 1), pooled)
        centre = median_over_studies(np.where(finite, logs, np.nan), finite)
        return cls(
            logs=logs,
            centre=np.where(reached > 0, centre, 0.0),
            noise=np.sqrt(variance / np.maximum(reached, 1))[..., None],
            freedom=np.maximum(freedom, 1).astype(np.float64),
        )

    def widen(self, medians: Floats, rng: np.random.Generator) -> Floats:
        scale = np.sqrt(self.freedom / rng.chisquare(self.freedom, size=medians.shape))
        logs = self.centre + scale * (medians - self.centre)
        return np.where(logs < _LOG_LIMIT, np.exp(np.minimum(logs, _LOG_LIMIT)), np.inf)


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
    influences /= np.maximum(
        np.abs(influences).max(), 1e-300
    )  # the ratio below is free of scale, its parts are not
    squares = (influences**2).sum(axis=(0, *samples))
    cubes = (influences**3).sum(axis=(0, *samples))
    divided = np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(squares), where=squares > 1e-60)
    return np.asarray(divided)
