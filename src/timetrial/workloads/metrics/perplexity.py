"""Perplexity of a language model (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from timetrial.workloads.metrics.sums import SummedEvaluation, count_examples

if TYPE_CHECKING:
    from torch import Tensor

    from timetrial.api import Batch, Loss


class PerplexityEvaluation(SummedEvaluation):
    """Mean loss of a token in natural logarithms, and its exponential.

    Source: spec: workloads/finewebedu_lm.md, B4.
    """

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return loss and tokens; a row without a weight is padding, not an example; see `SummedEvaluation`."""
        self.examples += count_examples(batch, logits)
        # Over the tokens in double precision, too: rows of another batch must not change the last digits.
        return loss.per_example.double().sum(), loss.n_valid

    def result(self) -> dict[str, float]:
        """Return `ppl` and `loss`, over all tokens seen; a perplexity beyond the range of floats is infinite."""
        summed, tokens = self.totals
        loss = summed / tokens
        return {"ppl": torch.tensor(loss, dtype=torch.float64).exp().item(), "loss": loss}
