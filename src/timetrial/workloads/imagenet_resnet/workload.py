"""ImageNet with ResNet-50 (spec: workloads/imagenet_resnet.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import Data, HostBatch
from timetrial.workloads.batches import Fields
from timetrial.workloads.imagenet import ImagenetWorkload, image_fields, random_images
from timetrial.workloads.imagenet_generated import images_data
from timetrial.workloads.imagenet_prepared import prepared_images_data

if TYPE_CHECKING:
    from timetrial.workloads.imagenet_resnet.model_torch import ImagenetResnetTorch


EVAL_TRAIN = 50_176
"""Training images of an evaluation, at the published size (spec: workloads/imagenet_resnet.md, 1)."""


@dataclass(frozen=True, kw_only=True)
class ImagenetResnetConfig:
    """Sizes and switches of the residual network; the defaults are ResNet-50's."""

    image_size: int = 224
    """Height and width of training images in pixels; the network takes any size."""
    classes: int = 1000
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Range of the part of an image that a training crop covers."""
    stem_kernel: int = 7
    """Kernel of the first convolution."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels inside the blocks of each stage; every stage but the first halves the image."""
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Bottleneck blocks of each stage."""
    expansion: int = 4
    """Channels at a block's output, as a multiple of those inside."""
    activation: Literal["relu", "silu", "gelu"] = "relu"
    """`gelu` is the tanh approximation."""
    last_norm_scale: float = 0.0
    """Initial scale of the last batch norm of every block; 0 lets each block start as its shortcut."""


class ImagenetResnet(ImagenetWorkload[ImagenetResnetConfig]):
    """ImageNet, a bottleneck residual network with batch norm, accuracy."""

    presets = {
        "full": ImagenetResnetConfig(),
        "mini": ImagenetResnetConfig(
            image_size=32, classes=20, crop_area=(0.35, 1.0), stem_kernel=3, widths=(24, 48, 96), blocks=(1, 1, 1)
        ),
        "tiny": ImagenetResnetConfig(
            image_size=16, classes=10, crop_area=(0.35, 1.0), stem_kernel=3, widths=(4, 8), blocks=(1, 1)
        ),
    }
    batch_sizes = {"mini": 64, "tiny": 8}
    """A step takes 40 ms at `mini`, of which AdamW 2.7, and 2.2 ms at `tiny`."""
    variants = {
        "silu": lambda config: replace(config, activation="silu"),
        "gelu": lambda config: replace(config, activation="gelu"),
        "large_bn_init": lambda config: replace(config, last_norm_scale=8.0),
    }

    def data_from(self, arrays: HostBatch) -> Data:
        """Return the generated images; see `images_data`."""
        config = self.config
        return images_data(arrays, image_size=config.image_size, crop_area=config.crop_area)

    def data_prepared(self, prepared: Prepared) -> Data:
        """Return the prepared images; see `prepared_images_data`."""
        config = self.config
        return prepared_images_data(
            prepared,
            image_size=config.image_size,
            classes=config.classes,
            crop_area=config.crop_area,
            eval_train=EVAL_TRAIN,
        )

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        return image_fields(classes=self.config.classes)

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of noise: `inputs` float32 (n, 3, size, size), `targets` int64 (n,)."""
        return random_images(random, batch_size, image_size=self.config.image_size, classes=self.config.classes)

    def torch(self) -> ImagenetResnetTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.imagenet_resnet.model_torch import ImagenetResnetTorch

        return ImagenetResnetTorch(self.config)
