"""How often 95 % intervals hold the truth, on synthetic pools whose truth is known.

    python benchmarks/coverage.py [--pools 1000] [--resamples 2000] [--seed 0] [--json]

A pool is drawn as real ones look: four submissions, eight workloads, log-normal study times whose SD (of the
logarithm) is between 0.02 and 0.2 from cell to cell; in the public logs of the first competition it is between
0.006 and 0.23. In the pools "with misses" a fifth of the cells miss the target in 5 to 30 % of their studies, and
6 % always do. The truth is what infinitely many studies would give: medians of the distributions, and scores of
those medians.

Printed for 3 and 5 studies: the share of intervals that hold the truth, and their median width, for scores, times
to target (width relative to the truth) and speed-ups against the first submission. The standard error of a share
is about 0.005 with 1,000 pools (intervals of a pool are dependent).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timetrial.scoring.rules import Rules
from timetrial.scoring.table import Selection, StudyTable
from timetrial.scoring.uncertainty import Uncertainty, estimate_uncertainty, pairwise_speedups
from timetrial.scoring.views import Budgets

Floats = NDArray[np.float64]

SUBMISSIONS, WORKLOADS = 4, 8
BUDGET = 1e6  # seconds; what a miss counts as in a speed-up, the same in truth and estimate


@dataclass(frozen=True)
class Truth:
    """Log-normal study times with a chance to miss: arrays of shape (submissions, workloads)."""

    log_median: Floats
    log_sd: Floats
    miss: Floats

    def medians(self) -> Floats:
        """The medians of study times, where a miss is infinite."""
        from scipy.special import ndtri

        reached = self.miss < 0.5
        quantile = np.where(reached, 0.5 / np.where(reached, 1 - self.miss, 1.0), 0.5)
        return np.where(reached, np.exp(self.log_median + self.log_sd * ndtri(quantile)), np.inf)

    def draw(self, studies: int, rng: np.random.Generator) -> Floats:
        """Study times, shape (submissions, workloads, studies)."""
        shape = (*self.log_median.shape, studies)
        times = np.exp(self.log_median[..., None] + self.log_sd[..., None] * rng.standard_normal(shape))
        return np.where(rng.random(shape) < self.miss[..., None], np.inf, times)


def draw_truth(rng: np.random.Generator, *, misses: bool) -> Truth:
    """A pool: workloads differ in length, submissions in speed, and each pair in how well they suit each other."""
    shape = (SUBMISSIONS, WORKLOADS)
    centre = rng.normal(9, 1, (1, WORKLOADS)) + rng.normal(0, 0.4, (SUBMISSIONS, 1)) + rng.normal(0, 0.3, shape)
    miss = np.zeros(shape)
    if misses:
        miss = np.where(rng.random(shape) < 0.2, rng.uniform(0.05, 0.3, shape), miss)
        miss = np.where(rng.random(shape) < 0.06, 1.0, miss)
    return Truth(centre, rng.uniform(0.02, 0.2, shape), miss)


def measure(
    *, studies: int, misses: bool, pools: int, resamples: int, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Coverage and median width by quantity (scores, times, speed-ups) and method."""
    rng = np.random.default_rng([seed, studies, misses])
    names = tuple(f"workload_{i}" for i in range(WORKLOADS))
    rules = Rules(selection=Selection(bases=names), r_max=4.0)
    budgets = Budgets(seconds=np.full(WORKLOADS, BUDGET), bases=WORKLOADS)
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    widths: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pool in range(pools):
        truth = draw_truth(rng, misses=misses)
        medians = truth.medians()
        table = _table(truth.draw(studies, rng), rules.selection)
        known = estimate_uncertainty(table, rules, budgets.mean_log_times, resamples=resamples, seed=pool)
        truths = {
            "scores": rules.scores(medians),
            "times": medians,
            "speedups": pairwise_speedups(budgets.mean_log_times(medians))[1:, 0],
        }
        for key, holds, width in _compare(known, truths):
            held[key] += holds
            widths[key] += width
    result: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (quantity, method), values in held.items():
        width = float(np.median(widths[quantity, method]))
        result[quantity][method] = {"coverage": float(np.mean(values)), "median_width": width}
    return dict(result)


def _compare(known: Uncertainty, truths: dict[str, Floats]) -> Any:
    for quantity, truth in truths.items():
        for method, interval in getattr(known, quantity).items():
            low, high = interval.low, interval.high
            if quantity == "speedups":
                low, high = low[1:, 0], high[1:, 0]
            # where nothing varies, as in the score of the fastest everywhere, the two differ by rounding
            slack = 1e-9 * np.where(np.isfinite(truth), truth, 0.0)
            holds = (low <= truth + slack) & (truth - slack <= high)
            possible = np.isfinite(truth) if quantity == "times" else np.full(truth.shape, True)
            with np.errstate(invalid="ignore"):
                width = (high[possible] - low[possible]) / (truth[possible] if quantity == "times" else 1.0)
            width = np.where(np.isnan(width), np.inf, width)
            yield (quantity, method), holds[possible].tolist(), width.tolist()


def _table(seconds: Floats, selection: Selection) -> StudyTable:
    whole = np.ones(seconds.shape, dtype=np.int64)
    return StudyTable(
        submissions=tuple(f"submission_{i}" for i in range(SUBMISSIONS)),
        selection=selection,
        seconds=seconds,
        steps=seconds,
        test_seconds=seconds,
        spent=seconds,
        trials=whole,
        fastest_trial=whole,
        counted=None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for studies in (3, 5):
        for misses in (False, True):
            start = time.perf_counter()
            measured = measure(
                studies=studies, misses=misses, pools=options.pools, resamples=options.resamples, seed=options.seed
            )
            results.append({"studies": studies, "misses": misses, "pools": options.pools, **measured})
            print(f"{studies} studies, misses {misses}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'studies':>7} {'misses':>6} {'quantity':>9} {'method':>11} {'coverage':>8} {'width':>7}")
    for row in results:
        for quantity in ("scores", "times", "speedups"):
            for method, figures in row[quantity].items():
                print(
                    f"{row['studies']:>7} {'yes' if row['misses'] else 'no':>6} {quantity:>9} {method:>11}"
                    f" {figures['coverage']:>8.3f} {figures['median_width']:>7.3f}"
                )


if __name__ == "__main__":
    main()
