"""CIFAR-10 with ResNet-18 for small images, a development workload (spec: workloads/cifar.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timetrial.api import LossType
from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import SPLITS, Data, HostBatch, Split, Workload
from timetrial.workloads.batches import Fields
from timetrial.workloads.cifar.recipe import CHANNELS, CLASSES, PIXELS, CifarRecipe
from timetrial.workloads.digits import digit_fields
from timetrial.workloads.imagenet import random_images
from timetrial.workloads.sources import ArrayData, fixed_subset

if TYPE_CHECKING:
    from timetrial.workloads.cifar.model_torch import CifarTorch

MEAN = np.array([0.49139968, 0.48215827, 0.44653124])
"""Of red, green and blue, where 1 is the largest level (spec: workloads/cifar.md, 1)."""
STD = np.array([0.24703233, 0.24348505, 0.26158768])

_PADDING = 4
"""Black pixels on each side, of which training crops may hold some."""

EVAL_TRAIN = 5_120


@dataclass(frozen=True, kw_only=True)
class CifarConfig:
    """Sizes of the residual network; the defaults are ResNet-18's."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of each stage; every stage but the first halves the image."""
    blocks: int = 2
    """Blocks of each stage."""


class Cifar(Workload[CifarConfig]):
    """CIFAR-10, shifted and mirrored, a residual network with batch norm, accuracy."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY
    presets = {"full": CifarConfig(), "tiny": CifarConfig(widths=(4, 8), blocks=1)}
    batch_sizes = {"tiny": 8}

    def recipe(self) -> CifarRecipe:
        """Return how CIFAR-10 is prepared."""
        return CifarRecipe(published=self.preset == "full")

    def data_prepared(self, prepared: Prepared) -> Data:
        """Return the prepared images: shifted and mirrored for training, normalised."""
        splits = {split: {name: array[:] for name, array in prepared.arrays(split).items()} for split in SPLITS}
        train = splits["train"]
        chosen = fixed_subset(len(train["targets"]), EVAL_TRAIN)
        evaluation: dict[Split, HostBatch] = {
            **splits,
            "train": {name: array.take(chosen, axis=0) for name, array in train.items()},
        }
        return ArrayData(train, evaluation, prepare=normalise, augment=shift_and_mirror)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        return digit_fields((CHANNELS, PIXELS, PIXELS), CLASSES)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return noise: `inputs` float32 (n, 3, 32, 32), `targets` int64 (n,)."""
        return random_images(random, batch_size, image_size=PIXELS, classes=CLASSES)

    def torch(self) -> CifarTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.cifar.model_torch import CifarTorch

        return CifarTorch(self.config)


_SCALE = (1 / (255 * STD))[:, None, None].astype(np.float32)
_SHIFT = (MEAN / STD)[:, None, None].astype(np.float32)


def normalise(batch: HostBatch) -> HostBatch:
    """Return stored images, uint8 (n, 3, 32, 32), as float32, less the mean, and their labels as int64."""
    inputs = batch["inputs"] * _SCALE
    inputs -= _SHIFT
    return {"inputs": inputs, "targets": batch["targets"].astype(np.int64)}


def shift_and_mirror(batch: HostBatch, random: np.random.Generator) -> HostBatch:
    """Return random crops of the images with black pixels around them, half of the crops mirrored, normalised."""
    images = batch["inputs"]
    count = len(images)
    sides = ((0, 0), (0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, sides), (PIXELS, PIXELS), axis=(2, 3))
    down, right = random.integers(0, 2 * _PADDING + 1, size=(2, count))
    crops = windows[np.arange(count), :, down, right]
    mirrored = random.integers(0, 2, count).astype(bool)
    crops[mirrored] = crops[mirrored, ..., ::-1]
    return normalise({"inputs": crops, "targets": batch["targets"]})
