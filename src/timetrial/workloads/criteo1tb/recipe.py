"""How Criteo's click logs are prepared: lines parsed once, a part a day, the last day cut in two.

The reference cuts every day into files of 5,000,000 lines and shuffles those; here a day is one part, and where its
blocks begin follows from their length. Of the last day's b blocks the first b // 2 + 1 are the test split, the others
the validation split (spec: workloads/criteo1tb.md, 1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from timetrial.errors import FileError
from timetrial.prepared.folder import load_array
from timetrial.prepared.lines import read_lines
from timetrial.prepared.recipe import Distribution, Part, Recipe, Settings, Stage
from timetrial.workloads.base import HostBatch
from timetrial.workloads.criteo1tb.data import StoredFields, slice_of
from timetrial.workloads.criteo1tb.logs import parse_log

TRAIN_DAYS = range(23)
LAST_DAY = 23
_LAST = "day-23"
"""Name of the part that holds the last day until it is cut."""

_TRAIN, _VALIDATION, _TEST = 4_195_197_692, 83_274_637, 95_000_000

_LINE_BYTES, _PACKED_LINE_BYTES, _EXAMPLE_BYTES = 250, 82, 113
"""About, of a line as text and packed; of an example at full size. 360 GB and 1.1 TB hold 4.37 billion lines."""

_COPIED = 1 << 16
"""Examples copied at a time."""


@dataclass(frozen=True, kw_only=True)
class CriteoRecipe(Recipe):
    """Click logs, hashed into buckets."""

    dataset = "criteo1tb"
    version = 1
    distribution = Distribution(
        title="Criteo 1TB click logs",
        files="day_0.gz ... day_23.gz, or unpacked day_0 ... day_23, or each day cut into day_0_00, day_0_01, ...",
        source="https://huggingface.co/datasets/criteo/CriteoClickLogs, linked from ailab.criteo.com",
        licence="CC BY-NC-SA 4.0",
        raw_bytes=360_000_000_000,
        prepared_bytes=_EXAMPLE_BYTES * (_TRAIN + _VALIDATION + _TEST),
    )
    published_examples = {"train": _TRAIN, "validation": _VALIDATION, "test": _TEST}

    field_sizes: tuple[int, ...]
    """Number of buckets of each categorical field."""
    block_lines: int
    """Lines that stay together when an epoch is shuffled: the reference's files."""

    @property
    def settings(self) -> Settings:
        """The length of a block and a digest of the fields' sizes."""
        sizes = ",".join(map(str, self.field_sizes))
        return {"block_lines": self.block_lines, "field_sizes": hashlib.sha256(sizes.encode()).hexdigest()[:16]}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return two stages: parse all days, cut the last. Raises UserError where a day's files are missing."""
        days = {day: files for day in (*TRAIN_DAYS, LAST_DAY) if (files := day_files(raw, day))}
        first = next((day for day in TRAIN_DAYS if day in days), TRAIN_DAYS[0])
        for day in (*(TRAIN_DAYS if self.published else (first,)), LAST_DAY):
            if day not in days:
                raise FileError(raw / f"day_{day}.gz", f"no such file; expected {self.distribution.files}")
        train = [self._day(f"train-{day:02}", "train", days[day]) for day in TRAIN_DAYS if day in days]
        last = self._day(_LAST, None, days[LAST_DAY])
        return [lambda: [*train, last], lambda: self._cut(parts / _LAST, days[LAST_DAY][0])]

    def sizes(self, raw: Path, parts: Path) -> tuple[int, int]:
        """Return what is read and written: packed or not, a line becomes as large an example; see `Recipe`."""
        days = self.stages(raw, parts)[0]()
        read, _ = self.proportional(path for day in days for path in day.sources)
        return read, sum(day.expected_bytes for day in days)

    def _day(self, name: str, split: str | None, files: tuple[Path, ...]) -> Part:
        size = sum(path.stat().st_size for path in files)
        line_bytes = _PACKED_LINE_BYTES if files[0].suffix == ".gz" else _LINE_BYTES
        return Part(
            name=name,
            split=split,
            sources=files,
            make=partial(parse_day, files, self.field_sizes, self.block_lines if self.published else None),
            expected_bytes=size * _EXAMPLE_BYTES // line_bytes,
            temporary=split is None,
        )

    def _cut(self, day: Path, source: Path) -> list[Part]:
        examples = len(load_array(day / "labels.npy"))
        blocks = -(-examples // self.block_lines)
        if blocks < 3:
            raise FileError(
                source,
                f"expected more than {2 * self.block_lines} lines in day {LAST_DAY}, found {examples}: of its blocks "
                f"of {self.block_lines} lines half and one more are the test split, the others the validation split",
            )
        middle = (blocks // 2 + 1) * self.block_lines
        return [
            Part(
                name=split,
                split=split,
                make=partial(copy_examples, day, self.field_sizes, start, stop),
                expected_bytes=(stop - start) * _EXAMPLE_BYTES,
                after=(_LAST,),
            )
            for split, start, stop in (("test", 0, middle), ("validation", middle, examples))
        ]


def day_files(raw: Path, day: int) -> tuple[Path, ...]:
    """Return the files of a day in order, none where there are none. Raises FileError for two forms of it, or a gap."""
    plain, packed = raw / f"day_{day}", raw / f"day_{day}.gz"
    pieces = {
        int(match[1]): path for path in raw.glob(f"day_{day}_*") if (match := re.fullmatch(r"day_\d+_(\d+)", path.name))
    }
    forms: list[tuple[Path, ...]] = [(path,) for path in (plain, packed) if path.exists()]
    if pieces:
        forms.append(tuple(pieces[number] for number in sorted(pieces)))
        for number in range(len(pieces)):
            if number not in pieces:
                raise FileError(raw / f"day_{day}_{number:02}", f"no such file, though {forms[-1][-1].name} is there")
    if len(forms) > 1:
        raise FileError(forms[1][0], f"day {day} is also there as {forms[0][0].name}; expected one of them")
    return forms[0] if forms else ()


def parse_day(files: Sequence[Path], field_sizes: Sequence[int], block_lines: int | None, folder: Path) -> int:
    """Write a day's examples; where it comes in several files, all but the last must have `block_lines` if given."""
    stored = StoredFields(field_sizes)

    def pieces() -> Iterator[HostBatch]:
        for path in files:
            examples = 0
            for lines in read_lines(path):
                packed = stored.pack(parse_log(lines, field_sizes))
                examples += len(packed["labels"])
                yield packed
            if not examples:
                raise FileError(path, "holds no lines; expected a day's clicks")
            if block_lines is not None and path != files[-1] and examples != block_lines:
                raise FileError(path, f"expected {block_lines} lines, found {examples}: only a day's last is shorter")

    return stored.write(folder, pieces())


def copy_examples(day: Path, field_sizes: Sequence[int], start: int, stop: int, folder: Path) -> int:
    """Write the examples of a part from number `start` to before number `stop`."""
    rows = {path.stem: load_array(path) for path in sorted(day.glob("*.npy"))}
    pieces = (slice_of(rows, first, min(first + _COPIED, stop)) for first in range(start, stop, _COPIED))
    return StoredFields(field_sizes).write(folder, pieces)
