"""Beam search over any model that can tell the next token's logits, all sentences of a batch at once.

Source: spec: workloads/wmt.md, 4. The length normalisation is Wu et al. 2016, "Google's Neural Machine Translation
System", equation 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_WORST = -1e7
"""Score of a beam that is no hypothesis; finite, because the stopping rule compares and adds such scores."""


class NextToken(Protocol):
    """A decoder with state, one row for each beam of each sentence."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """Take the newest token of every row (rows,), int64, and return logits (rows, vocabulary)."""

    def select(self, rows: Tensor) -> None:
        """Let row i go on from what was row `rows[i]`; a sentence whose search is over has no rows any more."""


@dataclass(frozen=True, slots=True)
class Beams:
    """Hypotheses, from worst to best."""

    sequences: Tensor
    """(sentences, beams, max_length), int64, each with a 0 in front; the last token repeats to the end."""
    scores: Tensor
    """(sentences, beams): summed log-probability, divided by the length penalty."""

    def best(self) -> Tensor:
        """Return the best hypothesis of each sentence without the 0 in front, (sentences, max_length - 1)."""
        return self.sequences[:, -1, 1:]


def beam_search(
    next_token: NextToken,
    *,
    sentences: int,
    beams: int,
    length_penalty: float,
    max_length: int,
    end: int,
    device: torch.device,
    only_best: bool = False,
) -> Beams:
    """Search the likeliest token sequences of at most `max_length` tokens, a 0 in front included.

    A sentence with no finished hypothesis in the end gives its unfinished ones. A sentence's search stops early when
    no live hypothesis of it can still beat its worst finished one. The reference goes on until that is so for all
    sentences, to the same result: nothing that it finds for the sentence meanwhile is good enough to be kept.
    With `only_best` it stops when none can beat the best one any more: only `Beams.best` is sure to be the same then.
    """
    search = _Search((sentences, beams), length_penalty=length_penalty, max_length=max_length, end=end, device=device)
    mark = -1 if only_best else 0
    for step in range(max_length - 1):
        logits = next_token(search.newest(step))
        rows = search.extend(step, torch.log_softmax(logits.float(), dim=-1))
        rows = search.close(rows, mark)
        if len(rows) == 0:
            break
        next_token.select(rows)
    return search.result()


class _Search:
    """The live and the finished hypotheses of the sentences still open, each sorted from worst to best."""

    def __init__(
        self, shape: tuple[int, int], *, length_penalty: float, max_length: int, end: int, device: torch.device
    ) -> None:
        """`shape` is (sentences, beams)."""
        sentences, self._beams = shape
        self._end, self._length_penalty, self._max_length = end, length_penalty, max_length
        self._live = torch.zeros((*shape, max_length), dtype=torch.int64, device=device)
        self._live_log_probs = torch.full(shape, _WORST, device=device)
        # All beams start alike: but for the first they must not count, or all would stay alike.
        self._live_log_probs[:, 0] = 0.0
        self._finished = torch.zeros_like(self._live)
        self._finished_scores = torch.full(shape, _WORST, device=device)
        self._is_finished = torch.zeros(shape, dtype=torch.bool, device=device)
        self._open = torch.arange(sentences, device=device)
        self._found = Beams(torch.zeros_like(self._live), torch.zeros_like(self._finished_scores))

    def newest(self, step: int) -> Tensor:
        """Return the token at position `step` of every live beam, (sentences x beams,)."""
        return self._live[:, :, step].flatten()

    def extend(self, step: int, log_probs: Tensor) -> Tensor:
        """Append a token to the live beams, and return which row each of the new ones continues."""
        vocabulary = log_probs.shape[-1]
        totals = self._live_log_probs[:, :, None] + log_probs.view(-1, self._beams, vocabulary)
        # Of 2 x beams candidates at most `beams` end here, so that enough of them stay alive.
        totals, index = totals.flatten(1).topk(2 * self._beams)
        parents, tokens = index // vocabulary, index % vocabulary
        candidates = _take(self._live, parents)
        # Filled to the end, as the public benchmark does: what follows an end of sentence is ends of sentence.
        candidates[:, :, step + 1 :] = tokens[:, :, None]
        ends = tokens == self._end
        self._keep_finished(candidates, totals / self._penalty(step + 1) + ends.logical_not() * _WORST, ends)
        return self._keep_live(candidates, totals + ends * _WORST, parents)

    def close(self, rows: Tensor, mark: int) -> Tensor:
        """Put aside the sentences whose live beams cannot end up better than the finished one of rank `mark`.

        0 is the worst, -1 the best. Takes what `extend` returned and returns it without their rows.
        """
        best_possible = self._live_log_probs[:, -1] / self._penalty(self._max_length)
        # Sorted from worst to best, and a slot that holds no finished hypothesis has a score of about -1e7.
        is_over = self._finished_scores[:, mark] > best_possible
        if not is_over.any():
            return rows
        self._store(is_over)
        left = is_over.logical_not().nonzero()[:, 0]
        self._open = self._open[left]
        self._live, self._live_log_probs = self._live[left], self._live_log_probs[left]
        self._finished, self._finished_scores = self._finished[left], self._finished_scores[left]
        self._is_finished = self._is_finished[left]
        return rows.view(-1, self._beams)[left].flatten()

    def result(self) -> Beams:
        """Return the finished beams of sentences that have any, and the live ones of the others."""
        self._store(self._is_finished.any(dim=1))
        none_finished = self._is_finished.any(dim=1).logical_not()
        self._found.sequences[self._open[none_finished]] = self._live[none_finished]
        self._found.scores[self._open[none_finished]] = self._live_log_probs[none_finished]
        return self._found

    def _store(self, sentences: Tensor) -> None:
        """Take the finished beams of some of the open sentences (a mask) as their result."""
        self._found.sequences[self._open[sentences]] = self._finished[sentences]
        self._found.scores[self._open[sentences]] = self._finished_scores[sentences]

    def _keep_finished(self, candidates: Tensor, scores: Tensor, ends: Tensor) -> None:
        scores = torch.cat([self._finished_scores, scores], dim=1)
        self._finished_scores, index = _top_ascending(scores, self._beams)
        self._finished = _take(torch.cat([self._finished, candidates], dim=1), index)
        self._is_finished = torch.cat([self._is_finished, ends], dim=1).gather(1, index)

    def _keep_live(self, candidates: Tensor, log_probs: Tensor, parents: Tensor) -> Tensor:
        self._live_log_probs, index = _top_ascending(log_probs, self._beams)
        self._live = _take(candidates, index)
        first_rows = torch.arange(len(parents), device=parents.device)[:, None] * self._beams
        return (parents.gather(1, index) + first_rows).flatten()

    def _penalty(self, tokens: int) -> float:
        return ((5.0 + tokens) / 6.0) ** self._length_penalty


def _top_ascending(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, index = scores.topk(count, dim=1)
    return values.flip(1), index.flip(1)


def _take(sequences: Tensor, index: Tensor) -> Tensor:
    """Pick `index` (sentences, k) of (sentences, beams, length)."""
    return sequences.gather(1, index[:, :, None].expand(-1, -1, sequences.shape[-1]))
