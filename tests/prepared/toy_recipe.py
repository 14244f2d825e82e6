"""A dataset of lines of numbers: raw files `train_*.txt` and `validation.txt`, summed up in two stages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from timetrial.prepared.raw import reading, require, require_some
from timetrial.prepared.recipe import Distribution, Part, Recipe, Stage


@dataclass(frozen=True, kw_only=True)
class Toy(Recipe):
    """Stage one reads each file, stage two adds the largest number of all to each."""

    dataset: ClassVar[str] = "toy"
    version: ClassVar[int] = 1
    distribution: ClassVar[Distribution] = Distribution(
        title="Toy", files="text files", source="a test", licence="none", raw_bytes=10, prepared_bytes=20
    )
    published: bool = False
    factor: int = 1
    pause: float = 0.0
    expected: Mapping[str, int] | None = None
    checksums: Mapping[str, str] | None = None
    write_to: str | None = None
    """Write through a link to this file: what /dev/full is for."""

    @property
    def settings(self) -> Mapping[str, int | str]:
        return {"factor": self.factor}

    @property
    def expected_examples(self) -> Mapping[str, int]:
        return self.expected or {}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        files = require_some(raw, "train_*.txt", "numbers to train on")
        files.append(require(raw / "validation.txt", "numbers to validate on"))
        return [partial(self._read, files), partial(self._shift, files, parts)]

    def _read(self, files: Sequence[Path]) -> list[Part]:
        return [
            Part(
                name=f"read-{path.stem}",
                split=None,
                sources=(path,),
                make=partial(read, path, self.factor, self.pause),
                expected_bytes=1000,
                temporary=True,
                published=self.checksums or {},
            )
            for path in files
        ]

    def _shift(self, files: Sequence[Path], parts: Path) -> list[Part]:
        names = tuple(f"read-{path.stem}" for path in files)
        return [
            Part(
                name=path.stem,
                split=path.stem.partition("_")[0],
                make=partial(shift, [parts / name for name in names], number, self.pause, self.write_to),
                expected_bytes=1000,
                after=names,
            )
            for number, path in enumerate(files)
        ]


def read(path: Path, factor: int, pause: float, folder: Path) -> int:
    with reading(path, ValueError):
        numbers = factor * np.loadtxt(path, dtype=np.int64, ndmin=1)
    for name, array in (("numbers", numbers), ("squares", numbers**2)):
        np.save(folder / f"{name}.npy", array)
        time.sleep(pause)
    return len(numbers)


def shift(folders: Sequence[Path], number: int, pause: float, write_to: str | None, folder: Path) -> int:
    arrays = [np.load(each / "numbers.npy") for each in folders]
    if write_to:
        (folder / "numbers.npy").symlink_to(write_to)
    np.save(folder / "numbers.npy", arrays[number] + max(array.max() for array in arrays))
    time.sleep(pause)
    return len(arrays[number])
