"""What the workloads on ImageNet share without PyTorch: shapes of a batch, random ones, and the generated dataset."""

from __future__ import annotations

from functools import partial

import numpy as np

from timetrial.api import LossType
from timetrial.workloads.base import Config, HostBatch, Workload
from timetrial.workloads.batches import EXAMPLES, Axis, Field, Fields
from timetrial.workloads.generated import Generated
from timetrial.workloads.imagenet_generator import MINI, TINY, generate
from timetrial.workloads.imagenet_preprocessing import CHANNELS, mix, mixup_weight
from timetrial.workloads.imagenet_recipe import ImagenetRecipe

DATASETS = {
    "mini": Generated(
        name="imagenet-mini",
        sha256="85e14c076b3780a526fc3cd526808a0473dc3798575822e7a2d369067855aecf",
        generate=partial(generate, MINI),
    ),
    "tiny": Generated(
        name="imagenet-tiny",
        sha256="7aa12a182956d89dc3ecec4c9436f272c4da9e1a03da6f354a294e10975b5e75",
        generate=partial(generate, TINY),
    ),
}
"""Shared by the workloads, so that the cache holds each once."""


class ImagenetWorkload(Workload[Config]):
    """A workload on ImageNet, generated or prepared; both are shared, so that they are kept once."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY
    datasets = DATASETS

    def recipe(self) -> ImagenetRecipe:
        """Return how ImageNet is prepared."""
        return ImagenetRecipe(published=self.preset == "full")


def image_fields(*, classes: int, multiple_of: int = 1) -> Fields:
    """Return what the arrays of a batch must be: images of any size, class numbers or what mixup makes of them."""
    height, width = (Axis(name=name, multiple_of=multiple_of) for name in ("height", "width"))
    return {
        "inputs": Field(kind="numbers", axes=(EXAMPLES, CHANNELS, height, width)),
        "targets": (
            Field(kind="labels", axes=(EXAMPLES,), at_least=0, below=classes),
            Field(kind="probabilities", axes=(EXAMPLES, classes)),
        ),
        "weights": Field(kind="mask", axes=(EXAMPLES,), optional=True),
    }


def random_images(random: np.random.Generator, batch_size: int, *, image_size: int, classes: int) -> HostBatch:
    """Return `inputs`, float32 (n, 3, size, size) as if normalised, and `targets`, int64 (n,)."""
    shape = (batch_size, CHANNELS, image_size, image_size)
    return {
        "inputs": random.standard_normal(shape, dtype=np.float32),
        "targets": random.integers(0, classes, size=batch_size),
    }


def random_mixed_images(random: np.random.Generator, batch_size: int, *, image_size: int, classes: int) -> HostBatch:
    """Return what mixup makes of random images: `targets` are float32 (n, classes), each row of two labels.

    See `imagenet_preprocessing.mix`.
    """
    batch = random_images(random, batch_size, image_size=image_size, classes=classes)
    mixed = {"inputs": batch["inputs"], "targets": np.eye(classes, dtype=np.float32)[batch["targets"]]}
    weight = mixup_weight(random)
    for values in mixed.values():
        mix(values, weight)
    return mixed
