"""Raw click logs in Criteo's own form, small or of any size, for tests and benchmarks."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

DENSE, CATEGORICAL = 13, 26


def lines(count: int, seed: int, *, missing: float = 0.15) -> list[str]:
    """Return so many lines: log-normal counts, a few of them negative, 32-bit categories, some fields missing."""
    random = np.random.Generator(np.random.PCG64(seed))
    labels = random.random(count) < 0.25
    counts = np.minimum(random.lognormal(2, 2.5, (count, DENSE)), 1e9).astype(np.int64) - 2
    no_count = random.random((count, DENSE)) < missing
    categories = random.zipf(1.3, (count, CATEGORICAL)) % (1 << 32) * 2_654_435_761 % (1 << 32)
    no_category = random.random((count, CATEGORICAL)) < missing / 2
    rows = zip(
        labels.tolist(), counts.tolist(), no_count.tolist(), categories.tolist(), no_category.tolist(), strict=True
    )
    return [
        "\t".join(
            [
                str(int(label)),
                *("" if gone else str(value) for value, gone in zip(values, no_values, strict=True)),
                *("" if gone else f"{text:08x}" for text, gone in zip(texts, no_texts, strict=True)),
            ]
        )
        + "\n"
        for label, values, no_values, texts, no_texts in rows
    ]


def make(
    folder: Path,
    *,
    train: Sequence[int] = (200, 130),
    last: int = 330,
    form: str = "gz",
    block_lines: int = 64,
    seed: int = 0,
) -> dict[int, list[str]]:
    """Write days 0, 1, ... of so many lines and day 23 of `last`; return the lines by day.

    `form` is how Criteo's days lie there: `gz`, `plain`, or `cut` in files of `block_lines` lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    days = {day: lines(count, 100 * seed + day) for day, count in [*enumerate(train), (23, last)]}
    for day, text in days.items():
        if form == "gz":
            write_gz(folder / f"day_{day}.gz", text)
        elif form == "plain":
            (folder / f"day_{day}").write_text("".join(text))
        else:
            for number, start in enumerate(range(0, len(text), block_lines)):
                (folder / f"day_{day}_{number:02}").write_text("".join(text[start : start + block_lines]))
    return days


def write_gz(path: Path, text: Sequence[str]) -> None:
    """Write lines to a gzip file, the same bytes whenever it is called."""
    path.write_bytes(gzip.compress("".join(text).encode(), compresslevel=1, mtime=0))
