"""Preparing FineWeb-Edu: documents to token ids, shuffled, joined to a stream for each split and cut into pieces.

The reference shuffles documents with tf.data and seed 0, whose order cannot be had without it; here it is numpy's
`default_rng(0).permutation`. Its training split, the first nine tenths of the documents, has 8,749,870 sequences; nine
tenths in another order have some thousand more or fewer. So that the published number holds, training takes, at the
preset `full`, as many documents as that number of sequences needs. What of the last one is left over is in no split.

Source: spec: workloads/finewebedu_lm.md, A1 and B1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from timetrial.errors import FileError
from timetrial.prepared import parquet
from timetrial.prepared.folder import load_array
from timetrial.prepared.raw import require_some
from timetrial.prepared.recipe import Distribution, Part, Recipe, Settings, Stage
from timetrial.workloads.finewebedu_lm import tokenizer
from timetrial.workloads.finewebedu_lm.parts import COLUMN, SPLITS, write_documents, write_order, write_pieces

FOLDER = Path("sample") / "10BT"
"""Of the files in the Hugging Face dataset."""
FILES = 14
"""Of sample-10BT: 000_00000.parquet to 013_00000.parquet."""
_FILE = re.compile(r"(\d{3})_00000\.parquet")

_RAW_BYTES = 512_000_000
"""Of documents, not compressed, that a part tokenises: some 110 million tokens, a core's minutes."""
_TOKENS_PER_BYTE = 0.22
"""English has some 4.5 bytes a token of GPT-2's."""
_PIECES = 65_536
"""Of a part: 134 MB at the published length."""

PUBLISHED = {"train": 8_749_870, "validation": 100_000}
"""Sequences: of validation, those that evaluations run over, the first of its stream (spec: B1)."""


@dataclass(frozen=True, kw_only=True)
class FinewebeduRecipe(Recipe):
    """Two streams of token ids, cut into pieces."""

    vocabulary: int
    sequence_length: int
    """Of inputs and of targets; a piece has one token more."""

    dataset: ClassVar[str] = "finewebedu"
    version: ClassVar[int] = 1
    distribution: ClassVar[Distribution] = Distribution(
        title="FineWeb-Edu, sample-10BT, tokenised as for GPT-2",
        files=(
            "sample/10BT/000_00000.parquet to 013_00000.parquet of HuggingFaceFW/fineweb-edu, and beside sample/ "
            "vocab.json and merges.txt, or tokenizer.json, of openai-community/gpt2"
        ),
        source="huggingface.co/datasets/HuggingFaceFW/fineweb-edu and huggingface.co/openai-community/gpt2",
        licence="ODC-By 1.0 (documents: Common Crawl's terms of use); GPT-2's files: MIT",
        raw_bytes=28_500_000_000,
        prepared_bytes=18_142_233_500,
        extra=tokenizer.EXTRA,
    )
    published_examples = PUBLISHED

    @property
    def settings(self) -> Settings:
        """What the prepared files depend on."""
        sizes = {f"{split}_sequences": count for split, count in self.expected_examples.items()}
        return {"vocabulary": self.vocabulary, "sequence_length": self.sequence_length, **sizes}

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the stages: token ids, the order of the documents, pieces."""
        documents = self._documents(raw)
        names = [part.name for part in documents]
        return (
            lambda: documents,
            lambda: [self._order(raw, parts, names)],
            lambda: [part for split in SPLITS for part in self._pieces(raw, parts, names, split)],
        )

    def _documents(self, raw: Path) -> list[Part]:
        files = tokenizer.find(raw)
        return [
            Part(
                name=f"documents-{number:03}-{place:03}",
                split=None,
                sources=(path, *files),
                make=partial(write_documents, path, groups, files, self.vocabulary, self.published),
                expected_bytes=int(2 * _TOKENS_PER_BYTE * size),
                temporary=True,
                published=tokenizer.PUBLISHED if self.published else {},
            )
            for number, path in enumerate(self._files(raw))
            for place, (groups, size) in enumerate(parquet.group_ranges(path, COLUMN, tokenizer.EXTRA, _RAW_BYTES))
        ]

    def _files(self, raw: Path) -> list[Path]:
        """Return the files of documents. Raises FileError where one is missing."""
        folder = raw / FOLDER if (raw / FOLDER).is_dir() else raw
        found = require_some(folder, "*.parquet", "FineWeb-Edu's, sample/10BT/000_00000.parquet and so on")
        numbers = [int(match[1]) for path in found if (match := _FILE.fullmatch(path.name))]
        count = FILES if self.published else max(numbers, default=-1) + 1
        for number in range(count):
            if number not in numbers:
                raise FileError(folder / f"{number:03}_00000.parquet", f"no such file; expected all of {count}")
        return found

    def _order(self, raw: Path, parts: Path, documents: list[str]) -> Part:
        train = self.expected_examples.get("train")
        return Part(
            name="order",
            split=None,
            make=partial(
                write_order,
                [parts / name for name in documents],
                None if train is None else train * (self.sequence_length + 1),
                raw,
            ),
            expected_bytes=16 * sum(len(load_array(parts / name / "tokens_lengths.npy")) for name in documents),
            after=tuple(documents),
            temporary=True,
        )

    def _pieces(self, raw: Path, parts: Path, documents: list[str], split: str) -> list[Part]:
        size = self.sequence_length + 1
        tokens = int(load_array(parts / "order" / f"{split}_starts.npy")[-1])
        count = min(tokens // size, self.expected_examples.get(split, tokens))
        if not count:
            raise FileError(raw, f"too few documents: the {split} split has {tokens} tokens, a sequence takes {size}")
        ranges = [range(start, min(start + _PIECES, count)) for start in range(0, count, _PIECES)]
        folders = [parts / name for name in documents]
        return [
            Part(
                name=f"{split}-{number:05}",
                split=split,
                make=partial(write_pieces, folders, parts / "order", split, pieces, size, self.vocabulary),
                expected_bytes=2 * size * len(pieces),
                after=(*documents, "order"),
            )
            for number, pieces in enumerate(ranges)
        ]
