"""Prepared ImageNet as training and evaluation data: records, decoded and transformed in threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from timetrial.errors import UserError
from timetrial.prepared.folder import Prepared
from timetrial.prepared.records import Records
from timetrial.workloads.base import SPLITS, HostBatch, Split
from timetrial.workloads.example_sources import EvaluationSplit, ExampleData
from timetrial.workloads.imagenet_images import (
    RECORDS,
    normalised,
    read_record,
    test_image,
    training_image,
    validation_image,
)
from timetrial.workloads.imagenet_preprocessing import mixup_weight

if TYPE_CHECKING:
    from PIL.Image import Image

Augment: TypeAlias = "Callable[[Image, np.random.Generator], Image]"

_EVAL_TRAIN_SEED = 20261124
"""Of the training images that are evaluated: the same ones in every trial, where the public code draws them anew."""


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """Makes the examples of prepared images."""

    records: dict[Split, Records]
    size: int
    crop_area: tuple[float, float]
    classes: int
    augment: Augment | None
    mixed: bool
    eval_train: np.ndarray
    """Numbers of the training images that an evaluation's `train` split holds."""

    def train(self, number: int, random: np.random.Generator) -> HostBatch:
        """Return a training example: cropped, mirrored and augmented at random."""
        image, label = read_record(self.records["train"].read(number))
        image = training_image(image, random, self.size, self.crop_area)
        if self.augment is not None:
            image = self.augment(image, random)
        return {"inputs": normalised(image), "targets": self._one_hot(label) if self.mixed else label}

    def _one_hot(self, label: np.ndarray) -> np.ndarray:
        targets = np.zeros(self.classes, np.float32)
        targets[label] = 1
        return targets

    def train_evaluation(self, number: int) -> HostBatch:
        """Return an example of an evaluation's `train` split."""
        image, label = read_record(self.records["train"].read(int(self.eval_train[number])))
        return {"inputs": validation_image(image, self.size), "targets": label}

    def validation(self, number: int) -> HostBatch:
        """Return an example of the validation split."""
        image, label = read_record(self.records["validation"].read(number))
        return {"inputs": validation_image(image, self.size), "targets": label}

    def test(self, number: int) -> HostBatch:
        """Return an example of the test split."""
        image, label = read_record(self.records["test"].read(number))
        return {"inputs": test_image(image, self.size), "targets": label}


def prepared_images_data(
    prepared: Prepared,
    *,
    image_size: int,
    classes: int,
    crop_area: tuple[float, float],
    eval_train: int,
    augment: Augment | None = None,
    mixed: bool = False,
    threads: int | None = None,
) -> ExampleData:
    """Return prepared images, cropped and mirrored for training, and augmented and mixed where asked.

    An evaluation's `train` split is `eval_train` training images, or all where there are fewer. Raises UserError
    where the images have more classes than the model.
    """
    found = max(int(prepared.array(split, "labels")[:].max()) for split in SPLITS) + 1
    if found > classes:
        raise UserError(f"{prepared.folder}: holds images of {found} classes; this preset's model knows {classes}")
    records: dict[Split, Records] = {}
    for split in SPLITS:
        counts = [part.examples for part in prepared.manifest.parts if part.split == split]
        records[split] = Records(prepared.files(split, RECORDS), counts)
    order = np.random.Generator(np.random.PCG64(_EVAL_TRAIN_SEED)).permutation(len(records["train"]))
    images = PreparedImages(
        records=records,
        size=image_size,
        crop_area=crop_area,
        classes=classes,
        augment=augment,
        mixed=mixed,
        eval_train=np.sort(order[:eval_train]),  # in the order of the files
    )
    examples: dict[Split, EvaluationSplit] = {
        "train": EvaluationSplit(examples=len(images.eval_train), example=images.train_evaluation),
        "validation": EvaluationSplit(examples=len(records["validation"]), example=images.validation),
        "test": EvaluationSplit(examples=len(records["test"]), example=images.test),
    }
    return ExampleData(len(records["train"]), images.train, examples, mix=mix_rows if mixed else None, threads=threads)


def mix_rows(batch: HostBatch, before: HostBatch, random: np.random.Generator) -> HostBatch:
    """Mix rows with those before them, by the weight that the step's generator draws."""
    weight = mixup_weight(random)
    mixed = {name: values * weight for name, values in batch.items()}
    for name, values in before.items():
        mixed[name] += (np.float32(1) - weight) * values
    return mixed
