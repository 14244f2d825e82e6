"""Shifted, noisy handwritten digits with a small pre-activation residual network.

The data are `timetrial.workloads.digits`. Random shifts and noise keep the network from memorising the thousand
training images; the batch norm exercises model state and `update_batch_norm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.batches import Fields
from timetrial.workloads.digits import BACKGROUND, DigitsWorkload, digit_fields, digits_data, random_digits

if TYPE_CHECKING:
    from timetrial.workloads.digits_resnet.model_torch import DigitsResnetTorch


@dataclass(frozen=True, kw_only=True)
class DigitsResnetConfig:
    """Sizes of the residual network, and strength of the augmentation."""

    widths: tuple[int, ...]
    """Channels of each stage; every stage but the first halves the image."""
    blocks: int
    """Residual blocks a stage."""
    classes: int = 10
    shift: int = 1
    """Training images move by up to so many pixels in each direction."""
    noise: float = 0.5
    """Standard deviation of the noise on training images, in units of the pixels' own."""


class DigitsResnet(DigitsWorkload[DigitsResnetConfig]):
    """1,000 digits, augmented; pre-activation ResNet with batch norm; accuracy."""

    presets = {
        "mini": DigitsResnetConfig(widths=(16, 32), blocks=1),
        "tiny": DigitsResnetConfig(widths=(4, 8), blocks=1),
    }
    batch_sizes = {"mini": 64, "tiny": 16}

    def data(self) -> Data:
        """Return the digits, augmented for training."""
        return digits_data((1, 8, 8), augment=self._shift_and_add_noise)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        return digit_fields((1, 8, 8), self.config.classes)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return noise: `inputs` float32 (n, 1, 8, 8), `targets` int64 (n,)."""
        return random_digits(random, batch_size, (1, 8, 8))

    def torch(self) -> DigitsResnetTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.digits_resnet.model_torch import DigitsResnetTorch

        return DigitsResnetTorch(self.config)

    def _shift_and_add_noise(self, batch: HostBatch, random: np.random.Generator) -> HostBatch:
        """Move each image by whole pixels, filling in background, and add noise."""
        inputs, reach = batch["inputs"], self.config.shift
        size = inputs.shape[-1]
        padding = ((0, 0), (0, 0), (reach, reach), (reach, reach))
        padded = np.pad(inputs, padding, constant_values=BACKGROUND)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
        down, right = random.integers(0, 2 * reach + 1, size=(2, len(inputs)))
        shifted = windows[np.arange(len(inputs)), :, down, right]
        noise = random.standard_normal(shifted.shape, dtype=np.float32)
        return {**batch, "inputs": shifted + np.float32(self.config.noise) * noise}
