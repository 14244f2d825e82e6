"""Perplexity of a language model (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from timetrial.api import Batch
    from timetrial.workloads.base import TorchWorkload


class PerplexityEvaluation:
    """Mean loss of a token in natural logarithms, and its exponential.

    Source: spec: workloads/finewebedu_lm.md, B4.
    """

    def __init__(self, workload: TorchWorkload) -> None:
        self._workload = workload
        self._sums: torch.Tensor | None = None
        self.examples = 0

    @torch.inference_mode()
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch and add to the sums; a row without a weight is padding, not an example."""
        logits = self._workload.forward(model, batch, train=False, update_batch_norm=False, dropout=0.0)
        loss = self._workload.loss(batch, logits)
        # Summed over rows in double precision: the result must not depend on how a split is cut into batches.
        sums = torch.stack([loss.per_example.double().sum(), loss.n_valid.double().to(logits.device)])
        self._sums = sums if self._sums is None else self._sums + sums
        weights = batch.get("weights")
        self.examples += len(logits) if weights is None else int((weights != 0).any(dim=-1).sum())

    def result(self) -> dict[str, float]:
        """Return `ppl` and `loss`, over all tokens seen; a perplexity beyond the range of floats is infinite."""
        assert self._sums is not None, "result() before the first update()"
        summed, tokens = self._sums
        loss = summed / tokens
        return {"ppl": loss.exp().item(), "loss": loss.item()}
