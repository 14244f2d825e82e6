"""ImageNet with ViT-S/16 (spec: workloads/imagenet_vit.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.batches import Fields
from timetrial.workloads.imagenet import ImagenetWorkload, image_fields, random_mixed_images
from timetrial.workloads.imagenet_generated import images_data
from timetrial.workloads.imagenet_prepared import prepared_images_data
from timetrial.workloads.imagenet_vit.randaugment import RandAugment

if TYPE_CHECKING:
    from timetrial.workloads.imagenet_vit.model_torch import ImagenetVitTorch


EVAL_TRAIN = 51_200
"""Training images of an evaluation, at the published size (spec: workloads/imagenet_vit.md, 1)."""


@dataclass(frozen=True, kw_only=True)
class ImagenetVitConfig:
    """Sizes and switches of the vision transformer; the defaults are ViT-S/16's."""

    image_size: int = 224
    """Height and width of training images in pixels; the network takes any multiple of `patch`."""
    classes: int = 1000
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Range of the part of an image that a training crop covers."""
    patch: int = 16
    """Height and width of the patch that becomes one token, in pixels."""
    width: int = 384
    """Features of a token: a multiple of 4 (the positions) and of `heads`."""
    depth: int = 12
    """Encoder blocks."""
    hidden: int = 1536
    """Width of the hidden layer of the MLPs."""
    heads: int = 6
    dropout: float = 0.0
    """Default dropout rate, after the positions, on attention probabilities, inside MLPs and after both parts."""
    gated: bool = False
    """Whether the MLPs of the encoder multiply the activated hidden layer by a linear map of it."""
    post_norm: bool = False
    """Whether layer norm stands behind each sum (and none at the end) rather than in front of each part."""
    attention_pooling: bool = False
    """Whether a learned query pools the tokens, rather than their mean."""


class ImagenetVit(ImagenetWorkload[ImagenetVitConfig]):
    """ImageNet with mixup, a vision transformer, accuracy."""

    presets = {
        "full": ImagenetVitConfig(),
        "mini": ImagenetVitConfig(
            image_size=32, classes=20, crop_area=(0.6, 1.0), patch=8, width=64, depth=3, hidden=256, heads=2
        ),
        "tiny": ImagenetVitConfig(
            image_size=16, classes=10, crop_area=(0.35, 1.0), patch=4, width=16, depth=2, hidden=32, heads=2
        ),
    }
    batch_sizes = {"mini": 64, "tiny": 8}
    """A step takes 24 ms at `mini`, of which AdamW 1.7, and 2.3 ms at `tiny`. The sketch's `mini` (spec:
    mini_suite.md), patches of 4 pixels and depth 5, took 108 ms with 32 images.
    """
    variants = {
        "glu": lambda config: replace(config, gated=True),
        "post_ln": lambda config: replace(config, post_norm=True),
        "map": lambda config: replace(config, attention_pooling=True),
    }

    def data_from(self, arrays: HostBatch) -> Data:
        """Return the generated images; see `images_data`."""
        config = self.config
        return images_data(
            arrays, image_size=config.image_size, crop_area=config.crop_area, mixup_classes=config.classes
        )

    def data_prepared(self, prepared: Prepared) -> Data:
        """Return the prepared images; see `prepared_images_data`."""
        config = self.config
        return prepared_images_data(
            prepared,
            image_size=config.image_size,
            classes=config.classes,
            crop_area=config.crop_area,
            eval_train=EVAL_TRAIN,
            augment=RandAugment(),
            mixed=True,
        )

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be; a part of a patch would be left out."""
        return image_fields(classes=self.config.classes, multiple_of=self.config.patch)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of mixed noise: `inputs` float32 (n, 3, size, size), `targets` float32 (n, classes)."""
        return random_mixed_images(random, batch_size, image_size=self.config.image_size, classes=self.config.classes)

    def torch(self) -> ImagenetVitTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.imagenet_vit.model_torch import ImagenetVitTorch

        return ImagenetVitTorch(self.config)
