"""Accelerated MRI: single-coil knee slices of fastMRI, reconstructed by a U-Net.

Sources: Zbontar et al. 2018, "fastMRI: An Open Dataset and Benchmarks for Accelerated MRI" (arXiv 1811.08839);
Ronneberger et al. 2015, "U-Net" (arXiv 1505.04597); sizes and details: spec: workloads/fastmri.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from timetrial.api import LossType
from timetrial.workloads.base import SPLITS, HostBatch, Workload
from timetrial.workloads.batches import EXAMPLES, Axis, Field, Fields
from timetrial.workloads.fastmri.generator import MINI, TINY, generate
from timetrial.workloads.fastmri.preprocessing import (
    CLIP,
    EVALUATION_SEED,
    column_masks,
    fold_in,
    prepare,
    reconstruct,
    volume_maxima,
)
from timetrial.workloads.fastmri.recipe import FastmriRecipe
from timetrial.workloads.generated import Generated
from timetrial.workloads.sources import ArrayData

if TYPE_CHECKING:
    from timetrial.prepared.folder import Prepared
    from timetrial.workloads.fastmri.data import FastmriData
    from timetrial.workloads.fastmri.model_torch import FastmriTorch


_TRAINING_SEED = (20261124, 0)
"""Seed of the training slices' masks: with each slice's number folded in, it fixes its mask for good."""

_EVAL_TRAIN_EVERY = 48
"""Of the training slices, an evaluation's `train` split is every 48th."""


@dataclass(frozen=True, kw_only=True)
class FastmriConfig:
    """Size of the images and of the U-Net."""

    image_size: int = 320
    """Height and width of the slices; the network takes any size."""
    pool_levels: int = 4
    """How often the image is halved on the way down."""
    channels: int = 32
    """Channels of the first level; each level below has twice as many."""
    activation: Literal["leaky_relu", "tanh"] = "leaky_relu"
    layer_norm: bool = False
    """Whether convolution blocks normalise over channels and pixels (affine) rather than each channel alone."""
    dropout: float = 0.0
    """Default rate at which the convolution blocks drop channels."""


class Fastmri(Workload[FastmriConfig]):
    """Aliased slice in, clean slice out: U-Net, absolute error, structural similarity.

    A batch: `inputs` and `targets` float32 (n, height, width), in units of the input slice's own mean and standard
    deviation; `mean`, `std` and `volume_max` float32 (n,), which undo that for the evaluation; `weights` (n,) only
    where rows are padding.
    """

    loss_type = LossType.MEAN_ABSOLUTE_ERROR
    presets = {
        "full": FastmriConfig(),
        "mini": FastmriConfig(image_size=40, pool_levels=2, channels=12),
        "tiny": FastmriConfig(image_size=16, pool_levels=2, channels=4),
    }
    batch_sizes = {"mini": 8, "tiny": 4}
    """A step takes 36 ms at `mini`, of which NAdamW 1.1, and 3.7 ms at `tiny`."""
    datasets = {
        "mini": Generated(
            name="fastmri-mini",
            sha256="d1ae579dc816e8fa35c4ef1512ef652efceeb5115cf0f38d966e35ed60366094",
            generate=partial(generate, MINI),
        ),
        "tiny": Generated(
            name="fastmri-tiny",
            sha256="c3fd710285f255423784f113427922b3d63761584af830e406b312241d6848c2",
            generate=partial(generate, TINY),
        ),
    }
    variants = {
        "model_size": lambda config: replace(config, pool_levels=config.pool_levels - 1, channels=2 * config.channels),
        "tanh": lambda config: replace(config, activation="tanh"),
        "layernorm": lambda config: replace(config, layer_norm=True),
    }

    def torch(self) -> FastmriTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.fastmri.model_torch import FastmriTorch

        return FastmriTorch(self.config)

    def recipe(self) -> FastmriRecipe:
        """Return how the volumes are prepared; see `Workload.recipe`."""
        full = self.preset == "full"
        return FastmriRecipe(image_size=self.config.image_size, part_volumes=8 if full else 2, published=full)

    def data_prepared(self, prepared: Prepared) -> FastmriData:
        """Return the prepared slices, masked, reconstructed and normalised as they are read."""
        from timetrial.workloads.fastmri.data import FastmriData

        return FastmriData(prepared, self.config.image_size)

    def data_from(self, arrays: HostBatch) -> ArrayData:
        """Mask, reconstruct and normalise all slices, once: a training slice keeps its mask for the whole run."""
        splits = {split: self._slices(split, arrays) for split in SPLITS}
        return ArrayData.of_splits(splits, slice(None, None, _EVAL_TRAIN_EVERY))

    def _slices(self, split: str, arrays: HostBatch) -> HostBatch:
        """Return a split as the model takes it; see `timetrial.workloads.fastmri.preprocessing.prepare`."""
        stored = arrays[f"{split}_kspace"].astype(np.float32)
        kspace = stored.view(np.complex64)[..., 0]
        numbers = np.arange(len(kspace))
        seeds = fold_in(_TRAINING_SEED, numbers) if split == "train" else np.array([EVALUATION_SEED] * len(kspace))
        references = reconstruct(kspace, self.config.image_size)
        maxima = volume_maxima(references, arrays[f"{split}_volume"])
        return prepare(kspace, column_masks(seeds, kspace.shape[2]), references, maxima)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be; an image keeps a pixel after all halvings."""
        smallest = 2**self.config.pool_levels
        sides = (Axis(name="height", at_least=smallest), Axis(name="width", at_least=smallest))
        image = Field(kind="numbers", axes=(EXAMPLES, *sides), at_least=-CLIP, at_most=CLIP)
        return {
            "inputs": image,
            "targets": image,
            "mean": Field(kind="numbers", axes=(EXAMPLES,)),
            "std": Field(kind="numbers", axes=(EXAMPLES,), at_least=0),
            "volume_max": Field(kind="numbers", axes=(EXAMPLES,), at_least=0),
            "weights": Field(kind="mask", axes=(EXAMPLES,), optional=True),
        }

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of the right shapes and dtypes: noise, and targets that correlate with it."""
        shape = (batch_size, self.config.image_size, self.config.image_size)
        inputs = random.standard_normal(shape, np.float32)
        noise = random.standard_normal(shape, np.float32)
        return {
            "inputs": inputs.clip(-CLIP, CLIP),
            "targets": ((inputs + noise) / 2).clip(-CLIP, CLIP),
            "mean": random.uniform(0.5, 1.0, batch_size).astype(np.float32),
            "std": random.uniform(0.5, 1.0, batch_size).astype(np.float32),
            "volume_max": random.uniform(3.0, 6.0, batch_size).astype(np.float32),
        }
