"""Convolutions that make a spectrogram four times shorter, in time and in frequency, before a speech model."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.workloads.layers.padding import valid_positions


def subsampled_lengths(frames: Tensor) -> Tensor:
    """Return how many of the output's steps are real, for each number of real frames: ceil(ceil(n / 2) / 2)."""
    return _halved(_halved(frames))


def _halved(lengths: Tensor) -> Tensor:
    return (lengths + 1) // 2


class ConvolutionalSubsampling(nn.Module):
    """Two 3 x 3 convolutions of stride 2: (n, time, bins) to (n, time / 4, bins / 4 * channels), rounded up.

    The output's last dimension has frequency major and channel minor.
    Source: spec librispeech_conformer.md, 2c.
    """

    def __init__(self, channels: int, activation: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.conv1 = StridedConvolution(1, channels, activation)
        self.conv2 = StridedConvolution(channels, channels, activation)

    def convolve(self, spectrogram: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and, for `frames` (n,) real frames of the spectrogram, the number of real steps (n,)."""
        x, lengths = self.conv1(spectrogram.unsqueeze(1), frames)
        x, lengths = self.conv2(x, lengths)
        return x.permute(0, 2, 3, 1).flatten(2), lengths


class StridedConvolution(nn.Module):
    """A 3 x 3 convolution of stride 2 with TensorFlow's SAME padding, an activation, and padded steps set to 0.

    The kernel is Xavier uniform, the bias 0.
    """

    parameter_kinds = {"kernel": ParameterKind.CONV_WEIGHT}

    def __init__(self, inputs: int, outputs: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.kernel = nn.Parameter(nn.init.xavier_uniform_(torch.empty(outputs, inputs, 3, 3)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._activation = activation

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, inputs, time, bins) to (n, outputs, time / 2, bins / 2), and the lengths (n,) likewise."""
        time, bins = x.shape[2:]
        padded = F.pad(x, (*_same_padding(bins), *_same_padding(time)))
        x = self._activation(F.conv2d(padded, self.kernel, self.bias, stride=2))
        lengths = _halved(lengths)
        return x * valid_positions(lengths, x.shape[2])[:, None, :, None], lengths


def _same_padding(size: int) -> tuple[int, int]:
    """Return the zeros before and after: an even size gets one behind, an odd size one on either side."""
    return (size % 2, 1)
