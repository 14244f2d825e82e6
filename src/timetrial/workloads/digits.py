"""Handwritten digits: scikit-learn's bundled 1,797 real images of 8 x 8 pixels, split once and for all.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
(1998), the test part, as shipped inside scikit-learn (CC BY 4.0). Pixels are counts from 0 to 16.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from timetrial.api import LossType
from timetrial.errors import UserError
from timetrial.workloads.base import Config, HostBatch, Split, Workload
from timetrial.workloads.batches import EXAMPLES, Field, Fields
from timetrial.workloads.sources import ArrayData, Augment

SIZES: dict[Split, int] = {"train": 1000, "validation": 400, "test": 397}
"""Examples a split; an evaluation's `train` split is the first 400 training examples."""

EVAL_TRAIN = 400

_SPLIT_SEED = 20260801
_MEAN, _STD = 4.896, 6.014
"""Mean and standard deviation of the 64,000 training pixels, to three decimals."""

BACKGROUND = -_MEAN / _STD
"""A pixel without ink, after normalisation."""


@lru_cache(maxsize=1)
def splits() -> dict[Split, HostBatch]:
    """Return `inputs`, normalised float32 (n, 8, 8), and `targets`, int64 (n,), of each split."""
    rows = np.loadtxt(_file(), delimiter=",")
    order = np.random.Generator(np.random.PCG64(_SPLIT_SEED)).permutation(len(rows))
    inputs = ((rows[order, :-1].reshape(-1, 8, 8) - _MEAN) / _STD).astype(np.float32)
    targets = rows[order, -1].astype(np.int64)
    bounds = np.cumsum([0, *SIZES.values()])
    return {
        name: {"inputs": inputs[start:stop], "targets": targets[start:stop]}
        for name, start, stop in zip(SIZES, bounds[:-1], bounds[1:], strict=True)
    }


def _file() -> Path:
    """Find scikit-learn's file without importing scikit-learn, which would cost every trial a second."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise UserError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"


def split_hash() -> str:
    """Return the SHA-256 of all splits: a changed image, label, order or normalisation changes it."""
    digest = hashlib.sha256()
    for name, arrays in splits().items():
        digest.update(name.encode())
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def digit_fields(shape: tuple[int, ...], classes: int) -> Fields:
    """Return what the arrays of a batch must be, for examples of the given shape."""
    return {
        "inputs": Field(kind="numbers", axes=(EXAMPLES, *shape)),
        "targets": Field(kind="labels", axes=(EXAMPLES,), at_least=0, below=classes),
        "weights": Field(kind="mask", axes=(EXAMPLES,), optional=True),
    }


def random_digits(random: np.random.Generator, batch_size: int, shape: tuple[int, ...]) -> HostBatch:
    """Return noise in the place of digits whose examples have the given shape."""
    return {
        "inputs": random.standard_normal((batch_size, *shape), dtype=np.float32),
        "targets": random.integers(0, 10, size=batch_size),
    }


class DigitsWorkload(Workload[Config]):
    """A workload on the digits, which are here without being generated or prepared."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY

    def generated(self) -> None:
        """Return that there is nothing to generate."""
        return

    def check_data(self) -> None:
        """Raise UserError where scikit-learn, which brings the digits, is not installed."""
        _file()

    def data_identity(self) -> str:
        """Return the hash of all splits."""
        return split_hash()


def digits_data(shape: tuple[int, ...], augment: Augment | None = None) -> ArrayData:
    """Return the digits with inputs of the given shape of 64 pixels an example, (64,) or (1, 8, 8)."""
    shaped = {name: {**arrays, "inputs": arrays["inputs"].reshape(-1, *shape)} for name, arrays in splits().items()}
    return ArrayData.of_splits(shaped, slice(EVAL_TRAIN), augment=augment)
