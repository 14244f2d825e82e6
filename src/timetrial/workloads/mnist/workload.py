"""MNIST with one hidden layer of sigmoids, a development workload (spec: workloads/mnist.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timetrial.api import LossType
from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import SPLITS, Data, HostBatch, Workload
from timetrial.workloads.batches import Fields
from timetrial.workloads.digits import digit_fields
from timetrial.workloads.mnist.recipe import CLASSES, PIXELS, MnistRecipe
from timetrial.workloads.sources import ArrayData

if TYPE_CHECKING:
    from timetrial.workloads.mnist.model_torch import MnistTorch

MEAN, STD = 0.1307, 0.3081
"""Of levels from 0 to 1, and yet applied to levels from 0 to 255 (spec: workloads/mnist.md, 1)."""

EVAL_TRAIN = 10_000
"""An evaluation's `train` split is the first so many training images."""


@dataclass(frozen=True, kw_only=True)
class MnistConfig:
    """Size of the perceptron; the default is the published one's."""

    hidden: int = 128


class Mnist(Workload[MnistConfig]):
    """MNIST, one hidden layer, accuracy."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY
    presets = {"full": MnistConfig(), "tiny": MnistConfig(hidden=16)}
    batch_sizes = {"tiny": 8}

    def recipe(self) -> MnistRecipe:
        """Return how MNIST is prepared."""
        return MnistRecipe(published=self.preset == "full")

    def data_prepared(self, prepared: Prepared) -> Data:
        """Return the prepared images, normalised."""
        splits = {split: {name: array[:] for name, array in prepared.arrays(split).items()} for split in SPLITS}
        return ArrayData.of_splits(splits, slice(EVAL_TRAIN), prepare=normalise)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        return digit_fields((1, PIXELS, PIXELS), CLASSES)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return noise: `inputs` float32 (n, 1, 28, 28), `targets` int64 (n,)."""
        return {
            "inputs": random.standard_normal((batch_size, 1, PIXELS, PIXELS), dtype=np.float32),
            "targets": random.integers(0, CLASSES, size=batch_size),
        }

    def torch(self) -> MnistTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.mnist.model_torch import MnistTorch

        return MnistTorch(self.config)


def normalise(batch: HostBatch) -> HostBatch:
    """Return stored images, uint8 (n, 28, 28), as float32 (n, 1, 28, 28), and their labels as int64."""
    levels = batch["inputs"][:, None].astype(np.float32)
    return {"inputs": (levels - np.float32(MEAN)) / np.float32(STD), "targets": batch["targets"].astype(np.int64)}
