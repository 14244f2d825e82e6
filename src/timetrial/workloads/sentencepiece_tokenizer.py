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
        encoded: list[int] = self._processor.encode(text, add_bos=False, add_eos=True)
        return encoded

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids; control tokens have none."""
        text: str = self._processor.decode([int(token) for token in tokens])
        return text


def train_sentencepiece(texts: Iterable[str], vocabulary: int) -> bytes:
    """Train a unigram model on texts and return its file: unknown 0, begin 1, end of sentence 2, no padding.

    The library's defaults but for the size and a character coverage of 1 (spec: librispeech_conformer.md, 1), and for
    one thread, since several sum in another order. Raises UserError where the texts do not give so many pieces.
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
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"no SentencePiece model of {vocabulary} tokens can be trained: {reason}") from error
    return model.getvalue()


def up_to(texts: Iterable[str], characters: int) -> Iterator[str]:
    """Yield texts until so many characters are reached; the text that reaches them is the last."""
    count = 0
    for text in texts:
        yield text
        count += len(text)
        if count >= characters:
            return
