"""GPT-2's tokenizer, byte-level BPE, from the files it is distributed in; nothing is downloaded.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; `vocab.json` and `merges.txt`, or
`tokenizer.json`, of https://huggingface.co/openai-community/gpt2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from timetrial.errors import FileError
from timetrial.prepared.raw import library, reading

EXTRA = "lm"
END_OF_TEXT = "<|endoftext|>"
VOCABULARY, MERGES, BOTH = "vocab.json", "merges.txt", "tokenizer.json"

PUBLISHED = {
    VOCABULARY: "sha256:196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    MERGES: "sha256:1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
"""Checksums; also those of OpenAI's own `encoder.json` and `vocab.bpe` (tiktoken, `tiktoken_ext/openai_public.py`)."""


def find(raw: Path) -> tuple[Path, ...]:
    """Return the tokenizer's files in the raw folder. Raises FileError, naming the first that is missing."""
    vocabulary, merges, both = (raw / name for name in (VOCABULARY, MERGES, BOTH))
    if both.is_file() and not vocabulary.is_file():
        return (both,)
    for path in (vocabulary, merges):
        if not path.is_file():
            raise FileError(path, f"no such file; expected {VOCABULARY} and {MERGES}, or {BOTH}, of GPT-2's tokenizer")
    return vocabulary, merges


class Tokenizer:
    """Maps texts to token ids."""

    def __init__(self, files: Sequence[Path], vocabulary: int, *, whole: bool) -> None:
        """Take the files that `find` found and the number of token ids that a model has, all of them used if `whole`.

        Raises FileError: a file is broken, or has too many tokens, or no end of text.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # datasets are prepared by several processes
        self._tokenizer = _read(files)
        found = self._tokenizer.get_vocab(with_added_tokens=True)
        largest = max(found.values())
        if largest >= vocabulary or (whole and len(found) != vocabulary):
            allowed = "" if whole else "at most "
            raise FileError(
                files[0], f"expected {allowed}{vocabulary} tokens, found {len(found)} with ids up to {largest}"
            )
        if END_OF_TEXT not in found:
            raise FileError(files[0], f"expected a token {END_OF_TEXT}, found none among {len(found)}")
        self.end_of_text: int = found[END_OF_TEXT]
        self._tokenizer.add_special_tokens([END_OF_TEXT])  # written out in a text, it is one token too

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids of all texts in a row, and how many each text has, int64.

        Bytes that the vocabulary does not know are left out; GPT-2's knows all.
        """
        encoded = [each.ids for each in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return np.fromiter(chain.from_iterable(encoded), np.int64, lengths.sum()), lengths


def _read(files: Sequence[Path]) -> Any:
    tokenizers = library("tokenizers", EXTRA)
    if len(files) == 1:
        with reading(files[0], Exception):  # the library's own kind
            tokenizer = tokenizers.Tokenizer.from_file(str(files[0]))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    vocabulary, merges = files
    with reading(vocabulary, ValueError):
        if not isinstance(json.loads(vocabulary.read_text(encoding="utf-8")), dict):
            raise FileError(vocabulary, "expected an object of ids by token")
    with reading(merges, Exception):
        model = tokenizers.models.BPE.from_file(str(vocabulary), str(merges))
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer
