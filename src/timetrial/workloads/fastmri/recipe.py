"""Preparing fastMRI: single-coil knee volumes, a record a slice, half transformed.

Source: spec: workloads/fastmri.md, 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import library, reading, require_some
from timetrial.prepared.recipe import Distribution, Part, Recipe, Settings, Stage
from timetrial.prepared.records import SUFFIX, write_records
from timetrial.workloads.fastmri.preprocessing import transform

if TYPE_CHECKING:
    import h5py

SLICES = f"slices{SUFFIX}"
EXTRA = "mri"

_FILES = {"train": 973, "val": 199}
"""Volumes that the published folders hold."""

_EXAMPLES = {"train": 34_742, "validation": 3_554, "test": 3_581}

_KEPT = 0.6
"""Of a volume's bytes, what is stored: half the rows of k-space, and the reference (computed for 370 columns)."""


@dataclass(frozen=True, kw_only=True)
class FastmriRecipe(Recipe):
    """fastMRI's volumes, as k-space transformed along its rows' axis and cropped there, beside the clean image.

    A record is a slice: complex64 (size, columns), then float32 (size, size), little endian. Beside the records,
    `columns` int16 and `volume_max` float32, one entry a slice.

    Training slices stand in the order of their files' names (the public pipeline takes them as the file system
    lists them). Of the files in `knee_singlecoil_val`, sorted by name, the first half, rounded up, is the validation
    split (100 of 199), the others are the test split.
    """

    dataset = "fastmri"
    version = 1
    distribution = Distribution(
        title="fastMRI, single-coil knees",
        files=(
            "the HDF5 files of knee_singlecoil_train.tar.xz and knee_singlecoil_val.tar.xz, unpacked into folders "
            "knee_singlecoil_train and knee_singlecoil_val (or singlecoil_train and singlecoil_val)"
        ),
        source="fastmri.med.nyu.edu, after registration",
        licence="fastMRI Dataset Sharing Agreement (research and education; no redistribution)",
        raw_bytes=96_500_000_000,  # 41,877 slices of 640 x 370 complex64 and 320 x 320 float32; widths vary
        prepared_bytes=56_800_000_000,  # the same with 320 rows
        extra=EXTRA,
    )
    published_examples = _EXAMPLES

    image_size: int
    """Height and width of the images."""
    part_volumes: int
    """Volumes that a part is made of."""

    @property
    def settings(self) -> Settings:
        """Return what the files depend on."""
        return {"image_size": self.image_size, "part_volumes": self.part_volumes}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the only stage; see `Recipe`."""
        train, held_out = self._volumes(raw, "train"), self._volumes(raw, "val")
        if len(held_out) < 2:
            raise FileError(held_out[0].parent, "expected at least 2 volumes, to validate and to test with, found 1")
        half = -(-len(held_out) // 2)
        splits = {"train": train, "validation": held_out[:half], "test": held_out[half:]}
        return [lambda: [part for split, volumes in splits.items() for part in self._parts(split, volumes)]]

    def _volumes(self, raw: Path, name: str) -> list[Path]:
        """Return the volumes of the folder of that name, in order."""
        folder = _folder(raw, f"singlecoil_{name}")
        volumes = require_some(folder, "*.h5", "one HDF5 file a volume")
        if self.published and len(volumes) != _FILES[name]:
            raise FileError(folder, f"expected {_FILES[name]} volumes (*.h5), found {len(volumes)}")
        return volumes

    def _parts(self, split: str, volumes: Sequence[Path]) -> Iterator[Part]:
        for number, start in enumerate(range(0, len(volumes), self.part_volumes)):
            chosen = tuple(volumes[start : start + self.part_volumes])
            yield Part(
                name=f"{split}-{number:05d}",
                split=split,
                sources=chosen,
                make=partial(make_part, chosen, self.image_size),
                expected_bytes=int(_KEPT * sum(path.stat().st_size for path in chosen)),
            )


def _folder(raw: Path, name: str) -> Path:
    """Return the folder of volumes: as the public benchmark calls it, as the archive has it, or one in the other."""
    candidates = [raw / f"knee_{name}" / name, raw / f"knee_{name}", raw / name]
    for folder in candidates:
        if folder.is_dir():
            return folder
    for archive in sorted(raw.glob(f"knee_{name}.tar*")):
        raise FileError(archive, f"expected it unpacked: tar -xf {archive.name} in that folder makes {name}")
    raise FileError(raw / f"knee_{name}", f"no such folder; expected the volumes of {FastmriRecipe.distribution.files}")


def make_part(volumes: Sequence[Path], size: int, folder: Path) -> int:
    """Write the slices of some volumes, one after the other in memory; return how many. Raises FileError."""
    columns: list[int] = []
    maxima: list[float] = []

    def records() -> Iterator[bytes]:
        for path in volumes:
            for half, reference, maximum in read_volume(path, size):
                columns.append(half.shape[1])
                maxima.append(maximum)
                yield half.astype("<c8").tobytes() + reference.astype("<f4").tobytes()

    write_records(folder / SLICES, records())
    np.save(folder / "columns.npy", np.array(columns, dtype=np.int16))
    np.save(folder / "volume_max.npy", np.array(maxima, dtype=np.float32))
    return len(columns)


def read_volume(path: Path, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yield a volume's slices: k-space transformed along its rows' axis, the reference, the volume's largest value.

    Raises FileError where the file is no good, naming what in it is.
    """
    h5py = library("h5py", EXTRA)
    with reading(path), h5py.File(path, "r") as file:
        kspace = _array(path, file, "kspace", np.complex64)
        references = _array(path, file, "reconstruction_esc", np.float32)
        if kspace.shape[1] < size or kspace.shape[2] < size:
            raise FileError(path, f"kspace: expected at least {size} rows and columns, found shape {kspace.shape}")
        if references.shape != (len(kspace), size, size):
            expected = (len(kspace), size, size)
            raise FileError(path, f"reconstruction_esc: expected shape {expected}, found {references.shape}")
        maximum = _maximum(path, file)
        for number in range(len(kspace)):
            half = transform(_slice(path, kspace, number)[None], size, axis=1)[0]
            yield half, _slice(path, references, number), maximum


