"""The points that the trials of every study use, drawn from a search space."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from timetrial.api.search_space import SearchSpace, Value
from timetrial.errors import UserError
from timetrial.tuning.halton import halton_points

Sampler: TypeAlias = Literal["algoperf", "sobol"]
Point: TypeAlias = dict[str, Value]


def draw_points(
    space: SearchSpace | None, *, sampler: Sampler, studies: int, trials: int, seed: int
) -> list[list[Point]]:
    """Return the hyperparameters of every trial, as one list a study; the same arguments give the same points.

    - A fixed list of points: every study tries the first `trials` of them in order. A shorter list means fewer
      trials, as in the public benchmark.
    - None, or a space without dimensions: one trial a study, which changes nothing of the submission's own
      point. Repeating it would only let the luckiest seed count, and that is not tuning.
    - Otherwise `trials` points a study from the sampler:
      `algoperf`: studies x trials points of the public sampler, partitioned at random into studies; the set does
      not depend on the seed, the partition does (see `_shuffled_halton`).
      `sobol`: an independently scrambled Sobol sequence for each study; more trials or more studies change no
      point that was drawn before.

    The seed is in [0, 2^32). Points hold only what is tuned: the caller lays them over the submission's defaults.
    Raises UserError: studies, trials or the seed out of range, more dimensions than `algoperf` has bases.
    """
    if studies < 1 or trials < 1:
        raise UserError(f"expected at least one study and one trial, found {studies} studies, {trials} trials")
    if not 0 <= seed < 2**32:
        raise UserError(f"expected a seed from 0 to 2^32 - 1, found {seed}")
    if space is None or not (space.points or space.dimensions):
        return [[{}] for _ in range(studies)]
    if space.points:
        return [[dict(point) for point in space.points[:trials]] for _ in range(studies)]
    dimensions = len(space.dimensions)
    match sampler:
        case "algoperf":
            unit = _shuffled_halton(studies * trials, dimensions, seed).reshape(studies, trials, dimensions)
        case "sobol":
            unit = np.stack([_sobol(trials, dimensions, seed, study) for study in range(studies)])
        case _:
            assert_never(sampler)
    return [[space.at(point) for point in study] for study in unit]


def _shuffled_halton(count: int, dimensions: int, seed: int) -> npt.NDArray[np.float64]:
    """The public sampler's points in a seeded random order; shape (count, dimensions).

    The public code shuffles with numpy's global generator, which nothing seeds (spec: protocol.md, 7, step 5).
    This is its order after `numpy.random.seed(seed)`, so that a public run that did seed it can be repeated.
    """
    points = halton_points(count, dimensions)
    order = list(range(count))
    np.random.RandomState(seed).shuffle(order)
    return points[order]


def _sobol(count: int, dimensions: int, seed: int, study: int) -> npt.NDArray[np.float64]:
    """The first `count` points of a study's own scrambled Sobol sequence; shape (count, dimensions).

    `scipy.stats.qmc.Sobol`: linear matrix scramble and digital shift (Matousek, "On the L2-discrepancy for
    anchored boxes", J. Complexity 14, 1998). A power of two is drawn, then cut: the
    first 2^k points have one in each 2^-k of every coordinate, however many are kept.
    """
    from scipy.stats import qmc

    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(study,)))
    engine = qmc.Sobol(dimensions, scramble=True, rng=generator)
    return np.asarray(engine.random_base2((count - 1).bit_length())[:count])
