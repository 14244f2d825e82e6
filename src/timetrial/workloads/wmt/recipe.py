"""Preparing WMT: raw pairs to text in one form, a tokenizer, token ids, and rows packed for training.

The training pairs of all corpora are mixed in one fixed order of our own. The published benchmark reads TensorFlow
Datasets' files, which are mixed too, but whose order cannot be had without them; the order also decides what the
tokenizer is trained on and which pairs an evaluation of the training split runs over.

Source: spec: workloads/wmt.md, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.folder import load_array
from timetrial.prepared.ragged import Ragged
from timetrial.prepared.recipe import Distribution, Part, Recipe, Settings, Stage
from timetrial.workloads.base import SPLITS, Split
from timetrial.workloads.wmt.corpora import EXTRA, LANGUAGES, find
from timetrial.workloads.wmt.parts import (
    Tokenized,
    write_evaluated_train,
    write_evaluation,
    write_rows,
    write_text,
    write_tokenizer,
    write_tokens,
)

TOKENIZER = "tokenizer"
"""Part of the SentencePiece model."""
EVALUATED_TRAIN = "evaluated-train"
"""Part of the training pairs that evaluations run over."""

_EVALUATED_TRAIN_PAIRS = 3072
"""24 batches of 128 (spec: workloads/wmt.md, 1)."""
_TOKENIZED = 100_000
"""Pairs that a part tokenises: some seconds, and about 12 MB of token ids."""
_PACKED_GROUPS = 1024
"""Groups of `max_length` pairs that a part packs: at the published length 262,144 pairs, some 50 MB of rows."""


@dataclass(frozen=True, kw_only=True)
class WmtRecipe(Recipe):
    """Training pairs packed into rows, evaluation pairs padded, the tokenizer of both."""

    vocabulary: int
    max_length: int
    """Tokens of a packed row."""
    longest_sentence: int

    dataset: ClassVar[str] = "wmt"
    version: ClassVar[int] = 1
    distribution: ClassVar[Distribution] = Distribution(
        title="WMT17 German-English for training, newstest2013 and newstest2014 for evaluation",
        files=(
            "training-parallel-europarl-v7.tgz, training-parallel-commoncrawl.tgz, training-parallel-nc-v12.tgz and "
            "rapid2016.tgz, dev.tgz and test-full.tgz, unpacked in one folder; or, from Hugging Face, "
            "wmt17/de-en/train-*.parquet and wmt14/de-en/{validation,test}-*.parquet"
        ),
        source="statmt.org (wmt13, wmt14, wmt17), or huggingface.co/datasets/wmt/wmt17 and wmt/wmt14",
        licence="no single one: free for research, see each corpus",
        raw_bytes=1_720_000_000,
        prepared_bytes=1_200_000_000,
        extra=EXTRA,
    )
    published_examples = {"train": 5_906_184, "validation": 3_000, "test": 3_003}

    @property
    def settings(self) -> Settings:
        """What the prepared files depend on."""
        return {
            "vocabulary": self.vocabulary,
            "max_length": self.max_length,
            "longest_sentence": self.longest_sentence,
        }

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the stages: text, tokenizer, token ids, packed rows."""
        texts = {split: self._texts(raw, split) for split in SPLITS}
        train = [part.name for part in texts["train"]]
        return (
            lambda: [part for split in SPLITS for part in texts[split]],
            lambda: [self._tokenizer(parts, train, texts["train"][0].sources[0])],
            lambda: [
                *self._tokens(parts, train),
                *(
                    self._evaluation(parts, split, [part.name for part in texts[split]], texts[split][0].sources[0])
                    for split in SPLITS
                    if split != "train"
                ),
            ],
            lambda: self._rows(raw, parts, train),
        )

    def _texts(self, raw: Path, split: Split) -> list[Part]:
        return [
            Part(
                name=f"text-{split}-{number:02}",
                split=None,
                sources=pairs.files,
                make=partial(write_text, pairs),
                expected_bytes=sum(path.stat().st_size for path in pairs.files),
                temporary=True,
            )
            for number, pairs in enumerate(find(raw, split))
        ]

    def _tokenizer(self, parts: Path, texts: list[str], first: Path) -> Part:
        return Part(
            name=TOKENIZER,
            split=None,
            make=partial(write_tokenizer, [parts / name for name in texts], self.vocabulary, first),
            expected_bytes=1_000_000,
            after=tuple(texts),
        )

    def _tokens(self, parts: Path, texts: list[str]) -> list[Part]:
        return [
            Part(
                name=tokenized.folder.name,
                split=None,
                make=partial(
                    write_tokens,
                    [parts / name for name in texts],
                    tokenized,
                    parts / TOKENIZER,
                    self.vocabulary,
                    self.longest_sentence,
                ),
                expected_bytes=150 * tokenized.pairs,  # two sentences of some 30 tokens
                after=(TOKENIZER, *texts),
                temporary=True,
            )
            for tokenized in _tokenized(parts, texts)
        ]

    def _evaluation(self, parts: Path, split: Split, texts: list[str], first: Path) -> Part:
        return Part(
            name=f"{split}-00000",
            split=split,
            make=partial(
                write_evaluation,
                [parts / name for name in texts],
                parts / TOKENIZER,
                self.vocabulary,
                self.longest_sentence,
                first,
            ),
            expected_bytes=2_000_000,
            after=(TOKENIZER, *texts),
        )

    def _rows(self, raw: Path, parts: Path, texts: list[str]) -> list[Part]:
        """Return the parts of packed rows; their examples are pairs, those that were too long among them."""
        tokenized = _tokenized(parts, texts)
        folders = [each.folder for each in tokenized]
        counts = [len(load_array(folder / "numbers.npy")) for folder in folders]
        if not sum(counts):
            raise FileError(raw, f"no training pair has at most {self.longest_sentence} tokens on both sides")
        bounds = [*range(0, sum(counts), _PACKED_GROUPS * self.max_length), sum(counts)]
        pairs = [0, *(_raw_number(tokenized, counts, kept) for kept in bounds[1:-1]), sum(p.pairs for p in tokenized)]
        after = tuple(folder.name for folder in folders)
        rows = [
            Part(
                name=f"train-{number:05}",
                split="train",
                make=partial(write_rows, folders, start, stop, last - first, self.max_length, self.vocabulary),
                expected_bytes=200 * (stop - start),  # some eight pairs in a row of 1,536 bytes
                after=after,
            )
            for number, ((start, stop), (first, last)) in enumerate(zip(pairwise(bounds), pairwise(pairs), strict=True))
        ]
        evaluated = Part(
            name=EVALUATED_TRAIN,
            split=None,
            make=partial(write_evaluated_train, folders, min(_EVALUATED_TRAIN_PAIRS, sum(counts))),
            expected_bytes=2_000_000,
            after=after,
        )
        return [*rows, evaluated]


def _tokenized(parts: Path, texts: list[str]) -> list[Tokenized]:
    """Divide the training pairs among parts."""
    pairs = len(Ragged([parts / name for name in texts], LANGUAGES[0]))
    return [
        Tokenized(folder=parts / f"tokens-{number:05}", start=start, stop=min(start + _TOKENIZED, pairs))
        for number, start in enumerate(range(0, pairs, _TOKENIZED))
    ]


def _raw_number(tokenized: list[Tokenized], counts: list[int], kept: int) -> int:
    """Return how many pairs stand before the pair `kept` of those that the filter kept."""
    before = np.cumsum([0, *counts])
    part = int(np.searchsorted(before, kept, side="right")) - 1
    own = load_array(tokenized[part].folder / "numbers.npy")[kept - before[part]]
    return sum(each.pairs for each in tokenized[:part]) + int(own)
