"""The fastMRI U-Net in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.layers.dropout import Chain, ChannelDropout, TakesDropoutRate
from timetrial.workloads.layers.initializers import lecun_truncated_
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.losses import mean_absolute_error
from timetrial.workloads.metrics.ssim import SsimEvaluation

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import Evaluation
    from timetrial.workloads.fastmri.workload import FastmriConfig


class FastmriTorch(TorchWorkload):
    """The PyTorch half of `fastmri`; implements `timetrial.workloads.base.TorchWorkload`."""

    def __init__(self, config: FastmriConfig) -> None:
        self.config = config

    def build_model(self) -> nn.Module:
        """Build and initialise the model; see `UNet`."""
        return UNet(self.config)

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the names of the 1 x 1 convolution at the end (the reference misses it in `model_size`)."""
        last = self.config.pool_levels - 1
        return frozenset({f"up_conv.{last}.1.weight", f"up_conv.{last}.1.bias"})

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Return the reconstructions (n, height, width); see `TorchWorkload`."""
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        rate = self.config.dropout if dropout is None else dropout
        outputs: Tensor = model(batch["inputs"], rate)
        return outputs

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the mean absolute error over each slice's pixels; smoothing is ignored.

        Source: spec: workloads/fastmri.md, 3.
        """
        return mean_absolute_error(logits, batch["targets"], batch.get("weights"))

    def evaluation(self) -> Evaluation:
        """Start an evaluation of structural similarity and loss; see `TorchWorkload`."""
        return SsimEvaluation(self)


class UNet(nn.Module):
    """Blocks that halve the image and double the channels, and back up with skips: (n, h, w) to (n, h, w).

    All convolutions start truncated LeCun normal, biases and norms at 0 and 1. For transposed convolutions the
    fan-in counts the output channels, as in the PyTorch reference (the JAX one counts input channels); spec:
    workloads/fastmri.md, 2.
    """

    def __init__(self, config: FastmriConfig) -> None:
        super().__init__()
        widths = [config.channels * 2**level for level in range(config.pool_levels + 1)]
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(inputs, width, config) for inputs, width in zip([1, *widths], widths[:-1], strict=False)
        )
        self.conv = ConvBlock(widths[-2], widths[-1], config)
        going_up = widths[-2::-1]
        self.up_conv = nn.ModuleList(ConvBlock(2 * width, width, config) for width in going_up)
        self.up_conv[-1] = Chain(self.up_conv[-1], nn.Conv2d(widths[0], 1, kernel_size=1))
        self.up_transpose_conv = nn.ModuleList(TransposeConvBlock(2 * width, width, config) for width in going_up)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                lecun_truncated_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor, rate: float = 0.0) -> Tensor:
        """Map aliased to clean images; `rate` is the dropout rate."""
        x = images[:, None]
        skips = []
        for block in self.down_sample_layers:
            x = block(x, rate)
            skips.append(x)
            x = F.avg_pool2d(x, kernel_size=2)
        x = self.conv(x, rate)
        for upsample, block in zip(self.up_transpose_conv, self.up_conv, strict=True):
            skip = skips.pop()
            x = block(torch.cat([_extend(upsample(x), skip), skip], dim=1), rate)
        return x[:, 0]


class ConvBlock(TakesDropoutRate):
    """3 x 3 convolution, norm, activation, channel dropout, twice."""

    def __init__(self, inputs: int, outputs: int, config: FastmriConfig) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for channels in (inputs, outputs):
            modules += [
                nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=False),
                nn.GroupNorm(1, outputs, eps=1e-6) if config.layer_norm else _instance_norm(outputs),
                _activation(config),
                ChannelDropout(),
            ]
        self.conv_layers = Chain(*modules)

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        y: Tensor = self.conv_layers(x, rate)
        return y


class TransposeConvBlock(nn.Module):
    """2 x 2 transposed convolution of stride 2, norm, activation; the norm is always each channel's own."""

    def __init__(self, inputs: int, outputs: int, config: FastmriConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, kernel_size=2, stride=2, bias=False),
            _instance_norm(outputs),
            _activation(config),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, 2 h, 2 w)."""
        y: Tensor = self.layers(x)
        return y


def _instance_norm(channels: int) -> nn.Module:
    # A group norm of one channel a group is an instance norm, and 1.9 to 2.5 times as fast on one CPU core
    # (forward and backward, 16 x 12 x 64 x 64 and 4 x 32 x 160 x 160).
    return nn.GroupNorm(channels, channels, eps=1e-5, affine=False)


def _activation(config: FastmriConfig) -> nn.Module:
    return nn.Tanh() if config.activation == "tanh" else nn.LeakyReLU(0.2)


def _extend(x: Tensor, like: Tensor) -> Tensor:
    """Reflect a last row and column where halving an odd size lost them."""
    right, bottom = like.shape[3] - x.shape[3], like.shape[2] - x.shape[2]
    return F.pad(x, (0, right, 0, bottom), mode="reflect") if right or bottom else x