def _array(path: Path, file: h5py.File, name: str, dtype: type[np.generic]) -> h5py.Dataset:
    """Return a dataset of three axes and that dtype, not yet read."""
    h5py = library("h5py", EXTRA)
    with reading(path, KeyError, RuntimeError):
        array = file.get(name)
    if not isinstance(array, h5py.Dataset):
        raise FileError(path, f"{name}: no such dataset; expected kspace and reconstruction_esc")
    if array.dtype != dtype or array.ndim != 3 or len(array) == 0:
        expected = f"{np.dtype(dtype)} of three axes, the slices first"
        raise FileError(path, f"{name}: expected {expected}, found {array.dtype} of shape {array.shape}")
    return array


def _slice(path: Path, array: h5py.Dataset, number: int) -> np.ndarray:
    try:
        found: np.ndarray = array[number]
    except (OSError, RuntimeError) as error:
        problem = f"{array.name.strip('/')}: slice {number} cannot be read ({error}); download it again"
        raise FileError(path, problem) from error
    if not np.isfinite(found).all():
        raise FileError(path, f"{array.name.strip('/')}: slice {number}: expected finite numbers; download it again")
    return found


def _maximum(path: Path, file: h5py.File) -> float:
    """Return the volume's largest value; 0 where the file does not tell, as published."""
    with reading(path, RuntimeError):
        found = file.attrs.get("max", 0.0)
    try:
        maximum = float(found)
    except (TypeError, ValueError) as error:
        raise FileError(path, f"attribute max: expected a number, found {found!r}") from error
    if not 0 <= maximum < np.inf:
        raise FileError(path, f"attribute max: expected a finite number of at least 0, found {maximum}")
    return maximum
