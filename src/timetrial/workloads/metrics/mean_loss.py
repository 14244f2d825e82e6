"""Mean loss (PyTorch): the metric of workloads that are judged by their loss alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from timetrial.api import Batch
    from timetrial.workloads.base import TorchWorkload


class MeanLossEvaluation:
    """Mean loss over the examples whose weight is not zero; sums of batches are added in float64.

    Source: spec: workloads/criteo1tb.md, 4.
    """

    def __init__(self, workload: TorchWorkload) -> None:
        self._workload = workload
        self._sum: torch.Tensor | None = None
        self.examples = 0

    @torch.inference_mode()
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch and add to the sum; see `timetrial.workloads.base.Evaluation`."""
        logits = self._workload.forward(model, batch, train=False, update_batch_norm=False, dropout=0.0)
        summed = self._workload.loss(batch, logits).summed.double()
        self._sum = summed if self._sum is None else self._sum + summed
        weights = batch.get("weights")
        self.examples += len(logits) if weights is None else int((weights != 0).sum())

    def result(self) -> dict[str, float]:
        """Return `loss`, the mean over the examples seen."""
        assert self._sum is not None, "result() before the first update()"
        return {"loss": float(self._sum) / self.examples}
