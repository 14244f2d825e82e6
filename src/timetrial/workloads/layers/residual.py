"""What the residual networks share: shortcuts and classifiers (PyTorch)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from timetrial.workloads.layers.convolutions import convolution


def shortcut(channels: int, outputs: int, stride: int) -> nn.Module:
    """Return the identity, or where the shape changes a 1 x 1 convolution with batch norm."""
    if stride == 1 and channels == outputs:
        return nn.Identity()
    projection = convolution(channels, outputs, kernel=1, stride=stride)
    return nn.Sequential(OrderedDict(conv=projection, bn=nn.BatchNorm2d(outputs)))


def classifier(channels: int, classes: int) -> nn.Linear:
    """Return a linear layer whose weights are normal with a deviation of 0.01, its bias zero."""
    layer = nn.Linear(channels, classes)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
