"""The pre-activation residual network in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.workloads.classifier_torch import ClassifierTorch
from timetrial.workloads.layers.convolutions import convolution

if TYPE_CHECKING:
    from timetrial.workloads.digits_resnet.workload import DigitsResnetConfig


class DigitsResnetTorch(ClassifierTorch["DigitsResnetConfig"]):
    """The PyTorch half of `digits_resnet`."""

    def build_model(self) -> nn.Module:
        """Build the network; convolutions truncated LeCun normal, classifier normal 0.01 with zero bias."""
        return PreActivationResnet(self.config)


class PreActivationResnet(nn.Module):
    """Stem, stages of pre-activation blocks, norm, mean over pixels, linear: (n, 1, 8, 8) to (n, 10).

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", figure 4e.
    """

    def __init__(self, config: DigitsResnetConfig) -> None:
        super().__init__()
        self.stem = convolution(1, config.widths[0])
        blocks = []
        channels = config.widths[0]
        for stage, width in enumerate(config.widths):
            for block in range(config.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.output = nn.Linear(channels, config.classes)
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits."""
        features = F.relu(self.norm(self.blocks(self.stem(images))))
        return self.output(features.mean(dim=(2, 3)))


class Block(nn.Module):
    """Norm, ReLU, convolution, twice, added to the input; a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = convolution(channels, width, stride=stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != width:
            self.shortcut = convolution(channels, width, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        activated = F.relu(self.norm1(x))
        residual = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        # The shortcut of a block that changes the shape starts after the first activation, as in the paper's code.
        return residual + (x if self.shortcut is None else self.shortcut(activated))
