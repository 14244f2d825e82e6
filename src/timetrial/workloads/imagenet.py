"""What the workloads on ImageNet share without PyTorch: shapes of a batch, and random ones."""

from __future__ import annotations

import numpy as np

from timetrial.workloads.base import HostBatch
from timetrial.workloads.batches import EXAMPLES, Axis, Field, Fields

CHANNELS = 3
"""Red, green, blue."""


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

    One weight is drawn from Beta(0.2, 0.2) a batch; every image is mixed with the one before it
    (Zhang et al. 2018, "mixup"; spec: workloads/imagenet_vit.md, 1).
    """
    batch = random_images(random, batch_size, image_size=image_size, classes=classes)
    weight = np.float32(random.beta(0.2, 0.2))
    one_hot = np.eye(classes, dtype=np.float32)[batch["targets"]]
    images = {"inputs": batch["inputs"], "targets": one_hot}
    return {name: weight * x + (1 - weight) * np.roll(x, 1, axis=0) for name, x in images.items()}
