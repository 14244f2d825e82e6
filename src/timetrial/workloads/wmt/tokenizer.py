"""The tokenizer of the generated data, and how it was made.

    python -m timetrial.workloads.wmt.tokenizer mini.model

The model is part of the benchmark: it is kept beside this file and never trained in a run. With SentencePiece 0.2.3
the command above writes the same bytes; another release may not, so that what counts is the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from timetrial.workloads.sentencepiece_tokenizer import SentencePieceTokens, train_sentencepiece
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE, FIRST_PIECE, PADDING

MINI = Path(__file__).parent / "mini.model"
"""Trained on the training pairs of `mini`."""


class WordTokenizer:
    """Maps text to the numbers of its words: for corpora with no more words than a vocabulary has tokens."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Number the words of the texts, from 3 in alphabetical order; others are unknown, 0."""
        words = sorted({word for text in texts for word in _words(text)})
        self._numbers = {word: number for number, word in enumerate(words, start=FIRST_PIECE)}

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        return [[*(self._numbers.get(word, PADDING) for word in _words(text)), END_OF_SENTENCE] for text in texts]


def _words(text: str) -> list[str]:
    """Split a text at spaces, its last character, a punctuation mark, from the last word."""
    return [*text[:-1].split(), text[-1]]


@lru_cache(maxsize=1)
def mini_tokenizer() -> SentencePieceTokens:
    """Return the tokenizer of the generated data."""
    return SentencePieceTokens(MINI.read_bytes())


def main(path: Path) -> None:
    """Write the model of the preset `mini`: lines alternate between source and target, as the reference's do."""
    from timetrial.workloads.wmt.generator import MINI as CORPUS
    from timetrial.workloads.wmt.generator import make_corpus, sources, translations
    from timetrial.workloads.wmt.workload import Wmt

    words, said = make_corpus(CORPUS)
    pairs = zip(sources(words, said["train"]), translations(words, said["train"]), strict=True)
    texts = (line for pair in pairs for line in pair)
    # Lower-case ASCII needs no normalisation, whose tables would make the file fifteen times as large.
    path.write_bytes(train_sentencepiece(texts, Wmt("mini").config.vocabulary, normalization="identity"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
