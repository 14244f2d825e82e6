"""Raw WMT as it is distributed, small: the archives' text and SGM files, or Hugging Face's Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import numpy as np

Form = Literal["text", "parquet"]
Pairs = list[tuple[str, str]]

CORPORA = ("europarl-v7", "commoncrawl", "news-commentary-v12", "rapid2016")
SPLITS = {"validation": "newstest2013", "test": "newstest2014-deen"}

_SYLLABLES = ("la", "mu", "ne", "si", "ro", "te", "ka", "no")
"""Few characters, so that a vocabulary of 64 pieces can be trained."""


def sentences(count: int, seed: int, words: tuple[int, int] = (1, 8)) -> Pairs:
    """Return pairs of sentences of between `words` words each."""
    random = np.random.default_rng(seed)
    return [(_sentence(random, words), _sentence(random, words)) for _ in range(count)]


def _sentence(random: np.random.Generator, words: tuple[int, int]) -> str:
    count = int(random.integers(words[0], words[1] + 1))
    syllables = ["".join(random.choice(_SYLLABLES, int(random.integers(1, 4)))) for _ in range(count)]
    return " ".join(syllables)


def make(
    folder: Path,
    *,
    train: int = 400,
    evaluation: int = 30,
    words: tuple[int, int] = (1, 8),
    form: Form = "text",
    seed: int = 0,
) -> dict[str, Pairs]:
    """Write `train` pairs, in four corpora or two shards, and `evaluation` of each of the others; return all pairs.

    Lines of four words make 75 bytes on either side, about what WMT's first sentences have.
    """
    pairs = {
        "train": sentences(train, seed, words),
        "validation": sentences(evaluation, seed + 1, words),
        "test": sentences(evaluation + 1, seed + 2, words),
    }
    for split, name in SPLITS.items():
        _, target = pairs[split][0]
        pairs[split][0] = ("la mu", f"{target} mu")
        if form == "text":
            write_segments(folder, split, name, pairs[split])
        else:
            write_tables(folder / "wmt14" / "de-en", split, [pairs[split]])
    if form == "parquet":
        write_tables(folder / "wmt17" / "de-en", "train", [pairs["train"][: train // 3], pairs["train"][train // 3 :]])
        return pairs
    for corpus, start in zip(CORPORA, range(0, train, -(-train // 4)), strict=True):
        place = folder if corpus in ("commoncrawl", "rapid2016") else folder / "training"
        write_lines(place, f"{corpus}.de-en", pairs["train"][start : start + -(-train // 4)])
    return pairs


def write_lines(folder: Path, name: str, pairs: Pairs) -> None:
    """Write two files of lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(("de", "en")):
        (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))


def write_segments(folder: Path, split: str, name: str, pairs: Pairs) -> None:
    """Write two SGM files, as the test sets of WMT are; documents of five segments."""
    place = folder / ("dev" if split == "validation" else "test-full")
    place.mkdir(parents=True, exist_ok=True)
    for side, (kind, language) in enumerate((("src", "de"), ("ref", "en"))):
        lines = [f'<{kind}set setid="{name}" srclang="any">']
        for start in range(0, len(pairs), 5):
            lines += [f'<doc docid="paper/{start}" origlang="de">', "<p>"]
            lines += [
                f'<seg id="{number}">{escape(pair[side])}</seg>'
                for number, pair in enumerate(pairs[start : start + 5], start=1)
            ]
            lines += ["</p>", "</doc>"]
        (place / f"{name}-{kind}.{language}.sgm").write_text("\n".join([*lines, f"</{kind}set>", ""]))


def write_tables(folder: Path, split: str, shards: Sequence[Pairs]) -> None:
    """Write Parquet files with a column `translation` of structures de, en."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for number, pairs in enumerate(shards):
        rows = pa.array([{"de": source, "en": target} for source, target in pairs])
        path = folder / f"{split}-{number:05}-of-{len(shards):05}.parquet"
        pq.write_table(pa.table({"translation": rows}), path, row_group_size=64)
