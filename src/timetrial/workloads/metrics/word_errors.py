"""Word error rate of greedy CTC decodes (PyTorch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from timetrial.workloads.layers.padding import valid_positions
from timetrial.workloads.metrics.sums import SummedEvaluation

if TYPE_CHECKING:
    from torch import Tensor

    from timetrial.api import Batch, Loss
    from timetrial.workloads.speech import Detokenize
    from timetrial.workloads.speech_torch import SpeechTorch


class WordErrorEvaluation(SummedEvaluation):
    """Word error rates and CTC loss over the examples whose weight is not zero.

    `wer` is the public benchmark's figure, which its targets are in; `wer_textbook` is the word error rate as the
    field defines it, usually a tenth higher (see `public_text`); `ctc_loss` is a mean over target tokens. An
    example whose loss is NaN is decoded as nothing at all: an argmax over NaN says nothing.
    """

    def __init__(self, workload: SpeechTorch[Any], detokenize: Detokenize) -> None:
        super().__init__(workload)
        self._steps = workload.steps
        self._detokenize = detokenize
        self._public = WordErrors()
        self._textbook = WordErrors()
        self._tokens = 0

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor]:
        """Return the loss, and add up words and errors; see `SummedEvaluation`."""
        decoded = greedy_decode(logits, self._steps(batch).masked_fill(loss.per_example.isnan(), 0))
        targets, lengths = batch["targets"].tolist(), batch["target_lengths"].tolist()
        weights = batch.get("weights")
        counted = [True] * len(decoded) if weights is None else (weights != 0).tolist()
        for target, length, hypothesis, counts in zip(targets, lengths, decoded, counted, strict=True):
            if counts:
                self._add(target[:length], hypothesis)
        return (loss.summed,)

    def _add(self, target: Sequence[int], hypothesis: Sequence[int]) -> None:
        expected, found = self._detokenize(target), self._detokenize(hypothesis)
        self._textbook.add(expected, found)
        self._public.add(public_text(expected), public_text(found))
        self._tokens += len(target)
        self.examples += 1

    def result(self) -> dict[str, float]:
        """Return `wer`, `wer_textbook` and `ctc_loss` of all that was seen."""
        (loss,) = self.totals
        return {
            "wer": self._public.rate,
            "wer_textbook": self._textbook.rate,
            "ctc_loss": loss / max(self._tokens, 1),
        }


class WordErrors:
    """Errors and words, summed over utterances."""

    def __init__(self) -> None:
        self.errors = 0
        self.words = 0

    def add(self, expected: str, found: str) -> None:
        """Add one utterance; words are what white space parts."""
        self.errors += edit_distance(expected.split(), found.split())
        self.words += len(expected.split())

    @property
    def rate(self) -> float:
        """Errors a word; above 1 where much was inserted. No words at all count as one."""
        return self.errors / max(self.words, 1)


def public_text(text: str) -> str:
    """Return what the public benchmark compares in place of `text`: the printed form of a TensorFlow string.

    Its tokenizer returns a tensor, of which Python's `str()` is taken. So every utterance gains two words that are
    always right, its first and last word carry a prefix and a suffix, an empty one has three words, and quotes
    change where an apostrophe occurs. The public targets are rates of these texts.
    Source: spec librispeech_conformer.md, 4, "QUIRK".
    """
    return f"tf.Tensor({text.encode()!r}, shape=(), dtype=string)"


def edit_distance(expected: Sequence[str], found: Sequence[str]) -> int:
    """Return the least number of insertions, deletions and substitutions from one sequence to the other.

    Source: Wagner and Fischer 1974. One row of the table is kept; two sentences of 20 words take 50 microseconds,
    less than a thousandth of a full-size evaluation, so that no library is needed.
    """
    distances = list(range(len(found) + 1))
    for row, word in enumerate(expected, start=1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(found, start=1):
            substituted = diagonal + (word != other)
            diagonal = distances[column]
            distances[column] = min(substituted, diagonal + 1, distances[column - 1] + 1)
    return distances[-1]


def greedy_decode(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """Return the token ids of each example from logits (n, steps, tokens), of which `lengths` (n,) steps are real.

    The best token of each step is taken; runs of equal tokens count once, then blanks (token 0) are dropped
    (Graves et al. 2006, section 3.2).
    """
    tokens = logits.argmax(dim=-1).masked_fill(~valid_positions(lengths, logits.shape[1]), 0)
    before = torch.nn.functional.pad(tokens[:, :-1], (1, 0))
    starts = (tokens != before) & (tokens != 0)
    return [row[kept].tolist() for row, kept in zip(tokens.cpu(), starts.cpu(), strict=True)]
