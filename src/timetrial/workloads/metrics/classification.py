"""Accuracy and mean loss of a classifier (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from timetrial.api import Batch
    from timetrial.workloads.base import TorchWorkload


class ClassificationEvaluation:
    """Top-1 accuracy and mean loss over the examples whose weight is not zero.

    An example with a loss that is not finite counts as wrong: an argmax over NaN says nothing. Of targets that are
    probabilities (mixup) the likeliest class counts.
    """

    def __init__(self, workload: TorchWorkload) -> None:
        self._workload = workload
        self._sums: torch.Tensor | None = None
        self.examples = 0

    @torch.inference_mode()
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch and add to the sums; see `timetrial.workloads.base.Evaluation`."""
        logits = self._workload.forward(model, batch, train=False, update_batch_norm=False, dropout=0.0)
        loss = self._workload.loss(batch, logits)
        targets = batch["targets"].argmax(dim=-1) if batch["targets"].is_floating_point() else batch["targets"]
        correct = (logits.argmax(dim=-1) == targets) & loss.per_example.isfinite()
        weights = batch.get("weights")
        if weights is not None:
            correct &= weights != 0
        sums = torch.stack([correct.sum().double(), loss.summed.double()])
        self._sums = sums if self._sums is None else self._sums + sums
        self.examples += len(logits) if weights is None else int((weights != 0).sum())

    def result(self) -> dict[str, float]:
        """Return `accuracy` and `loss`, both means over the examples seen."""
        assert self._sums is not None, "result() before the first update()"
        correct, loss = (self._sums / self.examples).tolist()
        return {"accuracy": correct, "loss": loss}
