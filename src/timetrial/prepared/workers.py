"""Parts made and checked by processes beside one another, each part whole or not there.

A part is made in a folder beside its own and renamed when it is on the disk, so that a process may be killed at any
moment.
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

from timetrial.errors import FileError, UserError
from timetrial.prepared.folder import PART, Sources, StoredFile, StoredPart, broken_files, sha256_of
from timetrial.prepared.raw import NO_ROOM
from timetrial.prepared.recipe import Part
from timetrial.records.files import flush_folder, write_json

_T = TypeVar("_T")

_POLL = 0.5
"""Seconds between two looks at how much has been written."""

_BLOCK = 1 << 20
"""Bytes of a raw file that are hashed at a time."""


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


class Workers:
    """Processes that check and make parts, and stop at the first error."""

    def __init__(self, jobs: int) -> None:
        self._pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
        self._hashed: dict[Path, _Hashed] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            for process in processes:
                process.terminate()  # what they were at is half done, and is made anew
            for process in processes:
                process.join()

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
        raise write_error(partial, error) from error
    return stored


def _flushed(path: Path) -> StoredFile:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path))


def write_error(path: Path, error: OSError) -> UserError:
    """Return what to say where a prepared file cannot be written."""
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
