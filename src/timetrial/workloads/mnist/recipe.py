"""Preparing MNIST from its four IDX files, compressed or not.

The format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): big-endian 32-bit numbers,
first a magic one, which tells the type of the values and how many axes there are, then the axes' sizes; then the
values.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import reading, require
from timetrial.prepared.recipe import Distribution, Part, Recipe, Stage
from timetrial.workloads.labelled_images import write_split

CLASSES = 10
PIXELS = 28

IMAGES_MAGIC, LABELS_MAGIC = 0x00000803, 0x00000801
"""Unsigned bytes with three axes, and with one."""

PUBLISHED = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}

_TRAIN_SHARE = (5, 6)
"""The first 50,000 of the 60,000 training images are for training, the others for validation."""


@dataclass(frozen=True, kw_only=True)
class MnistRecipe(Recipe):
    """Prepares MNIST."""

    dataset = "mnist"
    version = 1
    distribution = Distribution(
        title="MNIST",
        files=", ".join(PUBLISHED) + " (or the same unpacked, without .gz)",
        source="yann.lecun.com/exdb/mnist, and its mirrors",
        licence="CC BY-SA 3.0",
        raw_bytes=11_594_722,
        prepared_bytes=54_950_000,
    )
    published_examples = {"train": 50_000, "validation": 10_000, "test": 10_000}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the one stage, of a part for each split."""
        train, test = _pair(raw, "train"), _pair(raw, "t10k")

        def stage() -> list[Part]:
            return [self._part("train", train), self._part("validation", train), self._part("test", test)]

        return [stage]

    def _part(self, split: str, sources: tuple[Path, Path]) -> Part:
        return Part(
            name=f"{split}-00000",
            split=split,
            sources=sources,
            make=partial(make_part, split, *sources),
            expected_bytes=sum(path.stat().st_size for path in sources),
            published=PUBLISHED if self.published else {},
        )


def _pair(raw: Path, prefix: str) -> tuple[Path, Path]:
    """Return the files of images and labels, compressed or not."""
    names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    images, labels = (
        raw / name
        if (raw / name).exists()
        else require(raw / f"{name}.gz", "MNIST's file of that name, or it unpacked")
        for name in names
    )
    return images, labels


def make_part(split: str, images: Path, labels: Path, folder: Path) -> int:
    """Write a split's `inputs`, uint8 (n, 28, 28), and `targets`, uint8 (n,); returns n. Raises FileError."""
    inputs, targets = read_idx(images, IMAGES_MAGIC), read_idx(labels, LABELS_MAGIC)
    if inputs.shape[1:] != (PIXELS, PIXELS):
        raise FileError(images, f"expected images of {PIXELS} x {PIXELS} pixels, found {inputs.shape[1:]}")
    if len(inputs) != len(targets):
        raise FileError(labels, f"expected {len(inputs)} labels, as many as there are images; found {len(targets)}")
    if (wrong := np.flatnonzero(targets >= CLASSES)).size:
        raise FileError(labels, f"label {wrong[0]}: expected 0 to {CLASSES - 1}, found {targets[wrong[0]]}")
    share, whole = _TRAIN_SHARE
    return write_split(split, inputs, targets, len(inputs) * share // whole, images, folder)


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Return what an IDX file of that kind holds, uint8. Raises FileError."""
    with reading(path), _open(path) as file:
        found = int.from_bytes(file.read(4), "big")
        if found != magic:
            raise FileError(path, f"expected an IDX file with the magic number {magic}, found {found}")
        sizes = np.frombuffer(file.read(4 * (magic & 0xFF)), ">u4").tolist()
        expected = int(np.prod(sizes, dtype=np.int64))
        values = file.read(expected + 1)
    if len(sizes) != magic & 0xFF or len(values) != expected:
        raise FileError(path, f"expected {expected} values after its header, found {len(values)}; download it again")
    return np.frombuffer(values, np.uint8).reshape(sizes)


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
