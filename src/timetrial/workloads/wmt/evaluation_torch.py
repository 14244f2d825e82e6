"""BLEU of beam-searched translations, and accuracy and loss of single tokens (PyTorch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from timetrial.workloads.metrics.bleu import CorpusBleu
from timetrial.workloads.metrics.sums import SummedEvaluation
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE, PADDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import TorchWorkload
    from timetrial.workloads.wmt.workload import Detokenize


class WmtEvaluation(SummedEvaluation):
    """Sees batches of unpacked sentence pairs: `inputs` and `targets` (n, tokens), maybe `weights` like targets.

    Rows without weight are padding. BLEU is of the same sentences as accuracy and loss; the public
    benchmark's is of the next ones in its endless data (spec: workloads/wmt.md, 5).
    """

    def __init__(
        self,
        workload: TorchWorkload,
        translate: Callable[[nn.Module, Tensor], Tensor],
        detokenize: Detokenize,
    ) -> None:
        """`translate` maps a model and sources (n, tokens) to the token ids of translations (n, any length)."""
        super().__init__(workload)
        self._translate = translate
        self._detokenize = detokenize
        self._bleu = CorpusBleu()

    @torch.inference_mode()
    def update(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on one batch, translate its sources, and add to the sums."""
        batch = {"weights": (batch["targets"] != PADDING).long(), **batch}
        rows = (batch["weights"] != 0).any(dim=1)
        batch = {name: array[rows] for name, array in batch.items()}
        if len(batch["targets"]) == 0:
            return
        super().update(model, batch)
        translations = self._translate(model, batch["inputs"])
        self._bleu.add(self._texts(translations), self._texts(batch["targets"]))

    def sums(self, batch: Batch, logits: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Return right tokens, loss and tokens; see `SummedEvaluation`."""
        # An argmax over NaN says nothing: such a token counts as wrong.
        correct = (logits.argmax(dim=-1) == batch["targets"]) & loss.per_example.isfinite()
        correct &= batch["weights"] != 0
        self.examples += len(logits)
        return correct.sum(), loss.per_example.double().sum(), loss.n_valid

    def _texts(self, tokens: Tensor) -> list[str]:
        return [self._detokenize(sentence(row)) for row in tokens.tolist()]

    def result(self) -> dict[str, float]:
        """Return `bleu` (0 to 100), and `accuracy` and `loss`, means over the target tokens seen."""
        correct, loss, tokens = self.totals
        return {"bleu": self._bleu.score(), "accuracy": correct / tokens, "loss": loss / tokens}


def sentence(tokens: list[int]) -> list[int]:
    """Return the token ids up to and including the first end of sentence.

    Where there is none, only the first token: an upstream quirk that the published targets contain
    (spec: workloads/wmt.md, 4).
    """
    end = tokens.index(END_OF_SENTENCE) if END_OF_SENTENCE in tokens else 0
    return tokens[: end + 1]
