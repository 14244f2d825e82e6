"""Convolutions that two or more workloads share."""

from __future__ import annotations

from torch import nn

from timetrial.workloads.layers.initializers import lecun_truncated_


def convolution(channels: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the image's size but for the stride."""
    layer = nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, bias=False)
    lecun_truncated_(layer.weight)
    return layer
