"""Preparing a dataset: what is good already is left as it is, the other parts are made, the manifest is written last.

A process may be killed at any moment: the next one finds whole parts, whose bytes it reads and compares with their
hashes, and has the others made (`workers`). What a part holds depends on its raw files alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from timetrial import __version__
from timetrial.errors import FileError, UserError
from timetrial.prepared.folder import (
    FORMAT,
    MANIFEST,
    PART,
    Manifest,
    StoredPart,
    broken_files,
    identity,
    read_manifest,
    read_part,
    recipe_identity,
)
from timetrial.prepared.recipe import Part, Recipe
from timetrial.prepared.workers import OnProgress, Workers, write_error
from timetrial.records.files import write_json
from timetrial.records.lock import exclusive

_ROOM = 1.05
"""Free space asked for, over what is still to be written as far as that can be told."""


def prepare(
    recipe: Recipe, raw: Path, data: Path, *, jobs: int, on_progress: OnProgress = lambda _: None
) -> tuple[Manifest, int]:
    """Prepare a dataset from the raw folder into `data`/<dataset>, with `jobs` processes; go on with one half done.

    Returns its manifest and how many parts were made; the others were good. Raises UserError: a raw file is missing
    or no good, the disk is full, the folder holds something else or another process is at work there. What is
    finished by then stays.
    """
    folder = data / recipe.dataset
    _check_identity(recipe, folder)
    try:
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        with exclusive(folder / "lock"):
            try:
                return _prepare(recipe, raw, folder, jobs, on_progress)
            finally:
                shutil.rmtree(folder / "partial", ignore_errors=True)
    except OSError as error:
        raise write_error(folder, error) from error


def _check_identity(recipe: Recipe, folder: Path) -> None:
    found = read_manifest(folder)
    if found is not None and identity(found) != recipe_identity(recipe):
        raise UserError(
            f"{folder}: holds {identity(found)}, not {recipe_identity(recipe)}; "
            "prepare into another folder, or remove this one first"
        )


def _prepare(recipe: Recipe, raw: Path, folder: Path, jobs: int, on_progress: OnProgress) -> tuple[Manifest, int]:
    with Workers(jobs) as workers:
        manifest = read_manifest(folder)
        if manifest is not None:
            if not any(workers.broken(folder, manifest.parts)):
                _tidy(folder, manifest)
                return manifest, 0
            (folder / MANIFEST).unlink()
        shutil.rmtree(folder / "partial", ignore_errors=True)
        stages = recipe.stages(raw, folder / "parts")
        stored: dict[str, StoredPart] = {}
        kept: list[str] = []
        made = 0
        for number, stage in enumerate(stages, start=1):
            parts = stage()
            keys = {part.name: _key(recipe, part, stored) for part in parts}
            good, todo = _divide(workers, folder, parts, keys)
            _check_room(folder, todo)
            count = (number, len(stages), len(parts), len(good))
            new = workers.make(folder, raw, todo, keys, count, on_progress)
            stored |= good | new
            made += len(new)
            kept += [part.name for part in parts if not part.temporary]
        manifest = _manifest(recipe, [stored[name] for name in sorted(kept)])
        _check_examples(recipe, folder, manifest)
        write_json(folder / MANIFEST, asdict(manifest))
    _tidy(folder, manifest)
    return manifest, made


def _tidy(folder: Path, manifest: Manifest) -> None:
    """Remove parts that are not of the dataset: temporary ones, and those of other settings."""
    kept = {part.name for part in manifest.parts}
    for path in (folder / "parts").iterdir():
        if path.name not in kept:
            shutil.rmtree(path)


def verify(folder: Path, *, jobs: int) -> list[str]:
    """Read all files of a prepared dataset; return what is wrong with them. Raises UserError where there is none."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder}: no prepared dataset here; `timetrial data prepare` makes one")
    with Workers(jobs) as workers:
        return [problem for problems in workers.broken(folder, manifest.parts) for problem in problems]


def _key(recipe: Recipe, part: Part, stored: dict[str, StoredPart]) -> str:
    before = "".join(f", {name} {stored[name].sha256}" for name in part.after)
    return hashlib.sha256(f"format {FORMAT}, {recipe_identity(recipe)}, {part.name}{before}".encode()).hexdigest()


def _divide(
    workers: Workers, folder: Path, parts: Sequence[Part], keys: dict[str, str]
) -> tuple[dict[str, StoredPart], list[Part]]:
    """Return the parts that are good as they lie there, by name, and those to make."""
    found = {}
    for part in parts:
        stored = read_part(folder / "parts" / part.name)
        if stored is not None and stored.key == keys[part.name]:
            found[part.name] = (part, stored)
    checks = workers.each(_is_good, [(folder / "parts" / name, part, stored) for name, (part, stored) in found.items()])
    good = {name: stored for (name, (_, stored)), is_good in zip(found.items(), checks, strict=True) if is_good}
    return good, [part for part in parts if part.name not in good]


def _is_good(folder: Path, part: Part, stored: StoredPart) -> bool:
    """Tell whether a part is as it was made, and its raw files are as many, as large and no newer."""
    try:
        found = [path.stat() for path in part.sources]
    except OSError as error:
        raise FileError(error.filename, f"cannot be read ({error.strerror})") from error
    made = (folder / PART).stat().st_mtime_ns
    unchanged = (
        len(found) == stored.sources.files
        and sum(each.st_size for each in found) == stored.sources.bytes
        and all(each.st_mtime_ns <= made for each in found)
    )
    return unchanged and not broken_files(folder, stored)


def _check_room(folder: Path, todo: Iterable[Part]) -> None:
    needed = int(_ROOM * sum(part.expected_bytes for part in todo))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder}: about {size_text(needed)} are still to be written and {size_text(free)} are free")


def size_text(size: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _manifest(recipe: Recipe, parts: Sequence[StoredPart]) -> Manifest:
    splits = sorted({part.split for part in parts if part.split is not None})
    of_split = {split: [part for part in parts if part.split == split] for split in splits}
    return Manifest(
        format=FORMAT,
        dataset=recipe.dataset,
        version=recipe.version,
        settings=dict(recipe.settings),
        tool=f"timetrial {__version__}",
        examples={split: sum(part.examples for part in found) for split, found in of_split.items()},
        split_sha256={
            split: hashlib.sha256("".join(part.sha256 for part in found).encode()).hexdigest()
            for split, found in of_split.items()
        },
        parts=tuple(parts),
    )


def _check_examples(recipe: Recipe, folder: Path, manifest: Manifest) -> None:
    for split, expected in recipe.expected_examples.items():
        found = manifest.examples.get(split, 0)
        if found != expected:
            raise UserError(
                f"{folder}: expected {expected} {split} examples, found {found}; the benchmark fixes its splits, "
                "so that raw files must be missing or others' (docs/data.md says what belongs here)"
            )
