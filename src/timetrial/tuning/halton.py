"""The public benchmark's quasi-random sampler: scrambled, shifted Halton points in large prime bases.

All facts: spec: protocol.md, 7, steps 1 to 4. It is not the textbook Halton sequence: the bases are the largest
primes below 1000, so that the few points of a benchmark lie, in each coordinate, on a randomly ordered and shifted
grid of about 980 values. `scipy.stats.qmc.Halton` starts from base 2 and cannot reproduce it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from timetrial.errors import UserError

_SKIPPED = 100
"""Leading points that are dropped (spec: protocol.md, 7, step 4)."""


def halton_points(count: int, dimensions: int) -> npt.NDArray[np.float64]:
    """Return the first `count` points of the public sampler, in the order before its final shuffle.

    Shape (count, dimensions), float64, each in [0, 1). The first k points do not depend on `count`; the last
    columns do not depend on `dimensions`. Equal to the public code's to the last bit (golden/halton.json).
    Raises UserError where there are more dimensions than prime bases.
    """
    indices = np.arange(_SKIPPED + 1, _SKIPPED + 1 + count)
    points = np.empty((count, dimensions))
    for column, base in enumerate(prime_bases(dimensions)):
        points[:, column] = _coordinates(indices, base)
    return points


def prime_bases(dimensions: int) -> list[int]:
    """Return the base of each dimension: the largest odd primes below 997, ascending.

    997 itself is left out (spec: protocol.md, 7, step 1). Raises UserError for more than 166 dimensions.
    """
    primes = [n for n in range(3, 997, 2) if all(n % divisor for divisor in range(3, int(n**0.5) + 1, 2))]
    if dimensions > len(primes):
        raise UserError(
            f"the 'algoperf' sampler draws at most {len(primes)} hyperparameters, found {dimensions}: "
            "make the search space smaller, or use the 'sobol' sampler"
        )
    return primes[len(primes) - dimensions :]


def radical_inverse(indices: npt.NDArray[np.int64], permutation: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return each index mirrored at the point: the sum over k of permutation[digit k] / base^(k + 1).

    The base is the permutation's length; indices are 0 or more; its entry 0 must be 0, so that the digits past
    an index's last contribute nothing. Source: spec: protocol.md, 7, step 3.
    """
    base = len(permutation)
    inverse = np.zeros(len(indices))
    remaining, place = indices, base
    while remaining.any():
        inverse += permutation[remaining % base] / place
        remaining, place = remaining // base, place * base
    return inverse


def _coordinates(indices: npt.NDArray[np.int64], base: int) -> npt.NDArray[np.float64]:
    """One coordinate of every point: digits permuted and the whole shifted modulo 1 (steps 2 and 3)."""
    # RandomState is the old generator, frozen by numpy, that the public code uses: no other gives these points.
    generator = np.random.RandomState(base)
    digits = list(range(1, base))
    generator.shuffle(digits)
    shift = generator.random_sample()
    return np.fmod(radical_inverse(indices, np.array([0, *digits])) + shift, 1.0)
