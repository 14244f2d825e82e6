"""Handwritten digits with one hidden layer of sigmoids: the benchmark's MNIST model in small.

Source: spec: workloads/mnist.md (model, loss, metric); the data are `timetrial.workloads.digits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.batches import Fields
from timetrial.workloads.digits import DigitsWorkload, digit_fields, digits_data, random_digits

if TYPE_CHECKING:
    from timetrial.workloads.digits_mlp.model_torch import DigitsMlpTorch


@dataclass(frozen=True, kw_only=True)
class DigitsMlpConfig:
    """Sizes of the perceptron."""

    pixels: int = 64
    hidden: int
    classes: int = 10


class DigitsMlp(DigitsWorkload[DigitsMlpConfig]):
    """1,000 digits, one hidden layer, accuracy."""

    presets = {"mini": DigitsMlpConfig(hidden=256), "tiny": DigitsMlpConfig(hidden=16)}
    batch_sizes = {"mini": 64, "tiny": 16}

    def data(self) -> Data:
        """Return the digits."""
        return digits_data((self.config.pixels,))

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        return digit_fields((self.config.pixels,), self.config.classes)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return noise: `inputs` float32 (n, 64), `targets` int64 (n,)."""
        return random_digits(random, batch_size, (self.config.pixels,))

    def torch(self) -> DigitsMlpTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.digits_mlp.model_torch import DigitsMlpTorch

        return DigitsMlpTorch(self.config)
