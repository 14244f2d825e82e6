"""Datasets that are generated rather than downloaded: made once, kept in a cache folder, checked at every use.

A generator draws on numpy's PCG64 alone, computes in double precision and stores small integers, so that the last
digits in which processors and mathematical libraries differ are rounded away and its bytes are the same everywhere.
That they are is checked against the hash that stands beside the generator.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timetrial.errors import UserError
from timetrial.records.files import flush_folder
from timetrial.workloads.base import HostBatch


def cache_folder() -> Path:
    """Return where generated datasets are kept: `TIMETRIAL_CACHE`, else `timetrial` in the user's cache folder."""
    if folder := os.environ.get("TIMETRIAL_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timetrial"


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A dataset that `generate` makes; its name, with the hash, names its folder in the cache."""

    name: str
    sha256: str
    """Of the arrays, their names, dtypes and shapes; see `fingerprint`."""
    generate: Callable[[], HostBatch]

    @property
    def folder(self) -> Path:
        """Where the arrays are kept, one `.npy` file each; another hash is another folder."""
        return cache_folder() / f"{self.name}-{self.sha256[:12]}"

    def is_cached(self) -> bool:
        """Whether there are files, good or broken."""
        return self.folder.is_dir()

    def arrays(self) -> HostBatch:
        """Return the arrays, mapped from the cache; what is missing or broken there is generated anew.

        Of several processes one generates and the others wait. Every byte is read and compared with the hash, some
        tenth of a second for 100 MB. Raises UserError: the cache cannot be written, or the generator made
        something else than it did where its hash was taken.
        """
        try:
            arrays = self._read()
            if arrays is None:
                with _exclusive(self.folder.with_suffix(".lock")):
                    arrays = self._read() or self._generate()
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot keep the generated dataset {self.name} ({error.strerror or error}); "
                "make room, or name another folder in the environment variable TIMETRIAL_CACHE"
            ) from error
        return arrays

    def _read(self) -> HostBatch | None:
        """Return what the cache holds, None where that is nothing or no good."""
        try:
            arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in self.folder.glob("*.npy")}
        except (ValueError, EOFError):
            return None
        return arrays if fingerprint(arrays) == self.sha256 else None

    def _generate(self) -> HostBatch:
        """Generate into a folder beside the final one and rename it: half a dataset is never taken for one."""
        made = self.generate()
        found = fingerprint(made)
        if found != self.sha256:
            raise UserError(
                f"{self.name}: the generator made data with the hash {found} instead of {self.sha256}; "
                f"numpy {np.__version__} on this machine computes differently from where the hash was taken: "
                "please report it, results would not be comparable"
            )
        for left_over in self.folder.parent.glob(f"{self.folder.name}.partial-*"):
            shutil.rmtree(left_over)  # by a process that was killed: the lock is ours
        partial = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f"{self.folder.name}.partial-"))
        try:
            for name, array in made.items():
                with (partial / f"{name}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    file.flush()
                    os.fsync(file.fileno())
            shutil.rmtree(self.folder, ignore_errors=True)
            partial.replace(self.folder)
            flush_folder(self.folder.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        arrays = self._read()
        assert arrays is not None, f"{self.folder} was just written"
        return arrays


def fingerprint(arrays: HostBatch) -> str:
    """Return the SHA-256 of the arrays with their names, dtypes and shapes, in the order of the names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.newbyteorder('<').str} {array.shape}\n".encode())
        little_endian = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        digest.update(np.ascontiguousarray(little_endian).data)
    return digest.hexdigest()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock file, and hold it while the block runs; the kernel lets go of it when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
