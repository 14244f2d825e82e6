"""The bidirectional recurrent network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.workloads.layers.masked_norm import MaskedBatchNorm, OffsetLayerNorm
from timetrial.workloads.layers.padding import valid_positions
from timetrial.workloads.layers.spectrogram import MEL_BINS, LogMelSpectrogram
from timetrial.workloads.layers.subsampling import ConvolutionalSubsampling
from timetrial.workloads.speech_torch import SpeechTorch, initialise_linear_

if TYPE_CHECKING:
    from timetrial.workloads.librispeech_deepspeech.workload import DeepspeechConfig

Activation: TypeAlias = Callable[[Tensor], Tensor]

_ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "tanh": torch.tanh}


class DeepspeechTorch(SpeechTorch["DeepspeechConfig"]):
    """The PyTorch half of `librispeech_deepspeech`."""

    def build_model(self) -> nn.Module:
        """Build the network: linear weights Xavier uniform, biases and norms 0, recurrent parameters uniform.

        The latter are PyTorch's own, within 1 / sqrt(cells) and two biases a gate, as in the PyTorch reference;
        its JAX twin has one bias, orthogonal recurrent and LeCun normal input matrices.
        """
        model = Deepspeech(self.config)
        initialise_linear_(model)
        return model


class Deepspeech(nn.Module):
    """Log-mel spectrogram, subsampling, recurrent blocks, feed-forward blocks, norm, linear.

    Maps sounds (n, samples) to logits (n, steps, tokens). `torch.compile` leaves the library's LSTM kernel to eager
    mode, which breaks the graph there; all else, and with `torch._dynamo.config.allow_rnn` everything, is one graph.
    Source: Amodei et al. 2016, figure 1; spec librispeech_deepspeech.md, 2.
    """

    def __init__(self, config: DeepspeechConfig) -> None:
        super().__init__()
        self._residual = config.residual
        self.preprocessor = LogMelSpectrogram(config.spec_augment)
        self.subsample = Subsampling(config)
        self.lstms = nn.ModuleList(Recurrent(config) for _ in range(config.recurrent_blocks))
        self.ffns = nn.ModuleList(FeedForward(config) for _ in range(config.feed_forward_blocks))
        self.ln = None if config.layer_norm else OffsetLayerNorm(config.width)
        self.lin = nn.Linear(config.width, config.vocabulary)

    def forward(self, sound: Tensor, sample_lengths: Tensor, dropout: float) -> Tensor:
        """Map sounds of `sample_lengths` (n,) samples to logits; what is padding does not reach real steps."""
        features, frames = self.preprocessor(sound, sample_lengths)
        x, lengths = self.subsample(features, frames, dropout)
        for recurrent in self.lstms:
            y = recurrent(x, lengths)
            x = x + y if self._residual else y
        for feed_forward in self.ffns:
            y = feed_forward(x, lengths, dropout)
            x = x + y if self._residual else y
        return self.lin(x if self.ln is None else self.ln(x))


class Subsampling(ConvolutionalSubsampling):
    """Convolutions to a quarter of the steps, a linear map, dropout."""

    def __init__(self, config: DeepspeechConfig) -> None:
        super().__init__(config.subsampling_channels, _ACTIVATIONS[config.activation])
        self.lin = nn.Linear(MEL_BINS // 4 * config.subsampling_channels, config.width)

    def forward(self, spectrogram: Tensor, frames: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        """Map (n, time, 80) to (n, time / 4, width), and numbers of real frames (n,) to those of real steps."""
        features, lengths = self.convolve(spectrogram, frames)
        return F.dropout(self.lin(features), dropout, self.training), lengths


class NormedBlock(nn.Module):
    """What both kinds of block begin with: a batch norm or a layer norm, by its published name."""

    def __init__(self, config: DeepspeechConfig) -> None:
        super().__init__()
        self._layer_norm = config.layer_norm
        if config.layer_norm:
            self.normalization_layer = OffsetLayerNorm(config.width)
        else:
            self.bn_normalization_layer = MaskedBatchNorm(
                config.width, scale_name="weight", momentum=config.batch_norm_momentum
            )

    def normalised(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalise x (n, steps, width), of which the positions `valid` (n, steps) are real."""
        return self.normalization_layer(x) if self._layer_norm else self.bn_normalization_layer(x, valid)


class Recurrent(NormedBlock):
    """Norm, long short-term memory in both directions; 0 at padded steps."""

    def __init__(self, config: DeepspeechConfig) -> None:
        super().__init__(config)
        self.lstm = nn.LSTM(config.width, config.width // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map (n, steps, width), of which `lengths` (n,) steps are real, to the same shape."""
        valid = valid_positions(lengths, x.shape[1])
        return both_directions(self.lstm, self.normalised(x, valid), lengths) * valid.unsqueeze(-1)


class FeedForward(NormedBlock):
    """Norm, linear, activation, dropout; 0 at padded steps."""

    def __init__(self, config: DeepspeechConfig) -> None:
        super().__init__(config)
        self.lin = nn.Linear(config.width, config.width)
        self._activation = _ACTIVATIONS[config.activation]

    def forward(self, x: Tensor, lengths: Tensor, dropout: float) -> Tensor:
        """Map (n, steps, width), of which `lengths` (n,) steps are real, to the same shape."""
        valid = valid_positions(lengths, x.shape[1])
        hidden = self._activation(self.lin(self.normalised(x, valid)))
        return F.dropout(hidden * valid.unsqueeze(-1), dropout, self.training)


def both_directions(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a one-layer bidirectional LSTM on real steps only: (n, steps, in) to (n, steps, 2 cells), batch first.

    The same numbers as on a packed sequence, with two runs of the library kernel on whole tensors, the second on
    sequences turned round within their lengths; outputs at padded steps mean nothing. Packing would have to wait
    for the lengths from the device, and took 4.5 times as long on one CPU core (16 sequences of 75 steps, 96
    features, forward and backward: 30 ms against 6.5 ms), 8.6 times at full width.
    """
    steps = torch.arange(x.shape[1], device=x.device)
    last = lengths.unsqueeze(1) - 1
    turned = torch.where(steps <= last, last - steps, steps).unsqueeze(-1)
    forwards = _one_direction(lstm, x, "")
    backwards = _one_direction(lstm, x.gather(1, turned.expand_as(x)), "_reverse")
    return torch.cat([forwards, backwards.gather(1, turned.expand_as(backwards))], dim=-1)


def _one_direction(lstm: nn.LSTM, x: Tensor, suffix: str) -> Tensor:
    """Run one direction's cells from first to last step: (n, steps, in) to (n, steps, cells)."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [getattr(lstm, name + suffix) for name in names]
    start = x.new_zeros(1, len(x), lstm.hidden_size)
    output, _, _ = torch.lstm(
        x,
        (start, start),
        weights,
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=lstm.training,
        bidirectional=False,
        batch_first=True,
    )
    return output
