"""SentencePiece models: tokenising, detokenising, and how the model of the generated data was made.

    python -m timetrial.workloads.wmt.tokenizer mini.model

The model is part of the benchmark: it is kept beside this file and never trained in a run. With SentencePiece 0.2.3
the command above writes the same bytes; another release may not, so that what counts is the file.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from timetrial.errors import UserError
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE, FIRST_PIECE, PADDING

MINI = Path(__file__).parent / "mini.model"
"""Trained on the training pairs of `mini`."""


class Tokenizer:
    """Maps text to token ids, an end of sentence after the last, and ids to text."""

    def __init__(self, model: bytes) -> None:
        """`model` is the content of a SentencePiece model file."""
        self._processor = SentencePieceProcessor(model_proto=model)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text; in one thread, since datasets are prepared by several processes."""
        encoded: list[list[int]] = self._processor.encode(texts, add_bos=False, add_eos=True, num_threads=1)
        return encoded

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of one sentence's token ids; control tokens have none."""
        text: str = self._processor.decode(list(tokens))
        return text


class WordTokenizer:
    """Maps text to the numbers of its words: for corpora with no more words than a vocabulary has tokens."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Number the words of the texts, from 3 in alphabetical order; others are unknown, 0."""
        words = sorted({word for text in texts for word in _words(text)})
        self._numbers = {word: number for number, word in enumerate(words, start=FIRST_PIECE)}

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        return [[*(self._numbers.get(word, PADDING) for word in _words(text)), END_OF_SENTENCE] for text in texts]


def _words(text: str) -> list[str]:
    """Split a text at spaces, its last character, a punctuation mark, from the last word."""
    return [*text[:-1].split(), text[-1]]


@lru_cache(maxsize=1)
def mini_tokenizer() -> Tokenizer:
    """Return the tokenizer of the generated data."""
    return Tokenizer(MINI.read_bytes())


def train(texts: Iterable[str], vocabulary: int, normalization: str = "nmt_nfkc") -> bytes:
    """Train a unigram model with the reference's settings and return its file (spec: workloads/wmt.md, 1).

    The default of `normalization` is SentencePiece's, and the reference's. Raises UserError: the texts are too few or
    have too many characters for a vocabulary of that size.
    """
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary,
            character_coverage=1.0,
            pad_id=-1,
            unk_id=0,
            bos_id=1,
            eos_id=END_OF_SENTENCE,
            normalization_rule_name=normalization,
            num_threads=1,  # more would sum in another order
            minloglevel=2,
        )
    except RuntimeError as error:  # the library's only kind
        raise UserError(
            f"no SentencePiece model of {vocabulary} pieces can be trained on these texts: {error}"
        ) from error
    return model.getvalue()


def main(path: Path) -> None:
    """Write the model of the preset `mini`: lines alternate between source and target, as the reference's do."""
    from timetrial.workloads.wmt.generator import MINI as CORPUS
    from timetrial.workloads.wmt.generator import make_corpus, sources, translations
    from timetrial.workloads.wmt.workload import Wmt

    words, said = make_corpus(CORPUS)
    pairs = zip(sources(words, said["train"]), translations(words, said["train"]), strict=True)
    texts = (line for pair in pairs for line in pair)
    # Lower-case ASCII needs no normalisation, whose tables would make the file fifteen times as large.
    path.write_bytes(train(texts, Wmt("mini").config.vocabulary, normalization="identity"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
