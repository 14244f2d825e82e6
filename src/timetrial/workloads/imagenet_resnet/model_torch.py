"""ResNet-50 in PyTorch, with the stride on the 3 x 3 convolution ("v1.5").

Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1 and figure 5 (right); spec:
workloads/imagenet_resnet.md, 2. Names and order of the parameters are the public benchmark's.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from timetrial.workloads.classifier_torch import ClassifierTorch
from timetrial.workloads.imagenet_preprocessing import CHANNELS
from timetrial.workloads.layers.activations import activation
from timetrial.workloads.layers.convolutions import convolution
from timetrial.workloads.layers.residual import classifier, shortcut

if TYPE_CHECKING:
    from timetrial.workloads.imagenet_resnet.workload import ImagenetResnetConfig


class ImagenetResnetTorch(ClassifierTorch["ImagenetResnetConfig"]):
    """The PyTorch half of `imagenet_resnet`; the model has no dropout."""

    output_layer = "fc"

    def build_model(self) -> nn.Module:
        """Build the network, initialised as the benchmark's PyTorch code does (spec: section 2).

        Convolutions truncated LeCun normal; norms 1 and 0 but for the last of each block; classifier normal 0.01
        with zero bias.
        """
        return ResNet(self.config)


class ResNet(nn.Sequential):
    """Images (n, 3, height, width) to logits (n, classes)."""

    def __init__(self, config: ImagenetResnetConfig) -> None:
        width = config.widths[0]
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=convolution(CHANNELS, width, kernel=config.stem_kernel, stride=2),
            bn1=nn.BatchNorm2d(width),
            activation=activation(config.activation),
            maxpool=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        channels = width
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
            layers[f"layer{stage}"] = _stage(channels, width, blocks, 1 if stage == 1 else 2, config)
            channels = width * config.expansion
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = classifier(channels, config.classes)
        super().__init__(layers)

    def forward(self, input: Tensor) -> Tensor:
        """Map images to logits."""
        if input.device.type == "cpu":
            # A step takes a third less (mini, one thread); parameters keep the layout that submissions expect.
            input = input.contiguous(memory_format=torch.channels_last)
        for layer in self:
            input = layer(input)
        return input


def _stage(channels: int, width: int, blocks: int, stride: int, config: ImagenetResnetConfig) -> nn.Sequential:
    """Blocks at one resolution, the first of which may halve the image."""
    outputs = width * config.expansion
    first = Bottleneck(channels, width, stride, config)
    return nn.Sequential(first, *(Bottleneck(outputs, width, 1, config) for _ in range(blocks - 1)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, each with its batch norm, added to the shortcut.

    The shortcut is the input itself, or a 1 x 1 convolution of it with batch norm where the shape changes.
    """

    def __init__(self, channels: int, width: int, stride: int, config: ImagenetResnetConfig) -> None:
        super().__init__()
        outputs = width * config.expansion
        self.conv1 = convolution(channels, width, kernel=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, kernel=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, outputs, kernel=1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.activation = activation(config.activation)
        self.downsample = shortcut(channels, outputs, stride)
        nn.init.constant_(self.bn3.weight, config.last_norm_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, width * expansion, h / stride, w / stride)."""
        residual = self.activation(self.bn1(self.conv1(x)))
        residual = self.activation(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.activation(residual + self.downsample(x))
