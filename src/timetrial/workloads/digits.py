"""Handwritten digits: scikit-learn's bundled 1,797 real images of 8 x 8 pixels, split once and for all.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
(1998), the test part, as shipped inside scikit-learn (CC BY 4.0). Pixels are counts from 0 to 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy as np

from timetrial.workloads.base import HostBatch, Split

SIZES: dict[str, int] = {"train": 1000, "validation": 400, "test": 397}
"""Examples a split; an evaluation's `train` split is the first 400 training examples."""

EVAL_TRAIN = 400

_SPLIT_SEED = 20260801
_MEAN, _STD = 4.896, 6.014
"""Mean and standard deviation of the 64,000 training pixels, to three decimals."""

BACKGROUND = -_MEAN / _STD
"""A pixel without ink, after normalisation."""


@lru_cache(maxsize=1)
def splits() -> dict[str, HostBatch]:
    """Return `inputs`, normalised float32 (n, 8, 8), and `targets`, int64 (n,), of each split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.Generator(np.random.PCG64(_SPLIT_SEED)).permutation(len(digits.target))
    inputs = ((digits.images[order] - _MEAN) / _STD).astype(np.float32)
    targets = digits.target[order].astype(np.int64)
    bounds = np.cumsum([0, *SIZES.values()])
    return {
        name: {"inputs": inputs[start:stop], "targets": targets[start:stop]}
        for name, start, stop in zip(SIZES, bounds[:-1], bounds[1:], strict=True)
    }


def split_hash() -> str:
    """Return the SHA-256 of all splits: a changed image, label, order or normalisation changes it."""
    digest = hashlib.sha256()
    for name, arrays in splits().items():
        digest.update(name.encode())
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def eval_examples(split: Split) -> int:
    """Return how many examples an evaluation of `split` runs over."""
    return EVAL_TRAIN if split == "train" else SIZES[split]


def eval_batches(split: Split, batch_size: int, layout: Literal["flat", "image"]) -> Iterator[HostBatch]:
    """Yield an evaluation split in order: rows of 64 pixels, or images (n, 1, 8, 8)."""
    arrays = shaped(splits()[split], layout)
    for start in range(0, eval_examples(split), batch_size):
        stop = min(start + batch_size, eval_examples(split))
        yield {name: array[start:stop] for name, array in arrays.items()}


def shaped(arrays: HostBatch, layout: Literal["flat", "image"]) -> HostBatch:
    """Return the arrays with inputs as rows of 64 pixels, or as images (n, 1, 8, 8)."""
    shape = (-1, 64) if layout == "flat" else (-1, 1, 8, 8)
    return {**arrays, "inputs": arrays["inputs"].reshape(shape)}
