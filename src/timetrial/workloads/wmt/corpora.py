"""Where the raw sentence pairs of WMT lie, and how they are read: plain text, SGM or Parquet, a batch at a time.

Source: the archives of https://www.statmt.org/wmt17/translation-task.html and wmt14, and the Hugging Face datasets
`wmt/wmt17` and `wmt/wmt14`, which hold the same pairs. As in the published benchmark's dataset, a pair one of whose
sides is empty is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeAlias

from timetrial.errors import FileError
from timetrial.prepared import parquet
from timetrial.prepared.raw import reading
from timetrial.workloads.base import Split

LANGUAGES = ("de", "en")
"""Of the sources and of the targets."""
EXTRA = "translation"

Batch: TypeAlias = tuple[list[bytes], list[bytes]]
"""As many lines of German as of English, UTF-8."""

_CORPORA = ("europarl-v7", "commoncrawl", "news-commentary-v12", "rapid2016")
"""Of the training split, in the order in which its public readers list them."""
_TEXTS: dict[Split, tuple[tuple[tuple[str, str], ...], ...]] = {
    "train": (
        tuple((f"{corpus}.de-en.de", f"{corpus}.de-en.en") for corpus in _CORPORA),
        (("train.de", "train.en"),),
    ),
    "validation": (
        (("newstest2013-src.de.sgm", "newstest2013-ref.en.sgm"),),
        (("newstest2013.de", "newstest2013.en"),),
        (("validation.de", "validation.en"),),
    ),
    "test": (
        (("newstest2014-deen-src.de.sgm", "newstest2014-deen-ref.en.sgm"),),
        (("newstest2014.de", "newstest2014.en"),),
        (("test.de", "test.en"),),
    ),
}
"""By split, the layouts that are looked for in turn: the files of German and English lines."""
_FOLDERS = ("", "training", "dev", "test-full", "test")
"""Where the archives unpack to."""
_TABLES: dict[Split, tuple[str, ...]] = {
    "train": ("wmt17/de-en", "de-en", ""),
    "validation": ("wmt14/de-en", "de-en", ""),
    "test": ("wmt14/de-en", "de-en", ""),
}
"""By split, the folders that are looked in for `<split>-*-of-*.parquet`, where there are no such texts."""

_LINES = 20_000
"""Pairs of a batch: some megabytes."""

_SEGMENT = re.compile(rb'<seg id="(\d+)">(.*)</seg>')


@dataclass(frozen=True)
class RawPairs:
    """Raw files that belong together: German and English lines, or a table of both."""

    files: tuple[Path, ...]

    def batches(self) -> Iterator[Batch]:
        """Yield the pairs neither of whose sides is empty, in order, without white space at their ends.

        Raises FileError: a file is broken, not UTF-8, or the sides do not belong together.
        """
        first = self.files[0]
        if first.suffix == ".parquet":
            found = _table(first)
        elif first.suffix == ".sgm":
            found = _segments(*self.files)
        else:
            found = _lines(*self.files)
        for batch in found:
            yield _without_empty(batch)


def find(raw: Path, split: Split) -> list[RawPairs]:
    """Return the files of a split, in the order of its pairs. Raises FileError, naming the first that is missing."""
    for layout in _TEXTS[split]:
        found = [(_look_for(raw, source), _look_for(raw, target)) for source, target in layout]
        if not any(path.is_file() for files in found for path in files):
            continue
        for files in found:
            for path in files:
                if not path.is_file():
                    raise FileError(path, f"no such file, though others of the {split} split are there")
        return [RawPairs(files) for files in found]
    for folder in _TABLES[split]:
        if tables := parquet.shards(raw / folder, split):
            return [RawPairs((path,)) for path in tables]
    expected = f"{_TEXTS[split][0][0][0]} and so on, or {_TABLES[split][0]}/{split}-*-of-*.parquet"
    raise FileError(raw, f"no files of the {split} split; expected {expected} (docs/data.md says which)")


def _look_for(raw: Path, name: str) -> Path:
    """Return where a file lies; in the raw folder itself where it lies nowhere."""
    places = (raw / folder / name for folder in _FOLDERS)
    return next((path for path in places if path.is_file()), raw / name)


def _lines(source: Path, target: Path) -> Iterator[Batch]:
    """Read two files of lines that end with a newline, and with nothing else that Unicode has for it."""
    batch: Batch = ([], [])
    counts = [0, 0]
    with reading(source), source.open("rb") as sources, target.open("rb") as targets:
        for pair in zip_longest(sources, targets):
            for side, line in enumerate(pair):
                if line is not None:
                    counts[side] += 1
                    batch[side].append(line)
            if None in pair:
                batch = ([], [])  # the rest is only counted
            elif len(batch[0]) == _LINES:
                yield _checked(batch, (source, target), counts[0])
                batch = ([], [])
    if counts[0] != counts[1]:
        raise FileError(
            source, f"has {counts[0]} lines and {target} has {counts[1]}; they must be as many: download both again"
        )
    yield _checked(batch, (source, target), counts[0])


def _segments(source: Path, target: Path) -> Iterator[Batch]:
    """Read two SGM files, a segment a line; they are no XML that a parser takes, but small."""
    ids: list[list[bytes]] = []
    batch: Batch = ([], [])
    for path, lines in zip((source, target), batch, strict=True):
        with reading(path):
            content = path.read_bytes()
        found = _SEGMENT.findall(content)
        if not found or len(found) != content.count(b"<seg "):
            raise FileError(path, f'expected lines <seg id="1">text</seg>, found {len(found)} that are whole')
        ids.append([number for number, _ in found])
        lines.extend(text for _, text in found)
    if ids[0] != ids[1]:
        raise FileError(
            source, f"has {len(ids[0])} segments and {target} has {len(ids[1])}, or their numbers differ; "
            "they must be the same: download both again"
        )  # fmt: skip
    sources, targets = _checked(batch, (source, target), len(batch[0]))
    yield sources, targets  # entities stay as they are, in TensorFlow Datasets and at Hugging Face too


def _table(path: Path) -> Iterator[Batch]:
    """Read a Parquet file with a column `translation` of both languages."""
    for rows in parquet.batches(path, "translation", EXTRA, _LINES):
        try:
            with reading(path, UnicodeDecodeError):
                sides = [rows.field(language).to_pylist() for language in LANGUAGES]
            sources, targets = ([(text or "").encode() for text in side] for side in sides)
        except (KeyError, AttributeError) as error:
            raise FileError(path, f"expected a column translation of texts de and en, found {rows.type}") from error
        yield sources, targets


def _checked(batch: Batch, paths: tuple[Path, Path], stop: int) -> Batch:
    """Return lines that end before line `stop`; raises FileError where one is not UTF-8."""
    for path, lines in zip(paths, batch, strict=True):
        try:
            b"".join(lines).decode()
        except UnicodeDecodeError as error:
            start = stop - len(lines) + 1
            number = next(number for number, line in enumerate(lines, start) if not _is_text(line))
            raise FileError(path, f"line {number} is not UTF-8 ({error.reason}); download it again") from error
    return batch


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_empty(batch: Batch) -> Batch:
    stripped = zip(*([line.strip() for line in lines] for lines in batch), strict=True)
    kept = [pair for pair in stripped if all(pair)]
    return [source for source, _ in kept], [target for _, target in kept]
