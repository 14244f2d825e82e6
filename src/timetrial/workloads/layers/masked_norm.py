"""The norms of the two speech models: both multiply by 1 + scale, the batch norm looks at real positions only."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import ParameterKind


class OffsetLayerNorm(nn.Module):
    """Layer norm over the last dimension, times 1 + `scale`, plus `bias`; both start at 0, epsilon 1e-6.

    Source: spec librispeech_conformer.md, 2d.
    """

    parameter_kinds = {"scale": ParameterKind.LAYER_NORM_SCALE, "bias": ParameterKind.LAYER_NORM_BIAS}
    epsilon = 1e-6

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (..., width)."""
        return F.layer_norm(x, self.scale.shape, 1 + self.scale, self.bias, self.epsilon)


class MaskedBatchNorm(nn.Module):
    """Batch norm over the valid positions of sequences, times 1 + scale, plus `bias`; padded positions become 0.

    Mean and biased variance of a training pass go into the running statistics with weight `momentum`, as published
    0.001; epsilon is 1e-3.
    Like PyTorch's norms it leaves them alone in a training pass where `track_running_stats` is False.
    Source: spec librispeech_conformer.md, 2d.
    """

    epsilon = 1e-3
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, scale_name: str = "scale", momentum: float = 0.001) -> None:
        """Take the number of channels, and the scale's parameter name: the two models' published names differ."""
        super().__init__()
        self.momentum = momentum
        self.track_running_stats = True
        self._scale_name = scale_name
        self.parameter_kinds = {
            scale_name: ParameterKind.BATCH_NORM_SCALE,
            "bias": ParameterKind.BATCH_NORM_BIAS,
        }
        self.register_parameter(scale_name, nn.Parameter(torch.zeros(channels)))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalise x (n, time, channels), of which the positions `valid` (n, time), boolean, are real."""
        mask = valid.unsqueeze(-1).to(x.dtype)
        if self.training:
            mean, variance = _masked_moments(x, mask)
            if self.track_running_stats:
                self._update_running_statistics(mean.detach(), variance.detach())
        else:
            mean, variance = self.running_mean, self.running_var
        factor = (1 + cast(Tensor, getattr(self, self._scale_name))) * torch.rsqrt(variance + self.epsilon)
        return ((x - mean) * factor + self.bias) * mask

    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)


def _masked_moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (channels,) of the valid positions; zeros where there are none."""
    count = mask.sum().clamp(min=1)
    mean = (x * mask).sum(dim=(0, 1)) / count
    variance = ((x - mean) * mask).square().sum(dim=(0, 1)) / count
    return mean, variance
