"""Generated images in memory: what evaluations see, and training batches with crops, flips and mixup."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from timetrial.workloads.base import HostBatch, Split
from timetrial.workloads.imagenet_preprocessing import (
    Crops,
    RandomCrops,
    bicubic_transform,
    mix,
    mixup_weight,
    normalise,
    validation_transform,
)
from timetrial.workloads.sources import ArrayData, ArraySource

EVAL_TRAIN = 100
"""An evaluation's `train` split is the first 100 training images."""

_DRAWN = 64
"""Batches whose crops are drawn at once: for one alone drawing takes a fifth of the time that it takes to make."""


def images_data(
    arrays: HostBatch, *, image_size: int, crop_area: tuple[float, float], mixup_classes: int | None = None
) -> ImagesData:
    """Return generated images, cropped and flipped for training, and mixed where `mixup_classes` says of how many.

    What evaluations see is made once and kept, 12 kB an image of `mini`, and so are normalised training images.
    """
    inputs, targets = arrays["train_inputs"], arrays["train_targets"]
    evaluated: dict[Split, tuple[np.ndarray, np.ndarray]] = {
        "train": (validation_transform(inputs[:EVAL_TRAIN], image_size), targets[:EVAL_TRAIN]),
        "validation": (validation_transform(arrays["validation_inputs"], image_size), arrays["validation_targets"]),
        "test": (bicubic_transform(arrays["test_inputs"], image_size), arrays["test_targets"]),
    }
    evaluation: dict[Split, HostBatch] = {
        split: {"inputs": images, "targets": labels.astype(np.int64)} for split, (images, labels) in evaluated.items()
    }
    train = {"inputs": normalise(inputs), "targets": targets.astype(np.int64)}
    return ImagesData(train, evaluation, RandomCrops(inputs.shape[-1], image_size, crop_area), mixup_classes)


class ImagesData(ArrayData):
    """Images of a few thousand pixels that fit in memory; implements `timetrial.workloads.base.Data`."""

    def __init__(
        self,
        train: HostBatch,
        evaluation: Mapping[Split, HostBatch],
        crops: RandomCrops,
        mixup_classes: int | None = None,
    ) -> None:
        """Take normalised training images and what evaluations see; see `ImageSource`."""
        super().__init__(train, evaluation)
        self._crops = crops
        self._mixup_classes = mixup_classes

    def train_source(
        self, seed: np.random.SeedSequence, batch_size: int, *, rank: int = 0, ranks: int = 1
    ) -> ImageSource:
        """Return the training data, reshuffled every epoch and cropped anew at every step."""
        return ImageSource(
            self._train, batch_size, seed, self._crops, mixup_classes=self._mixup_classes, rank=rank, ranks=ranks
        )


class ImageSource(ArraySource):
    """Training batches of images: crops, flips, and mixup where asked.

    Chance is drawn for `_DRAWN` batches at once; the batch of a step is a function of seed and step all the same.
    """

    def __init__(
        self,
        train: HostBatch,
        batch_size: int,
        seed: np.random.SeedSequence,
        crops: RandomCrops,
        *,
        mixup_classes: int | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Crop with `crops`; with `mixup_classes`, mix examples and give targets as float32 (n, mixup_classes)."""
        super().__init__(train, batch_size, seed, rank=rank, ranks=ranks)
        self._crops = crops
        self._identity = None if mixup_classes is None else np.eye(mixup_classes, dtype=np.float32)
        self._drawn: tuple[int, Crops, list[np.float32]] | None = None

    def batch(self, index: int) -> HostBatch:
        """Return the batch of step `index`, counted from 0: `inputs` float32 (n, 3, size, size), and `targets`."""
        which = self._shuffle.rows(index * self._batch_size, self._batch_size)
        crops, weight = self._chance(index)
        inputs = self._crops(self._arrays["inputs"], which, crops)
        targets = self._arrays["targets"][which]
        if self._identity is not None:
            targets = self._identity[targets]
            mix(inputs, weight)
            mix(targets, weight)
        return {"inputs": inputs[self._own], "targets": targets[self._own]}

    def _chance(self, index: int) -> tuple[Crops, np.float32]:
        """Return a step's crops and its weight of mixup, drawn together with those of the steps around it."""
        block, place = divmod(index, _DRAWN)
        if self._drawn is None or self._drawn[0] != block:
            random = self._shuffle.augmentation(block)
            drawn = self._crops.draw(random, _DRAWN * self._batch_size)
            self._drawn = block, drawn, [mixup_weight(random) for _ in range(_DRAWN)]
        _, crops, weights = self._drawn
        own = slice(place * self._batch_size, (place + 1) * self._batch_size)
        return Crops(crops.rows[own], crops.columns[own]), weights[place]
