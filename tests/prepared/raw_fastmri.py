"""fastMRI's single-coil knees in small: HDF5 volumes of random images and their k-space."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np


def make(
    folder: Path,
    *,
    volumes: tuple[int, int] = (5, 5),
    slices: int = 4,
    rows: int = 32,
    columns: tuple[int, ...] = (20, 24),
    size: int = 16,
    names: tuple[str, str] = ("knee_singlecoil_train", "knee_singlecoil_val"),
    seed: int = 0,
) -> Path:
    """Write so many volumes for training and for the rest into the folders of those names, and return `folder`.

    Volumes have `slices` slices, the third one more; their widths are `columns` in turn. The fourth volume of a
    folder has no attribute `max`.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    for count, name in zip(volumes, names, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / name / f"file1{number:06d}.h5"
            write_volume(path, random, slices + (number == 2), rows, columns[number % len(columns)], size)
            if number == 3:
                with h5py.File(path, "r+") as file:
                    del file.attrs["max"]
    return folder


def write_volume(path: Path, random: np.random.Generator, slices: int, rows: int, columns: int, size: int) -> None:
    """Write a volume of smooth random images as the scanners' files have it; magnitudes are about 1e-4."""
    images = random.standard_normal((slices, rows, columns)) + 1j * random.standard_normal((slices, rows, columns))
    kspace = np.fft.fftshift(np.fft.fft2(images, norm="ortho"), axes=(1, 2))
    distance = np.abs(np.arange(rows) - rows // 2)[:, None] + np.abs(np.arange(columns) - columns // 2)
    kspace = (1e-3 * kspace / (1 + distance)).astype(np.complex64)
    clean = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(1, 2)), norm="ortho"), axes=(1, 2)))
    top, left = (rows - size) // 2, (columns - size) // 2
    references = clean[:, top : top + size, left : left + size].astype(np.float32)
    write(path, kspace, references, float(references.max()))


def write(path: Path, kspace: np.ndarray, references: np.ndarray, maximum: float) -> None:
    """Write a volume."""
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["reconstruction_esc"] = references
        file.attrs["max"] = maximum
        file.attrs["acquisition"] = "CORPD_FBK"
