"""The conformer in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.workloads.layers.heads import merge_heads
from timetrial.workloads.layers.masked_norm import MaskedBatchNorm, OffsetLayerNorm
from timetrial.workloads.layers.padding import valid_positions
from timetrial.workloads.layers.positions import frequencies, waves
from timetrial.workloads.layers.projections import Projection
from timetrial.workloads.layers.spectrogram import MEL_BINS, LogMelSpectrogram
from timetrial.workloads.layers.subsampling import ConvolutionalSubsampling
from timetrial.workloads.speech_torch import SpeechTorch, initialise_linear_

if TYPE_CHECKING:
    from timetrial.workloads.librispeech_conformer.workload import ConformerConfig

Activation: TypeAlias = Callable[[Tensor], Tensor]

# The variant's two kinds of module use the two forms of GELU (spec: librispeech_conformer.md, 7).
_FEED_FORWARD_ACTIVATIONS: dict[str, Activation] = {"swish": F.silu, "gelu": partial(F.gelu, approximate="tanh")}
_CONVOLUTION_ACTIVATIONS: dict[str, Activation] = {"swish": F.silu, "gelu": F.gelu}


class ConformerTorch(SpeechTorch["ConformerConfig"]):
    """The PyTorch half of `librispeech_conformer`."""

    def build_model(self) -> nn.Module:
        """Build the network: weights Xavier uniform, biases and norms 0.

        As the PyTorch reference does: its JAX twin fills query, key and value as three matrices.
        """
        model = Conformer(self.config)
        initialise_linear_(model)
        return model


class Conformer(nn.Module):
    """Log-mel spectrogram, subsampling, blocks, norm, linear: sounds (n, samples) to logits (n, steps, tokens).

    Source: Gulati et al. 2020, figure 1; spec librispeech_conformer.md, 2.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.preprocessor = LogMelSpectrogram(config.spec_augment)
        self.subsample = Subsampling(config)
        self.conformers = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.ln = OffsetLayerNorm(config.width)
        self.lin = nn.Linear(config.width, config.vocabulary)

    def forward(self, sound: Tensor, sample_lengths: Tensor, dropout: float) -> Tensor:
        """Map sounds of `sample_lengths` (n,) samples to logits; what is padding does not reach real steps."""
        features, frames = self.preprocessor(sound, sample_lengths)
        x, lengths = self.subsample(features, frames, dropout)
        valid = valid_positions(lengths, x.shape[1])
        for block in self.conformers:
            x = block(x, valid, dropout)
        return self.lin(self.ln(x))


class Subsampling(ConvolutionalSubsampling):
    """Convolutions to a quarter of the steps, a linear map, sinusoidal positions, dropout."""

    frequencies: Tensor

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__(config.subsampling_channels)
        self.linear = nn.Linear(MEL_BINS // 4 * config.subsampling_channels, config.width)
        self.register_buffer("frequencies", frequencies(config.width // 2), persistent=False)

    def forward(self, spectrogram: Tensor, frames: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        """Map (n, time, 80) to (n, time / 4, width), and numbers of real frames (n,) to those of real steps."""
        features, lengths = self.convolve(spectrogram, frames)
        x = self.linear(features)
        x = x + waves(torch.arange(x.shape[1], device=x.device), self.frequencies)
        return F.dropout(x, dropout, self.training), lengths


class Block(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each added to its input; layer norm."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.ff1 = FeedForward(config)
        self.mhsa = SelfAttention(config)
        self.conv = Convolution(config)
        self.ff2 = FeedForward(config)
        self.ln = OffsetLayerNorm(config.width) if config.block_norm else None

    def forward(self, x: Tensor, valid: Tensor, dropout: float) -> Tensor:
        """Map (n, steps, width) to the same shape; `valid` (n, steps) is True at real steps."""
        x = x + 0.5 * self.ff1(x, valid, dropout)
        x = x + self.mhsa(x, valid, dropout)
        x = x + self.conv(x, valid, dropout)
        x = x + 0.5 * self.ff2(x, valid, dropout)
        return x if self.ln is None else self.ln(x)


class FeedForward(nn.Module):
    """Norm, linear, activation, linear, dropout; the published model drops nothing in between."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        hidden = config.feed_forward_factor * config.width
        self.ln = OffsetLayerNorm(config.width)
        self.linear1 = nn.Linear(config.width, hidden)
        self.linear2 = nn.Linear(hidden, config.width)
        self._activation = _FEED_FORWARD_ACTIVATIONS[config.activation]

    def forward(self, x: Tensor, valid: Tensor, dropout: float) -> Tensor:
        """Map (n, steps, width) to the same shape, 0 at padded steps."""
        hidden = self._activation(self.linear1(self.ln(x)))
        return F.dropout(self.linear2(hidden) * valid.unsqueeze(-1), dropout, self.training)


class SelfAttention(nn.Module):
    """Norm, multi-head self-attention to the real steps, dropout."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.ln = OffsetLayerNorm(config.width)
        self.self_attention = ScaledQueryAttention(config)

    def forward(self, x: Tensor, valid: Tensor, dropout: float) -> Tensor:
        """Map (n, steps, width) to the same shape."""
        return F.dropout(self.self_attention(self.ln(x), valid), dropout, self.training)


class ScaledQueryAttention(nn.Module):
    """Multi-head attention whose queries have a learned scale; its output is multiplied by the temperature."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.in_proj = Projection(config.width, 3 * config.width, ParameterKind.ATTENTION_QKV, bias=True)
        self.out_proj = Projection(config.width, config.width, ParameterKind.ATTENTION_OUT, bias=True)
        self.qs = QueryScale(config.width // config.heads)
        self._heads = config.heads
        self._temperature = config.attention_temperature

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map (n, steps, width) to the same shape; no step, padded or not, attends to padded ones."""
        query, key, value = self.in_proj(x).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        # An empty utterance has nothing to attend to; it attends everywhere, since nowhere would give NaN.
        attended = valid | ~valid.any(dim=1, keepdim=True)
        heads = F.scaled_dot_product_attention(self.qs(query), key, value, attn_mask=attended[:, None, None, :])
        return self.out_proj(merge_heads(heads) * self._temperature)


class QueryScale(nn.Module):
    """Multiplies each feature of a head's query by softplus of a learned number, over softplus(0)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(size))

    def forward(self, query: Tensor) -> Tensor:
        """Scale queries (..., size)."""
        return query * (1.442695041 * F.softplus(self.scale))


class Convolution(nn.Module):
    """Norm, gated linear unit, depthwise convolution over time, batch norm, activation, linear, dropout."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        width = config.width
        self.ln = OffsetLayerNorm(width)
        self.lin1 = nn.Linear(width, width)
        self.lin2 = nn.Linear(width, width)
        self.conv1 = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width, bias=False)
        self.bn = MaskedBatchNorm(width, momentum=config.batch_norm_momentum)
        self.lin3 = nn.Linear(width, width)
        self._activation = _CONVOLUTION_ACTIVATIONS[config.activation]

    def forward(self, x: Tensor, valid: Tensor, dropout: float) -> Tensor:
        """Map (n, steps, width) to the same shape."""
        x = self.ln(x)
        gated = self.lin1(x) * self.lin2(x).sigmoid() * valid.unsqueeze(-1)
        convolved = self.conv1(gated.transpose(1, 2)).transpose(1, 2)
        return F.dropout(self.lin3(self._activation(self.bn(convolved, valid))), dropout, self.training)
