"""Accuracy and mean loss of a classifier (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetrial.workloads.metrics.sums import SummedEvaluation, count_examples

if TYPE_CHECKING:
    from torch import Tensor

    from timetrial.api import Batch, Loss


class ClassificationEvaluation(SummedEvaluation):
    """Top-1 accuracy and mean loss over the examples whose weight is not zero.

    An example with a loss that is not finite counts as wrong: an argmax over NaN says nothing. Of targets that are
    probabilities (mixup) the likeliest class counts.
    """

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return right answers and loss; see `SummedEvaluation`."""
        targets = batch["targets"].argmax(dim=-1) if batch["targets"].is_floating_point() else batch["targets"]
        correct = (logits.argmax(dim=-1) == targets) & loss.per_example.isfinite()
        if "weights" in batch:
            correct &= batch["weights"] != 0
        self.examples += count_examples(batch, logits)
        return correct.sum(), loss.summed

    def result(self) -> dict[str, float]:
        """Return `accuracy` and `loss`, both means over the examples seen."""
        correct, loss = self.totals
        return {"accuracy": correct / self.examples, "loss": loss / self.examples}
