"""Mean loss (PyTorch): the metric of workloads that are judged by their loss alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetrial.workloads.metrics.sums import SummedEvaluation, count_examples

if TYPE_CHECKING:
    from torch import Tensor

    from timetrial.api import Batch, Loss


class MeanLossEvaluation(SummedEvaluation):
    """Mean loss over the examples whose weight is not zero.

    Source: spec: workloads/criteo1tb.md, 4.
    """

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor]:
        """Return the loss; see `SummedEvaluation`."""
        self.examples += count_examples(batch, logits)
        return (loss.summed,)

    def result(self) -> dict[str, float]:
        """Return `loss`, the mean over the examples seen."""
        (loss,) = self.totals
        return {"loss": loss / self.examples}
