"""What evaluations that add up sums share (PyTorch)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import TorchWorkload


class SummedEvaluation(ABC):
    """Runs the model on each batch and adds sums over it to those of the batches before, in double precision.

    In double precision, and on the device: how a split is cut into batches changes nothing, and no batch waits for
    the one before it.
    """

    def __init__(self, workload: TorchWorkload) -> None:
        self._workload = workload
        self._totals: Tensor | None = None
        self.examples = 0

    @abstractmethod
    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> Sequence[Tensor]:
        """Return the scalars to be summed, without what is padding; adds to `examples`."""

    @torch.inference_mode()
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch and add to the sums; see `timetrial.workloads.base.Evaluation`."""
        logits = self._workload.forward(model, batch, train=False, update_batch_norm=False, dropout=0.0)
        sums = self.sums(batch, logits, self._workload.loss(batch, logits))
        totals = torch.stack([value.double() for value in sums])
        self._totals = totals if self._totals is None else self._totals + totals

    @property
    def totals(self) -> list[float]:
        """The sums over all batches so far, of which there must be one."""
        assert self._totals is not None, "result() before the first update()"
        totals: list[float] = self._totals.tolist()
        return totals


def count_examples(batch: Batch, logits: Tensor) -> int:
    """Return how many rows have a weight other than 0: all, where there are no weights."""
    weights = batch.get("weights")
    return len(logits) if weights is None else int((weights != 0).reshape(len(logits), -1).any(dim=1).sum())
