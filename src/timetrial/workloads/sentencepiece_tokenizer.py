"""SentencePiece models: trained once when a dataset is prepared, and read with it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

from timetrial.errors import UserError


class SentencePieceTokens:
    """Maps text to token ids, an end of sentence after the last, and ids to text."""

    def __init__(self, model: bytes) -> None:
        """`model` is the content of a SentencePiece model file."""
        from sentencepiece import SentencePieceProcessor

        self._processor = SentencePieceProcessor(model_proto=model)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; an unknown character's is 0."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text; in one thread, since datasets are prepared by several processes."""
        encoded: list[list[int]] = self._processor.encode(texts, add_bos=False, add_eos=True, num_threads=1)
        return encoded

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids; control tokens have none."""
        text: str = self._processor.decode([int(token) for token in tokens])
        return text


def train_sentencepiece(texts: Iterable[str], vocabulary: int, normalization: str = "nmt_nfkc") -> bytes:
    """Train a unigram model on texts and return its file: unknown 0, begin 1, end of sentence 2, no padding.

    The library's defaults but for the size and a character coverage of 1 (spec: librispeech_conformer.md, 1; wmt.md,
    1), and for one thread, since several sum in another order. Raises UserError where the texts are too few, or have
    too many characters, for a vocabulary of that size.
    """
    from sentencepiece import SentencePieceTrainer

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
            eos_id=2,
            normalization_rule_name=normalization,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"no SentencePiece model of {vocabulary} pieces can be trained: {reason}") from error
    return model.getvalue()


def up_to(texts: Iterable[str], characters: int) -> Iterator[str]:
    """Yield texts until so many characters are reached; the text that reaches them is the last."""
    count = 0
    for text in texts:
        yield text
        count += len(text)
        if count >= characters:
            return
