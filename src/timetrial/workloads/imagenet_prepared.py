"""Prepared ImageNet as training and evaluation data: records, decoded and transformed in threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from timetrial.errors import UserError
from timetrial.prepared.folder import Prepared
from timetrial.prepared.records import Records
from timetrial.workloads.base import SPLITS, Split
from timetrial.workloads.example_sources import EvaluationSplit, ExampleData, Parts, Row, Rows
from timetrial.workloads.imagenet_images import (
    RECORDS,
    bands_of,
    image_of,
    mixed_levels,
    normalised,
    read_record,
    test_image,
    training_image,
    validation_image,
)
from timetrial.workloads.imagenet_preprocessing import mixup_weight
from timetrial.workloads.sources import fixed_subset

if TYPE_CHECKING:
    from PIL.Image import Image

Augment: TypeAlias = "Callable[[Image, np.random.Generator], Image]"


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

    def train(self, number: int, random: np.random.Generator) -> Parts:
        """Return a training example: levels, uint8 (3, size, size), cropped, mirrored and augmented at random."""
        levels, label = read_record(self.records["train"].read(number))
        bands = training_image(levels, random, self.size, self.crop_area)
        if self.augment is not None:
            bands = bands_of(self.augment(image_of(bands), random))
        return {"inputs": bands, "targets": self._one_hot(label) if self.mixed else label}

    def mix(self, own: Parts, before: Parts, random: np.random.Generator) -> Parts:
        """Return an example mixed with the one before it, by the weight that the step's generator draws.

        Levels are mixed before they are normalised, which is the same, and spares normalising both.
        """
        weight = mixup_weight(random)
        targets = weight * own["targets"] + (1 - weight) * before["targets"]
        return {"inputs": (own["inputs"], before["inputs"], weight), "targets": targets}

    def rows(self) -> Rows:
        """Return how images become rows of training batches: normalised there, which spares copying them."""
        write = _write_mixed if self.mixed else _write_normalised
        return {"inputs": Row(shape=(3, self.size, self.size), dtype=np.dtype(np.float32), write=write)}

    def _one_hot(self, label: np.ndarray) -> np.ndarray:
        targets = np.zeros(self.classes, np.float32)
        targets[label] = 1
        return targets

    def train_evaluation(self, number: int) -> Parts:
        """Return an example of an evaluation's `train` split."""
        levels, label = read_record(self.records["train"].read(int(self.eval_train[number])))
        return {"inputs": validation_image(levels, self.size), "targets": label}

    def validation(self, number: int) -> Parts:
        """Return an example of the validation split."""
        levels, label = read_record(self.records["validation"].read(number))
        return {"inputs": validation_image(levels, self.size), "targets": label}

    def test(self, number: int) -> Parts:
        """Return an example of the test split."""
        levels, label = read_record(self.records["test"].read(number))
        return {"inputs": test_image(levels, self.size), "targets": label}


def _write_normalised(row: np.ndarray, levels: np.ndarray) -> None:
    normalised(levels, row)


def _write_mixed(row: np.ndarray, mixed: tuple[np.ndarray, np.ndarray, np.float32]) -> None:
    mixed_levels(*mixed, row)


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
    records = {split: Records.of_split(prepared, split, RECORDS) for split in SPLITS}
    images = PreparedImages(
        records=records,
        size=image_size,
        crop_area=crop_area,
        classes=classes,
        augment=augment,
        mixed=mixed,
        eval_train=fixed_subset(len(records["train"]), eval_train),
    )
    examples: dict[Split, EvaluationSplit] = {
        "train": EvaluationSplit(examples=len(images.eval_train), example=images.train_evaluation),
        "validation": EvaluationSplit(examples=len(records["validation"]), example=images.validation),
        "test": EvaluationSplit(examples=len(records["test"]), example=images.test),
    }
    return ExampleData(
        len(records["train"]),
        images.train,
        examples,
        mix=images.mix if mixed else None,
        rows=images.rows(),
        threads=threads,
    )
