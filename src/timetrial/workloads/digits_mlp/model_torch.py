"""The perceptron in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from timetrial.workloads.classifier_torch import ClassifierTorch

if TYPE_CHECKING:
    from timetrial.workloads.digits_mlp.workload import DigitsMlpConfig


class DigitsMlpTorch(ClassifierTorch["DigitsMlpConfig"]):
    """The PyTorch half of `digits_mlp`."""

    def build_model(self) -> nn.Module:
        """Build the perceptron with PyTorch's default initialisation (spec: workloads/mnist.md, 2)."""
        return Mlp(self.config)


class Mlp(nn.Module):
    """Linear, sigmoid, linear: pixels (n, 64) to logits (n, 10)."""

    def __init__(self, config: DigitsMlpConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.pixels, config.hidden)
        self.output = nn.Linear(config.hidden, config.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map rows of pixels to logits."""
        return self.output(torch.sigmoid(self.hidden(pixels)))
