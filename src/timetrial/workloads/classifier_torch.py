"""The PyTorch half that classifiers share: softmax cross entropy, accuracy, mode set by the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic

from timetrial.workloads.base import Config, Evaluation, TorchWorkload
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.losses import softmax_cross_entropy
from timetrial.workloads.metrics.classification import ClassificationEvaluation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from timetrial.api import Batch, Loss


class ClassifierTorch(TorchWorkload, ABC, Generic[Config]):
    """Implements `timetrial.workloads.base.TorchWorkload` but for `build_model`.

    The model maps `inputs` to logits (n, classes).
    """

    output_layer: ClassVar[str] = "output"
    """The model's name of its output layer."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Build and initialise the model; see `TorchWorkload`."""

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the output layer's parameters; see `TorchWorkload`."""
        prefix = f"{self.output_layer}."
        return frozenset(name for name, _ in model.named_parameters() if name.startswith(prefix))

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Run the model on a batch; these models have no dropout; see `TorchWorkload`."""
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        logits: Tensor = model(batch["inputs"])
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the softmax cross entropy; see `TorchWorkload`."""
        return softmax_cross_entropy(logits, batch["targets"], batch.get("weights"), label_smoothing=label_smoothing)

    def evaluation(self) -> Evaluation:
        """Start an evaluation of accuracy and loss; see `TorchWorkload`."""
        return ClassificationEvaluation(self)
