"""Prepared datasets on disk: where they lie, what their manifests say, and how they are opened and checked.

DATA/<dataset>/
    manifest.json       written last: without it, nothing here is a dataset
    parts/<part>/       a part's files, and `part.json`, which tells what they must be
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from timetrial.errors import FileError, UserError
from timetrial.prepared.chunks import Chunked
from timetrial.prepared.recipe import Recipe

_T = TypeVar("_T")

FORMAT = 1
"""Of manifests and part files."""

MANIFEST = "manifest.json"
PART = "part.json"


def data_folder() -> Path:
    """Return where prepared datasets lie: `TIMETRIAL_DATA`, else `timetrial` in the user's data folder."""
    if folder := os.environ.get("TIMETRIAL_DATA"):
        return Path(folder)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "timetrial"


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StoredFile:
    """A file of a part."""

    bytes: int
    sha256: str


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Sources:
    """The raw files that a part was made from."""

    files: int
    bytes: int
    sha256: str
    """Of all of them, in order, with their names."""


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StoredPart:
    """A part as it lies in its folder."""

    name: str
    split: str | None
    examples: int
    files: Mapping[str, StoredFile]
    sources: Sources
    key: str
    """What it was made by: recipe, version, settings, the parts before it. Another key, and it is made anew."""

    @property
    def sha256(self) -> str:
        """Of the names and hashes of its files."""
        listing = "".join(f"{name} {file.sha256}\n" for name, file in sorted(self.files.items()))
        return hashlib.sha256(listing.encode()).hexdigest()


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Manifest:
    """What a prepared dataset is."""

    format: int
    dataset: str
    version: int
    """Of the recipe."""
    settings: Mapping[str, int | str]
    tool: str
    examples: Mapping[str, int]
    """By split."""
    split_sha256: Mapping[str, str]
    """By split, of the hashes of its parts: two that are equal hold the same examples in the same order."""
    parts: tuple[StoredPart, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for part in self.parts for file in part.files.values())

    @property
    def sha256(self) -> str:
        """Identifies the dataset: of the hashes of all its parts."""
        return hashlib.sha256("".join(f"{part.name} {part.sha256}\n" for part in self.parts).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a dataset's folder, None where there is none; raises FileError for a broken one."""
    return _read(folder / MANIFEST, TypeAdapter(Manifest))


def read_part(folder: Path) -> StoredPart | None:
    """Return what a part's folder should hold; None where it tells nothing, or nothing that can be read."""
    try:
        return _read(folder / PART, TypeAdapter(StoredPart))
    except FileError:
        return None


def _read(path: Path, adapter: TypeAdapter[_T]) -> _T | None:
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise FileError.from_validation(path, error) from error
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class Prepared:
    """A dataset that is there, whole as far as names and sizes tell."""

    folder: Path
    manifest: Manifest

    def parts(self, split: str) -> list[Path]:
        """Return the folders of a split's parts, in order."""
        return [self.folder / "parts" / part.name for part in self.manifest.parts if part.split == split]

    def files(self, split: str, name: str) -> list[Path]:
        """Return the files of that name in a split's parts, in order."""
        return [part / name for part in self.parts(split)]

    def part(self, name: str) -> Path:
        """Return the folder of a part that belongs to no split, such as a tokenizer's."""
        return self.folder / "parts" / name

    def arrays(self, split: str) -> dict[str, Chunked]:
        """Return a split's arrays, mapped into memory: for each `.npy` file of its parts, all of that name in a row."""
        folders = self.parts(split)
        names = sorted(path.stem for path in folders[0].glob("*.npy")) if folders else []
        return {name: self.array(split, name) for name in names}

    def array(self, split: str, name: str) -> Chunked:
        """Return the arrays of that name of a split's parts in a row, mapped into memory."""
        return Chunked([load_array(path) for path in self.files(split, f"{name}.npy")])


def load_array(path: Path) -> np.ndarray:
    """Map an array into memory. Raises FileError."""
    try:
        # A plain array over the mapping: `take` of numpy's own class for it is slower.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise FileError(path, f"is no array ({error}); {REPAIR}") from error


REPAIR = "`timetrial data prepare` with the same options mends it"


def open_prepared(recipe: Recipe, data: Path | None = None) -> Prepared:
    """Open the dataset that `recipe` makes, in the folder `data` or else where `data_folder` says.

    Looks at the names and sizes of all files, not at their contents. Raises UserError, with the command that helps,
    where the dataset is not there, is not whole, or was prepared otherwise.
    """
    root = data_folder() if data is None else data
    folder = root / recipe.dataset
    command = f"timetrial data prepare {recipe.dataset} --from RAW --to {root}"
    manifest = read_manifest(folder)
    if manifest is None:
        state = "is half prepared" if (folder / "parts").is_dir() else "is not there"
        raise UserError(
            f"{folder}: the dataset {recipe.dataset} {state}; `{command}` prepares it (docs/data.md says what to "
            "download), and --data or TIMETRIAL_DATA names another folder"
        )
    if (found := identity(manifest)) != (wanted := recipe_identity(recipe)):
        raise UserError(f"{folder}: expected {wanted}, found {found}; `{command}` into another folder prepares it so")
    for part in manifest.parts:
        for name, file in part.files.items():
            path = folder / "parts" / part.name / name
            size = path.stat().st_size if path.is_file() else None
            if size != file.bytes:
                found_size = "no such file" if size is None else f"{size} bytes"
                raise UserError(f"{path}: expected {file.bytes} bytes, found {found_size}; {REPAIR}: {command}")
    return Prepared(folder, manifest)


def identity(manifest: Manifest) -> str:
    """Say what a manifest's dataset was made by."""
    return _identity(manifest.dataset, manifest.version, manifest.settings)


def recipe_identity(recipe: Recipe) -> str:
    """Say what a recipe makes."""
    return _identity(recipe.dataset, recipe.version, recipe.settings)


def _identity(dataset: str, version: int, settings: Mapping[str, int | str]) -> str:
    options = ", ".join(f"{name} {value}" for name, value in sorted(settings.items()))
    return f"{dataset} version {version}" + (f" with {options}" if options else "")


def broken_files(folder: Path, part: StoredPart) -> list[str]:
    """Read a part's files and say of each that is not what it must be what is wrong with it."""
    problems = []
    for name, file in part.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != file.bytes:
                problems.append(f"{path}: expected {file.bytes} bytes, found {size}")
            elif sha256_of(path) != file.sha256:
                problems.append(f"{path}: its contents changed (SHA-256 is not {file.sha256[:12]}...)")
        except FileNotFoundError:
            problems.append(f"{path}: missing")
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror})")
    return problems


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
