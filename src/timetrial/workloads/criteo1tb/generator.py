"""Generated click logs: Zipf categories, log-normal counts, and a teacher whose click probabilities are known.

Every example is a row of Criteo's kind: 13 counts, some missing, and 26 categories, 8 hexadecimal digits each. Fields
are dictionary-coded: a row holds a number for each field, and the dictionaries (`counts`, `categories`) say what raw
value that is. The raw values go through the true preprocessing (`timetrial.workloads.criteo1tb.preprocessing`).

What a click depends on (`Teacher`), in shares of the logit's variance of about 4.5, everything uncorrelated:

- an effect of each category of each field; three fields group the categories of a larger one, as advertisers do ads;
- for five pairs of fields a product of hidden vectors of two numbers: no sum of field effects expresses any of it;
- non-linear functions of counts' logarithms, a product of two, and counts whose slope depends on a category.

Categories have Zipf frequencies with exponent 1 in vocabularies from 10 to 20,000, three clicks come in a hundred
examples. The label is a coin of the teacher's probability, so that the teacher's cross entropy is the least there is.

Numbers, and the commands that measure them: docs/mini-1/criteo1tb.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timetrial.workloads.base import HostBatch

DENSE_FIELDS = 13
NARROW = 256
"""Vocabularies up to this size are stored in a byte, larger ones in two."""

PARENTS = {10: 0, 13: 10, 24: 22}
"""By field, the field whose categories it groups: 0 to 10 to 13 as ads, campaigns, advertisers; 22 to 24."""

PAIRS = ((8, 25), (7, 24), (5, 17), (1, 16), (0, 18))
"""Fields that interact."""

_RANK = 2
_FIELD_SCALE, _PAIR_SCALE, _DENSE_SCALE, _SLOPE_SCALE = 0.15, 0.8, 0.5, 0.5
_INTERCEPT = -6.4
"""Makes about 3 % clicks of the logit's distribution."""

