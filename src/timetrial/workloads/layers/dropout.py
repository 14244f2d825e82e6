"""Dropout whose rate comes with each call, and containers that hand it down (spec: workloads/README.md, 3.5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TakesDropoutRate(nn.Module):
    """A module whose `forward` takes the dropout rate of this call after its input."""


class Dropout(TakesDropoutRate):
    """Zeroes each entry with probability `rate` in training and scales the others by 1 / (1 - rate)."""

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Map (...) to (...)."""
        return F.dropout(x, rate, self.training)


class ChannelDropout(TakesDropoutRate):
    """Zeroes each channel of each image with probability `rate` in training and scales the others."""

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        return F.dropout2d(x, rate, self.training)


class Chain(nn.ModuleList, TakesDropoutRate):
    """Modules one after another, named as in `nn.Sequential`; those that take the dropout rate get it."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(modules)

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Map `x` through every module."""
        for module in self:
            x = module(x, rate) if isinstance(module, TakesDropoutRate) else module(x)
        return x
