"""Preparing a dataset: parts made side by side, each whole or not there, what is good already left as it is.

A part is made in a folder beside its own and renamed when it is on the disk, so that a process may be killed at any
moment: the next one finds whole parts, whose bytes it reads and compares with their hashes, and makes the others.
What a part holds depends on its raw files alone. The manifest is written last.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from timetrial import __version__
from timetrial.errors import FileError, UserError
from timetrial.prepared.folder import (
    FORMAT,
    MANIFEST,
    PART,
    Manifest,
    Sources,
    StoredFile,
    StoredPart,
    broken_files,
    identity,
    read_manifest,
    read_part,
    recipe_identity,
    sha256_of,
)
from timetrial.prepared.raw import NO_ROOM
from timetrial.prepared.recipe import Part, Recipe
from timetrial.records.files import flush_folder, write_json
from timetrial.records.lock import exclusive

_T = TypeVar("_T")

_POLL = 0.5
"""Seconds between two looks at how much has been written."""

_BLOCK = 1 << 20
"""Bytes of a raw file that are hashed at a time."""

_ROOM = 1.05
"""Free space asked for, over what is still to be written as far as that can be told."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a stage is."""

    stage: int
    stages: int
    parts: int
    parts_done: int
    bytes_written: int
    bytes_expected: int


OnProgress = Callable[[Progress], None]


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
            return _prepare(recipe, raw, folder, jobs, on_progress)
    except OSError as error:
        raise _write_error(folder, error) from error


def _check_identity(recipe: Recipe, folder: Path) -> None:
    found = read_manifest(folder)
    if found is not None and identity(found) != recipe_identity(recipe):
        raise UserError(
            f"{folder}: holds {identity(found)}, not {recipe_identity(recipe)}; "
            "prepare into another folder, or remove this one first"
        )


def _prepare(recipe: Recipe, raw: Path, folder: Path, jobs: int, on_progress: OnProgress) -> tuple[Manifest, int]:
    with _Workers(jobs) as workers:
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
    """Remove what is not of the dataset: temporary parts, and what a killed process left."""
    kept = {part.name for part in manifest.parts}
    for path in (folder / "parts").iterdir():
        if path.name not in kept:
            shutil.rmtree(path)
    shutil.rmtree(folder / "partial", ignore_errors=True)


def verify(folder: Path, *, jobs: int) -> list[str]:
    """Read all files of a prepared dataset; return what is wrong with them. Raises UserError where there is none."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder}: no prepared dataset here; `timetrial data prepare` makes one")
    with _Workers(jobs) as workers:
        return [problem for problems in workers.broken(folder, manifest.parts) for problem in problems]


def _key(recipe: Recipe, part: Part, stored: dict[str, StoredPart]) -> str:
    before = "".join(f", {name} {stored[name].sha256}" for name in part.after)
    return hashlib.sha256(f"format {FORMAT}, {recipe_identity(recipe)}, {part.name}{before}".encode()).hexdigest()


def _divide(
    workers: _Workers, folder: Path, parts: Sequence[Part], keys: dict[str, str]
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


class _Workers:
    """Processes that check and make parts, and stop at the first error."""

    def __init__(self, jobs: int) -> None:
        self._pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
        self._hashed: dict[Path, _Hashed] = {}

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()  # what they were at is half done, and is made anew

    def each(self, function: Callable[..., _T], calls: Iterable[tuple[object, ...]]) -> list[_T]:
        """Call the function with each of the arguments; return what it returned, in order."""
        return [_result(future) for future in [self._pool.submit(_call, function, *call) for call in calls]]

    def broken(self, folder: Path, parts: Iterable[StoredPart]) -> list[list[str]]:
        """Return what is wrong with each part's files."""
        return self.each(broken_files, [(folder / "parts" / part.name, part) for part in parts])

    def make(
        self,
        folder: Path,
        raw: Path,
        parts: Sequence[Part],
        keys: dict[str, str],
        count: tuple[int, int, int, int],
        on_progress: OnProgress,
    ) -> dict[str, StoredPart]:
        """Make parts; `count` is the stage's number, how many there are, its parts, and how many of them are good."""
        self._hash_shared(parts)
        futures = {
            self._pool.submit(_call, _make, folder, raw, part, keys[part.name], self._known(part)): part
            for part in parts
        }
        stage, stages, total, good = count
        stored: dict[str, StoredPart] = {}
        waiting = set(futures)
        while True:
            done, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
            for future in done:
                stored[futures[future].name] = _result(future)
            written = sum(file.bytes for part in stored.values() for file in part.files.values())
            on_progress(
                Progress(
                    stage=stage,
                    stages=stages,
                    parts=total,
                    parts_done=good + len(stored),
                    bytes_written=written + _bytes_below(folder / "partial"),
                    bytes_expected=sum(part.expected_bytes for part in parts),
                )
            )
            if not waiting:
                return stored

    def _hash_shared(self, parts: Sequence[Part]) -> None:
        """Hash raw files that several parts are made from, each once."""
        checksums: dict[Path, str | None] = {}
        again: dict[Path, str | None] = {}
        for part in parts:
            for path in part.sources:
                (again if path in checksums else checksums)[path] = part.published.get(path.name)
        new = [(path, checksum) for path, checksum in again.items() if path not in self._hashed]
        self._hashed |= dict(zip([path for path, _ in new], self.each(_hash_raw, new), strict=True))

    def _known(self, part: Part) -> dict[Path, _Hashed]:
        return {path: self._hashed[path] for path in part.sources if path in self._hashed}


