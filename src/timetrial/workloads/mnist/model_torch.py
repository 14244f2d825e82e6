"""The perceptron in PyTorch; names of the parameters are the public benchmark's."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import Tensor, nn

from timetrial.workloads.classifier_torch import ClassifierTorch
from timetrial.workloads.mnist.recipe import CLASSES, PIXELS

if TYPE_CHECKING:
    from timetrial.workloads.mnist.workload import MnistConfig


class MnistTorch(ClassifierTorch["MnistConfig"]):
    """The PyTorch half of `mnist`."""

    output_layer = "net.layer2"

    def build_model(self) -> nn.Module:
        """Build the perceptron with PyTorch's default initialisation (spec: workloads/mnist.md, 2)."""
        return Perceptron(self.config)


class Perceptron(nn.Module):
    """Images (n, 1, 28, 28) to logits (n, 10): linear, sigmoid, linear."""

    def __init__(self, config: MnistConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            OrderedDict(
                layer1=nn.Linear(PIXELS**2, config.hidden),
                activation=nn.Sigmoid(),
                layer2=nn.Linear(config.hidden, CLASSES),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits."""
        logits: Tensor = self.net(images.flatten(1))
        return logits
