"""The PyTorch half that the speech workloads share: CTC loss, word error rate, mode set by the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic

from torch import nn

from timetrial.workloads.base import Evaluation, TorchWorkload
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.layers.spectrogram import valid_frames
from timetrial.workloads.layers.subsampling import subsampled_lengths
from timetrial.workloads.losses import ctc_loss
from timetrial.workloads.metrics.word_errors import WordErrorEvaluation
from timetrial.workloads.speech import Detokenize, SpeechConfigT

if TYPE_CHECKING:
    from torch import Tensor

    from timetrial.api import Batch, Loss


class SpeechTorch(TorchWorkload, ABC, Generic[SpeechConfigT]):
    """Implements `timetrial.workloads.base.TorchWorkload` but for `build_model`.

    The model is called with sounds (n, samples), their lengths (n,) and a dropout rate, returns logits
    (n, steps, vocabulary) and calls its output layer `lin`. What a batch holds: see
    `timetrial.workloads.speech.SpeechWorkload`.
    """

    def __init__(self, config: SpeechConfigT, detokenize: Detokenize) -> None:
        self.config = config
        self._detokenize = detokenize

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Build and initialise the model; see `TorchWorkload`."""

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the output layer's parameters; see `TorchWorkload`."""
        return frozenset(name for name, _ in model.named_parameters() if name.startswith("lin."))

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Return logits (n, steps, vocabulary); a training pass hides parts of the input; see `TorchWorkload`."""
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        rate = self.config.dropout if dropout is None else dropout
        return model(batch["inputs"], batch["input_lengths"], rate)

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the CTC loss, which smoothing means nothing to; see `TorchWorkload` and `ctc_loss`."""
        return ctc_loss(logits, self.steps(batch), batch["targets"], batch["target_lengths"], batch.get("weights"))

    def steps(self, batch: Batch) -> Tensor:
        """Return how many steps of each example's logits are real (n,)."""
        return subsampled_lengths(valid_frames(batch["input_lengths"], batch["inputs"].shape[1]))

    def evaluation(self) -> Evaluation:
        """Start an evaluation of word error rates and CTC loss; see `TorchWorkload`."""
        return WordErrorEvaluation(self, self._detokenize)


def initialise_linear_(model: nn.Module) -> None:
    """Fill all linear maps and one-dimensional convolutions: weights Xavier uniform, biases 0.

    Source: golden/README.md, 6 (the PyTorch reference; a fused query-key-value map counts as one).
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
