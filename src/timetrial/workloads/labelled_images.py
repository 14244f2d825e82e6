"""What small datasets of labelled images share when they are prepared: a split is cut out and written whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from timetrial.errors import FileError


def write_split(split: str, inputs: np.ndarray, targets: np.ndarray, train: int, origin: Path, folder: Path) -> int:
    """Write `inputs` and `targets` of a split, and return how many examples it has.

    Of raw training examples the first `train` are for training, the others for validation. Raises FileError, naming
    `origin`, where there are none.
    """
    if split != "test":
        rows = slice(train) if split == "train" else slice(train, None)
        inputs, targets = inputs[rows], targets[rows]
    if not len(inputs):
        raise FileError(origin, f"holds too few images for a {split} split")
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "targets.npy", targets)
    return len(inputs)
