"""NAdamW at the leaderboard's fixed points: the baseline that entries of AlgoPerf are measured against.

The update rule is `nadamw`, which has the paper's search space; this has the five points of the external-tuning
baseline, and the one point of the self-tuning baseline (spec: algorithms/nadamw_and_adam_family.md, 2).

Memory: 2 floats a parameter. No work beyond the update.
"""

from __future__ import annotations

from timetrial.algorithms.nadamw import NAdamW
from timetrial.api import SearchSpace

_NAMES = (
    "dropout_rate",
    "label_smoothing",
    "learning_rate",
    "one_minus_beta1",
    "beta2",
    "weight_decay",
    "warmup_factor",
)
_ROWS = (
    (0.0, 0.1, 1.308209823469072e-3, 0.02686663061, 0.9981232922116359, 0.16375311233774334, 0.1),
    (0.0, 0.2, 8.445074561975979e-4, 0.11042418465, 0.9978504782314613, 0.08135402759553023, 0.05),
    (0.0, 0.0, 1.308209823469072e-3, 0.02686663061, 0.9981232922116359, 0.16375311233774334, 0.1),
    (0.0, 0.0, 4.958460849689891e-3, 0.13625575743, 0.6291854735396584, 0.1147386261512052, 0.02),
    (0.1, 0.0, 1.7486387539278373e-3, 0.06733926164, 0.9955159689799007, 0.08121616522670176, 0.02),
)

FIVE_POINTS: tuple[dict[str, float], ...] = tuple(dict(zip(_NAMES, row, strict=True)) for row in _ROWS)
"""The five points of the baseline, in order (spec: algorithms/nadamw_and_adam_family.md, 2)."""


class NAdamWBaseline(NAdamW):
    """NAdamW on all parameters, linear warm-up and cosine decay to zero, at published points."""

    search_space = SearchSpace.from_points(FIVE_POINTS)
    hyperparameters = FIVE_POINTS[4]
