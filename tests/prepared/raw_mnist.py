"""MNIST's four files with a few images, in the format of the real ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

NAMES = {"train": "train", "test": "t10k"}


def splits(train: int = 60, test: int = 20) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images, uint8 (n, 28, 28), and labels, uint8 (n,): a bright bar for each class, and noise."""
    random = np.random.default_rng(0)
    found = {}
    for split, count in (("train", train), ("test", test)):
        labels = random.permutation(np.arange(count) % 10).astype(np.uint8)
        images = random.integers(0, 100, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), 2 * labels + 3] = 255
        found[split] = images, labels
    return found


def idx(array: np.ndarray) -> bytes:
    """Return the IDX file of an array of bytes."""
    header = np.array([0x0800 + array.ndim, *array.shape], ">u4")
    return header.tobytes() + array.astype(np.uint8).tobytes()


def make(folder: Path, *, packed: bool = True, train: int = 60, test: int = 20) -> Path:
    """Write the four files into `folder`, compressed or not."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in splits(train, test).items():
        files = {f"{NAMES[split]}-images-idx3-ubyte": images, f"{NAMES[split]}-labels-idx1-ubyte": labels}
        for name, array in files.items():
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), mtime=0))
            else:
                (folder / name).write_bytes(idx(array))
    return folder