def _bytes_below(folder: Path) -> int:
    """Sum the sizes of files that come and go."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _result(future: Future[_T | _Mistake]) -> _T:
    try:
        result = future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process that prepared a part was killed, maybe for want of memory; run the same command again to go on, "
            "with fewer --jobs"
        ) from error
    if isinstance(result, _Mistake):
        raise UserError(result.text)
    return result


@dataclass(frozen=True)
class _Mistake:
    """A UserError on its way between processes: not all of its kinds can be pickled."""

    text: str


def _call(function: Callable[..., _T], *arguments: object) -> _T | _Mistake:
    try:
        return function(*arguments)
    except UserError as error:
        return _Mistake(str(error))


def _make(folder: Path, raw: Path, part: Part, key: str, known: Mapping[Path, _Hashed]) -> StoredPart:
    """Make a part and move it to its place; `known` are raw files that have been hashed already."""
    sources = _sources(part, raw, known)
    partial = folder / "partial" / part.name
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        examples = part.make(partial)
        files = {path.name: _flushed(path) for path in sorted(partial.iterdir())}
        stored = StoredPart(name=part.name, split=part.split, examples=examples, files=files, sources=sources, key=key)
        write_json(partial / PART, asdict(stored))
        final = folder / "parts" / part.name
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
        flush_folder(final.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _write_error(partial, error) from error
    return stored


def _flushed(path: Path) -> StoredFile:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path))


def _write_error(path: Path, error: OSError) -> UserError:
    if error.errno in NO_ROOM:
        problem = "the disk is full; what is finished stays: make room and run the same command again"
    else:
        problem = f"cannot be written ({error.strerror or error}); what is finished stays"
    return FileError(error.filename or path, problem)


@dataclass(frozen=True)
class _Hashed:
    """What a raw file was found to be."""

    sha256: str
    bytes: int


def _sources(part: Part, raw: Path, known: Mapping[Path, _Hashed]) -> Sources:
    """Hash those of a part's raw files that are not known, and return what it was made from. Raises FileError."""
    found = {path: known.get(path) or _hash_raw(path, part.published.get(path.name)) for path in part.sources}
    listing = "".join(f"{path.relative_to(raw).as_posix()} {file.sha256}\n" for path, file in found.items())
    return Sources(
        files=len(part.sources),
        bytes=sum(file.bytes for file in found.values()),
        sha256=hashlib.sha256(listing.encode()).hexdigest(),
    )


def _hash_raw(path: Path, checksum: str | None) -> _Hashed:
    """Read a raw file once, and compare it with its published checksum, if there is one. Raises FileError."""
    algorithm, _, published = (checksum or "sha256:").partition(":")
    digests = {name: hashlib.new(name) for name in {"sha256", algorithm}}
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                for digest in digests.values():
                    digest.update(block)
            size = file.tell()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    if published and published != digests[algorithm].hexdigest():
        raise FileError(path, f"its {algorithm} is not the published {published}; download it again")
    return _Hashed(digests["sha256"].hexdigest(), size)