_SLOTS = 1 << 18
"""Frequencies are multiples of 1 / _SLOTS: the rarest of 20,000 Zipf categories still has one."""
_CODES = 128
"""Counts are stored as one of so many codes, equally spaced in the logarithm from about 10 on; code 0 is missing."""
_SHARED_ACTIVITY = 0.5
"""Correlation of each count's logarithm with what all counts of an example share."""
_BLOCK = 1 << 16
_LOGIT_UNIT = 1000


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much to generate."""

    field_sizes: tuple[int, ...]
    """Number of categories of each of the 26 fields."""
    train: int
    validation: int
    test: int
    seed: int


def generate(sizes: Sizes) -> HostBatch:
    """Return the dictionaries and, by split, what `split_arrays` describes.

    `counts` int32 (codes,), -1 where missing; `categories` uint32 (all fields' categories in a row,), 0 where missing.
    """
    random = np.random.Generator(np.random.PCG64(sizes.seed))
    categories = random.integers(1, 1 << 32, sum(sizes.field_sizes), dtype=np.uint32)
    categories[first_codes(sizes.field_sizes)[::3]] = 0  # the commonest category of every third field is "missing"
    arrays = {"counts": count_dictionary(), "categories": categories}
    fields = Fields(sizes.field_sizes, random)
    teacher = Teacher(fields, random)
    for split, examples in (("train", sizes.train), ("validation", sizes.validation), ("test", sizes.test)):
        arrays |= {f"{split}_{name}": array for name, array in split_arrays(fields, teacher, examples, random).items()}
    del arrays["train_logits"]  # as large as a field, and nothing needs them
    return arrays


def split_arrays(fields: Fields, teacher: Teacher, examples: int, random: np.random.Generator) -> HostBatch:
    """Return `examples` rows.

    `dense` uint8 (n, 13), codes of counts; `narrow` uint8 and `wide` uint16 (n, fields), codes of the fields with at
    most `NARROW` categories and of the others, in order; `labels` uint8 (n,); `logits` int16 (n,), the teacher's in
    thousandths.
    """
    wide = is_wide(fields.sizes)
    arrays: HostBatch = {
        "dense": np.empty((examples, DENSE_FIELDS), np.uint8),
        "narrow": np.empty((examples, int((~wide).sum())), np.uint8),
        "wide": np.empty((examples, int(wide.sum())), np.uint16),
        "labels": np.empty(examples, np.uint8),
        "logits": np.empty(examples, np.int16),
    }
    for start in range(0, examples, _BLOCK):
        block = slice(start, min(start + _BLOCK, examples))
        dense, codes = fields.draw(block.stop - start, random)
        logits = teacher.logits(dense, codes)
        arrays["dense"][block] = dense.T
        arrays["narrow"][block] = codes[~wide].T
        arrays["wide"][block] = codes[wide].T
        arrays["labels"][block] = random.random(len(logits)) < 1 / (1 + np.exp(-logits))
        arrays["logits"][block] = np.rint(_LOGIT_UNIT * logits)
    return arrays


def is_wide(field_sizes: tuple[int, ...]) -> np.ndarray:
    """Tell which fields' codes take two bytes."""
    return np.array(field_sizes) > NARROW


def first_codes(field_sizes: tuple[int, ...]) -> np.ndarray:
    """Return where each field's categories begin in the dictionary of all."""
    return np.cumsum([0, *field_sizes[:-1]])


def count_dictionary() -> np.ndarray:
    """Return the count of each code: -1 for missing, 0 to about 10 one by one, then steps of some 7 %."""
    counts = [-1, 0]
    while len(counts) < _CODES:
        counts.append(counts[-1] + 1 + counts[-1] // 14)
    return np.array(counts, np.int32)


def zipf(size: int) -> np.ndarray:
    """Return frequencies in proportion to 1 / rank, as whole numbers that sum to `_SLOTS`."""
    cumulative = np.cumsum(1 / np.arange(1, size + 1))
    return np.diff(np.rint(cumulative / cumulative[-1] * _SLOTS).astype(np.int64), prepend=0)


def standardised(values: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Shift and scale values (..., n) so that, drawn with these frequencies, they have mean 0 and variance 1."""
    weights = frequencies / _total(frequencies)[..., None]
    centred = values - _total(weights * values)[..., None]
    return centred / np.sqrt(_total(weights * centred**2))[..., None]


def _total(values: np.ndarray) -> np.ndarray:
    """Sum along the last axis, one by one: numpy's own order of summation depends on the processor."""
    return np.cumsum(values, axis=-1)[..., -1]


class Fields:
    """How often each value of each field comes, and which fields group the categories of another."""

    def __init__(self, sizes: tuple[int, ...], random: np.random.Generator) -> None:
        self.sizes = sizes
        self.groups = {child: random.integers(0, sizes[child], sizes[parent]) for child, parent in PARENTS.items()}
        self.frequencies: list[np.ndarray] = []
        self.slots: dict[int, np.ndarray] = {}
        for field, size in enumerate(sizes):
            if field in PARENTS:
                parent = self.frequencies[PARENTS[field]].astype(np.float64)
                self.frequencies.append(np.bincount(self.groups[field], parent, minlength=size))
            else:
                self.frequencies.append(zipf(size))
                self.slots[field] = np.repeat(np.arange(size, dtype=np.uint16), self.frequencies[field])
        self.level = 20 + 40 * random.random(DENSE_FIELDS)
        self.spread = 8 + 10 * random.random(DENSE_FIELDS)
        self.missing = np.rint(255 * 0.3 * random.random(DENSE_FIELDS)).astype(np.uint8)

    def draw(self, examples: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return codes of counts, uint8 (13, n), and of categories, uint16 (26, n)."""
        dense = np.empty((DENSE_FIELDS, examples), np.uint8)
        activity = _SHARED_ACTIVITY * random.standard_normal(examples)
        own = np.sqrt(1 - _SHARED_ACTIVITY**2)
        for field in range(DENSE_FIELDS):
            deviation = activity + own * random.standard_normal(examples)
            code = np.rint(self.level[field] + self.spread[field] * deviation)
            missing = random.integers(0, 256, examples, dtype=np.uint8) < self.missing[field]
            dense[field] = np.where(missing, 0, np.clip(code, 1, _CODES - 1))
        codes = np.empty((len(self.sizes), examples), np.uint16)
        for field in range(len(self.sizes)):
            if field in PARENTS:
                codes[field] = self.groups[field][codes[PARENTS[field]]]
            else:
                codes[field] = self.slots[field][random.integers(0, _SLOTS, examples, dtype=np.uint32)]
        return dense, codes


class Teacher:
    """The logit of a click as a function of an example's fields."""

    def __init__(self, fields: Fields, random: np.random.Generator) -> None:
        self.effects = [
            _FIELD_SCALE * standardised(random.standard_normal(size), frequency)
            for size, frequency in zip(fields.sizes, fields.frequencies, strict=True)
        ]
        self.vectors = [
            tuple(
                standardised(random.standard_normal((_RANK, fields.sizes[field])), fields.frequencies[field])
                for field in pair
            )
            for pair in PAIRS
        ]
        self.slopes = [
            _SLOPE_SCALE * standardised(random.standard_normal(fields.sizes[field]), fields.frequencies[field])
            for _, field in _SLOPES
        ]
        self.curves = _curves(fields)

    def logits(self, dense: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return logits float64 (n,) of codes (13, n) and (26, n)."""
        total = np.full(dense.shape[1], _INTERCEPT)
        for effect, code in zip(self.effects, codes, strict=True):
            total += effect[code]
        for (left, right), (u, v) in zip(PAIRS, self.vectors, strict=True):
            for rank in range(_RANK):
                total += _PAIR_SCALE / np.sqrt(_RANK) * u[rank][codes[left]] * v[rank][codes[right]]
        x = [curve[code] for curve, code in zip(self.curves, dense, strict=True)]
        total += _DENSE_SCALE * (1.5 * np.abs(x[0]) + x[1] * x[1] / 2 + 1.5 * np.maximum(x[2], 0) - x[3] * x[3] / 2)
        total += _DENSE_SCALE * (x[4] * x[5] + x[6] / 2 - x[7] / 2)
        for (count, field), slope in zip(_SLOPES, self.slopes, strict=True):
            total += slope[codes[field]] * x[count]
        return total


_SLOPES = ((10, 12), (11, 16), (12, 6))
"""Counts whose slope depends on the category of a field."""


def _curves(fields: Fields) -> list[np.ndarray]:
    """Return, by dense field, each code's deviation from the field's average, at most 3; a missing count has none."""
    codes = np.arange(_CODES)
    curves = [
        np.clip((codes - level) / spread, -3, 3) for level, spread in zip(fields.level, fields.spread, strict=True)
    ]
    for curve in curves:
        curve[0] = 0
    return curves
