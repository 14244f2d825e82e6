"""Preparing CIFAR-10 from its version for Python: six pickled files, in a tar or unpacked.

Source: www.cs.toronto.edu/~kriz/cifar.html; spec: workloads/cifar.md, 1.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import reading, require
from timetrial.prepared.recipe import Distribution, Part, Recipe, Stage
from timetrial.workloads.cifar.pickles import PickleError, StoredArray, load_pickle
from timetrial.workloads.labelled_images import write_split

CLASSES = 10
PIXELS = 32
CHANNELS = 3

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILES = ("test_batch",)

PUBLISHED = {
    ARCHIVE: "md5:c58f30108f718f92721af3b95e74349a",
    "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
    "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
    "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "md5:40351d587109b95175f43aff81a1287e",
}

_VALIDATION_SHARE = 10
"""The last 5,000 of the 50,000 training images are for validation, the last tenth."""


@dataclass(frozen=True, kw_only=True)
class CifarRecipe(Recipe):
    """Prepares CIFAR-10."""

    dataset = "cifar"
    version = 1
    distribution = Distribution(
        title="CIFAR-10",
        files=f"{ARCHIVE}, or, unpacked, {FOLDER}/data_batch_1 to data_batch_5 and test_batch",
        source="www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; its authors ask to be cited (Krizhevsky 2009)",
        raw_bytes=170_498_071,
        prepared_bytes=184_380_000,
    )
    published_examples = {"train": 45_000, "validation": 5_000, "test": 10_000}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the one stage, of a part for each split."""
        folder = raw / FOLDER
        if folder.is_dir():
            for name in (*TRAIN_FILES, *TEST_FILES):
                require(folder / name, "CIFAR-10's file of that name")
            origin = folder
        else:
            origin = require(raw / ARCHIVE, f"it, or the folder {FOLDER} that is in it")

        def stage() -> list[Part]:
            return [self._part(split, origin) for split in ("train", "validation", "test")]

        return [stage]

    def _part(self, split: str, origin: Path) -> Part:
        names = TEST_FILES if split == "test" else TRAIN_FILES
        sources = tuple(origin / name for name in names) if origin.is_dir() else (origin,)
        return Part(
            name=f"{split}-00000",
            split=split,
            sources=sources,
            make=partial(make_part, split, origin),
            expected_bytes=sum(path.stat().st_size for path in sources),
            published=PUBLISHED if self.published else {},
        )


def make_part(split: str, origin: Path, folder: Path) -> int:
    """Write a split's `inputs`, uint8 (n, 3, 32, 32), and `targets`, uint8 (n,); returns n. Raises FileError."""
    batches = [_read_batch(origin, name) for name in (TEST_FILES if split == "test" else TRAIN_FILES)]
    inputs, targets = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return write_split(split, inputs, targets, len(inputs) - len(inputs) // _VALIDATION_SHARE, origin, folder)


def _read_batch(origin: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of a pickled file. Raises FileError where it is no such file."""
    path = origin / name
    try:
        content = load_pickle(_read(origin, name))
    except PickleError as error:
        raise FileError(path, f"is not one of CIFAR-10's files ({error}); download it again") from error
    stored, labels = (content.get(key) for key in (b"data", b"labels")) if isinstance(content, dict) else (None, None)
    data = stored.array if isinstance(stored, StoredArray) else None
    pixels = CHANNELS * PIXELS**2
    if data is None or data.ndim != 2 or data.shape[1] != pixels:
        found = "none" if data is None else f"shape {data.shape}"
        raise FileError(path, f"expected `data`, bytes of shape (images, {pixels}); found {found}")
    if not isinstance(labels, list) or len(labels) != len(data):
        found = f"a list of {len(labels)}" if isinstance(labels, list) else "none"
        raise FileError(path, f"expected `labels`, a list of {len(data)} classes; found {found}")
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < CLASSES:
            raise FileError(path, f"label {row}: expected 0 to {CLASSES - 1}, found {label!r}")
    return data.reshape(-1, CHANNELS, PIXELS, PIXELS), np.array(labels, np.uint8)


def _read(origin: Path, name: str) -> bytes:
    """Return a file's bytes, out of the archive or the folder."""
    if origin.is_dir():
        with reading(origin / name):
            return (origin / name).read_bytes()
    with reading(origin), tarfile.open(origin, "r|gz") as tar:
        for member in tar:
            if member.isfile() and member.name.rpartition("/")[2] == name:
                file = tar.extractfile(member)
                assert file is not None, "it is a file"
                return file.read()
    raise FileError(origin, f"expected {FOLDER}/{name} in it; found no such file")
