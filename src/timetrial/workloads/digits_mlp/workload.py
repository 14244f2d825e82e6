"""Handwritten digits with one hidden layer of sigmoids: the benchmark's MNIST model in small.

Source: spec: workloads/mnist.md (model, loss, metric); the data are `timetrial.workloads.digits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timetrial.api import LossType
from timetrial.workloads import digits
from timetrial.workloads.base import BatchSource, HostBatch, Split, Workload
from timetrial.workloads.sources import ArraySource

if TYPE_CHECKING:
    from timetrial.workloads.digits_mlp.model_torch import DigitsMlpTorch


@dataclass(frozen=True, kw_only=True)
class DigitsMlpConfig:
    """Sizes of the perceptron."""

    pixels: int = 64
    hidden: int
    classes: int = 10


class DigitsMlp(Workload[DigitsMlpConfig]):
    """1,000 digits, one hidden layer, accuracy."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY
    presets = {"mini": DigitsMlpConfig(hidden=128), "tiny": DigitsMlpConfig(hidden=16)}

    @property
    def train_examples(self) -> int:
        """Number of examples in the training split."""
        return digits.SIZES["train"]

    def train_source(self, seed: np.random.SeedSequence, batch_size: int) -> BatchSource:
        """Return the training digits, reshuffled every epoch."""
        return ArraySource(digits.shaped(digits.splits()["train"], "flat"), batch_size, seed)

    def eval_batches(self, split: Split, batch_size: int) -> Iterator[HostBatch]:
        """Yield an evaluation split once, in order."""
        return digits.eval_batches(split, batch_size, "flat")

    def eval_examples(self, split: Split) -> int:
        """Return how many examples `eval_batches` yields in all."""
        return digits.eval_examples(split)

    def torch(self) -> DigitsMlpTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.digits_mlp.model_torch import DigitsMlpTorch

        return DigitsMlpTorch(self.config)
