"""Corpus BLEU from sums that add up over batches, by sacrebleu."""

from __future__ import annotations

import math
from collections.abc import Sequence

_ORDERS = 4


class CorpusBleu:
    """BLEU of all sentences added so far: n-grams up to 4, case-sensitive, tokenised by "13a", smoothing "exp".

    Keeps only the counts of n-grams and words. The settings are those of the public benchmark, which computes as
    sacrebleu 1.3.1 did (spec: workloads/wmt.md, 4); measured on golden/bleu.json, sacrebleu 2.6.0 differs from it
    in one case, `_without_matches`.
    """

    def __init__(self) -> None:
        """Import sacrebleu, which only translation needs."""
        from sacrebleu.metrics.bleu import BLEU

        # `force` only keeps sacrebleu from guessing aloud that the text was tokenised before.
        self._sacrebleu = BLEU(tokenize="13a", smooth_method="exp", force=True)
        self._correct = [0] * _ORDERS
        self._total = [0] * _ORDERS
        self._words = self._reference_words = 0

    def add(self, hypotheses: Sequence[str], *references: Sequence[str]) -> None:
        """Add translations and, for each, one or more references; raises ValueError if their numbers differ."""
        if any(len(stream) != len(hypotheses) for stream in references):
            raise ValueError(f"{len(hypotheses)} hypotheses, references {[len(stream) for stream in references]}")
        if not hypotheses:
            return
        batch = self._sacrebleu.corpus_score(hypotheses, references)
        for n in range(_ORDERS):
            self._correct[n] += batch.counts[n]
            self._total[n] += batch.totals[n]
        self._words += batch.sys_len
        self._reference_words += batch.ref_len

    def score(self) -> float:
        """Return BLEU between 0 and 100."""
        corpus = self._sacrebleu.compute_bleu(
            list(self._correct), list(self._total), self._words, self._reference_words, smooth_method="exp"
        )
        return corpus.score if any(self._correct) else corpus.bp * _without_matches(self._total)


def _without_matches(total: Sequence[int]) -> float:
    """Return BLEU, before its brevity penalty, where no n-gram of any order matches.

    Smoothing then gives order n the precision 100 / (2^n total), which is above 0; sacrebleu 2 gives 0.
    """
    if 0 in total:
        return 0.0
    return math.exp(sum(math.log(100 / (2**n * count)) for n, count in enumerate(total, start=1)) / len(total))
