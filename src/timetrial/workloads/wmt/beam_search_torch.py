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
        """Let row i go on from what was row `rows[i]`."""


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
) -> Beams:
    """Search the likeliest token sequences of at most `max_length` tokens, a 0 in front included.

    A sentence with no finished hypothesis in the end gives its unfinished ones. Stops early when, for all
    sentences, no live hypothesis can still beat the worst finished one.
    """
    search = _Search((sentences, beams), length_penalty=length_penalty, max_length=max_length, end=end, device=device)
    for step in range(max_length - 1):
        logits = next_token(search.newest(step))
        rows = search.extend(step, torch.log_softmax(logits.float(), dim=-1))
        if search.is_over():
            break
        next_token.select(rows)
    return search.result()


class _Search:
    """The live and the finished hypotheses of every sentence, each sorted from worst to best."""

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
        self._first_rows = torch.arange(sentences, device=device)[:, None] * self._beams

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

    def is_over(self) -> bool:
        """Tell whether, for all sentences, no live beam can end up better than the worst finished one."""
        best_possible = self._live_log_probs[:, -1] / self._penalty(self._max_length)
        worst_finished = self._finished_scores.where(self._is_finished, _WORST).amin(dim=1)
        return bool((worst_finished > best_possible).all())

    def result(self) -> Beams:
        """Return the finished beams of sentences that have any, and the live ones of the others."""
        any_finished = self._is_finished.any(dim=1)
        return Beams(
            self._finished.where(any_finished[:, None, None], self._live),
            self._finished_scores.where(any_finished[:, None], self._live_log_probs),
        )

    def _keep_finished(self, candidates: Tensor, scores: Tensor, ends: Tensor) -> None:
        scores = torch.cat([self._finished_scores, scores], dim=1)
        self._finished_scores, index = _top_ascending(scores, self._beams)
        self._finished = _take(torch.cat([self._finished, candidates], dim=1), index)
        self._is_finished = torch.cat([self._is_finished, ends], dim=1).gather(1, index)

    def _keep_live(self, candidates: Tensor, log_probs: Tensor, parents: Tensor) -> Tensor:
        self._live_log_probs, index = _top_ascending(log_probs, self._beams)
        self._live = _take(candidates, index)
        return (parents.gather(1, index) + self._first_rows).flatten()

    def _penalty(self, tokens: int) -> float:
        return ((5.0 + tokens) / 6.0) ** self._length_penalty


def _top_ascending(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, index = scores.topk(count, dim=1)
    return values.flip(1), index.flip(1)


def _take(sequences: Tensor, index: Tensor) -> Tensor:
    """Pick `index` (sentences, k) of (sentences, beams, length)."""
    return sequences.gather(1, index[:, :, None].expand(-1, -1, sequences.shape[-1]))
