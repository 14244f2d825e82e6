"""ResNet-18 for small images in PyTorch: a 3 x 3 stem and no max-pool; names are the public benchmark's.

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", figure 5 (left); spec: workloads/cifar.md, 2.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.workloads.cifar.recipe import CHANNELS, CLASSES
from timetrial.workloads.classifier_torch import ClassifierTorch
from timetrial.workloads.layers.convolutions import convolution
from timetrial.workloads.layers.residual import classifier, shortcut

if TYPE_CHECKING:
    from timetrial.workloads.cifar.workload import CifarConfig


class CifarTorch(ClassifierTorch["CifarConfig"]):
    """The PyTorch half of `cifar`."""

    output_layer = "fc"

    def build_model(self) -> nn.Module:
        """Build the network, initialised as the benchmark's (spec: workloads/cifar.md, 2).

        Convolutions truncated LeCun normal; norms 1 and 0 but for the last of each block, which starts at 0;
        classifier normal 0.01 with zero bias.
        """
        return ResNet(self.config)


class ResNet(nn.Sequential):
    """Images (n, 3, height, width) to logits (n, 10)."""

    def __init__(self, config: CifarConfig) -> None:
        channels = config.widths[0]
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=convolution(CHANNELS, channels), bn1=nn.BatchNorm2d(channels), activation=nn.ReLU()
        )
        for stage, width in enumerate(config.widths, start=1):
            first = BasicBlock(channels, width, 1 if stage == 1 else 2)
            layers[f"layer{stage}"] = nn.Sequential(
                first, *(BasicBlock(width, width, 1) for _ in range(config.blocks - 1))
            )
            channels = width
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = classifier(channels, CLASSES)
        super().__init__(layers)

    def forward(self, input: Tensor) -> Tensor:
        """Map images to logits; of its own, since PyTorch's compiler passes over the library's."""
        for layer in self:
            input = layer(input)
        return input


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm, added to the shortcut: the input, or a 1 x 1 convolution of it."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels, width, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(channels, width, stride)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + self.downsample(x))
