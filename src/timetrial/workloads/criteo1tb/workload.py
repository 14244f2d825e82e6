"""Click-through-rate prediction: DLRM on the Criteo 1TB click logs.

Source: Naumov et al. 2019, "Deep Learning Recommendation Model for Personalization and Recommendation Systems"
(arXiv 1906.00091); sizes and details: spec: workloads/criteo1tb.md.

Memory at full size: the table has 4,194,304 rows of 128 in float32, 2.1 GB, and is dense, as published. With AdamW it
is there four times, 8.6 GB: weights, gradient, two moments; the forward pass joins the table's four parameters in a
copy that is gone before the gradient comes. AdamW's update of whole lists of parameters holds a fifth for a moment,
10.7 GB (measured on the CPU with a quarter of the rows). Activations are some 50 kB an example, 13 GB for the
published batch of 262,144; a batch that does not fit is what `micro_batch` is for (`timetrial.api.Task.backward`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from timetrial.api import LossType
from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import SPLITS, HostBatch, Workload
from timetrial.workloads.batches import EXAMPLES, Field, Fields, bad_batch
from timetrial.workloads.criteo1tb.data import ClickData
from timetrial.workloads.criteo1tb.generator import Sizes, generate, is_wide
from timetrial.workloads.criteo1tb.preprocessing import DictionaryCoded
from timetrial.workloads.criteo1tb.recipe import CriteoRecipe
from timetrial.workloads.generated import Generated
from timetrial.workloads.sources import ArrayData

if TYPE_CHECKING:
    from timetrial.workloads.criteo1tb.model_torch import CriteoTorch

# fmt: off
FIELD_SIZES = (
    39_884_406, 39_043, 17_289, 7_420, 20_263, 3, 7_120, 1_543, 63, 38_532_951, 2_953_546, 403_346, 10,
    2_208, 11_938, 155, 4, 976, 14, 39_979_771, 25_641_295, 39_664_984, 585_935, 12_972, 108, 36,
)
"""Number of hash buckets of each of the 26 categorical fields (spec: workloads/criteo1tb.md, 1)."""

MINI_FIELD_SIZES = (
    20_000, 2_000, 1_000, 250, 1_000, 10, 250, 200, 60, 10_000, 5_000, 2_000, 10,
    200, 1_000, 150, 10, 900, 15, 5_000, 3_000, 2_500, 1_500, 1_000, 100, 40,
)
"""Vocabularies from 10 to 20,000 for the generated data (spec: mini_suite.md, sketches)."""
# fmt: on
TINY_FIELD_SIZES = (10,) * 26

MINI = Sizes(field_sizes=MINI_FIELD_SIZES, train=1_792 * 1_024, validation=24_576, test=8_192, seed=20_260_806)
TINY = Sizes(field_sizes=TINY_FIELD_SIZES, train=4_096, validation=512, test=256, seed=20_260_806)

EVAL_TRAIN = {"full": 83_279_872, "mini": 1_024, "tiny": 256}
"""An evaluation's `train` split is so many of the first training examples (full: 10,166 batches of 8,192)."""

BLOCK_LINES = {"full": 5_000_000, "mini": 16_384, "tiny": 64}
"""Lines of the real logs that stay together when an epoch is shuffled; full: spec: workloads/criteo1tb.md, 1."""


@dataclass(frozen=True, kw_only=True)
class CriteoConfig:
    """Sizes of the fields and of the DLRM."""

    dense_fields: int = 13
    field_sizes: tuple[int, ...] = FIELD_SIZES
    """Number of categories of each categorical field."""
    table_rows: int
    """Rows of the embedding table that all fields share: a category's row is its number modulo this."""
    table_chunks: int = 4
    """The table is stored as so many parameters of equal size, as in the reference."""
    embedding_width: int = 128
    bottom_widths: tuple[int, ...] = (512, 256, 128)
    """Layers of the perceptron on the dense fields; with dot interactions the last is `embedding_width` wide."""
    top_widths: tuple[int, ...] = (1024, 1024, 512, 256, 1)
    """Layers of the perceptron on the interactions."""
    layer_norm: bool = False
    """Whether a layer norm follows each hidden activation and the embeddings (not with `residual`)."""
    residual: bool = False
    """Whether hidden layers of equal width are residual; the interactions then are the plain concatenation."""
    embedding_scale: float | None = None
    """Embeddings start uniform in [0, scale); None is 1 / sqrt(table_rows)."""
    dropout: float = 0.0
    """Default rate of the dropout before the output layer."""


def _with_residual_layers(config: CriteoConfig) -> CriteoConfig:
    """Return residual perceptrons of half the width of the base's first layers (256 at full size)."""
    width = config.bottom_widths[0] // 2
    return replace(
        config, residual=True, bottom_widths=(width, width, width), top_widths=(width, width, width, width, 1)
    )


class Criteo1tb(Workload[CriteoConfig]):
    """13 dense and 26 categorical fields, DLRM, cross entropy of the click.

    A batch: `inputs` float32 (n, 39), first the dense fields as log(1 + x), then the categories' numbers;
    `targets` float32 (n,), 0 or 1; `weights` (n,), 0 where a row is padding.

    The model takes any number for a category, cut to an integer and modulo the table's rows: that it is one of its
    field is for `check_batch` to see.
    """

    loss_type = LossType.SIGMOID_CROSS_ENTROPY
    presets = {
        "full": CriteoConfig(table_rows=4_194_304),
        "mini": CriteoConfig(
            field_sizes=MINI_FIELD_SIZES,
            # 57,195 categories share these rows. At 60,000 x 32 AdamW on the dense table would take 40 % of a step. At
            # 12,288 x 16 Shampoo's step, with statistics that it does not keep of the full table, was twice NAdamW's.
            table_rows=4_096,
            embedding_width=32,
            bottom_widths=(128, 64, 32),
            top_widths=(256, 128, 1),
        ),
        "tiny": CriteoConfig(
            field_sizes=TINY_FIELD_SIZES,
            table_rows=256,
            embedding_width=8,
            bottom_widths=(16, 8),
            top_widths=(32, 16, 1),
        ),
    }
    batch_sizes = {"mini": 1024, "tiny": 8}
    """A step takes 18 ms at `mini`, of which AdamW 1.7, and 0.9 ms at `tiny`."""
    variants = {
        "test": lambda config: replace(config, table_rows=min(65_536, config.table_rows)),
        "layernorm": lambda config: replace(config, layer_norm=True),
        "embed_init": lambda config: replace(config, embedding_scale=1.0),
        "resnet": _with_residual_layers,
    }

    datasets = {
        "mini": Generated(
            name="criteo1tb-mini",
            sha256="90f3e176ece6b8d333d06dca021b5a13fef0df8a5dda94630f70b2dbbb78599a",
            generate=partial(generate, MINI),
        ),
        "tiny": Generated(
            name="criteo1tb-tiny",
            sha256="4397c1945bd117f220836820d0440643f7610b956724b2fa55b5644ce460bb8a",
            generate=partial(generate, TINY),
        ),
    }

    def data_from(self, arrays: HostBatch) -> ArrayData:
        """Return the generated logs, hashed and with counts in logarithms."""

        fields = ("dense", "narrow", "wide", "labels")
        splits = {split: {name: arrays[f"{split}_{name}"] for name in fields} for split in SPLITS}
        sizes = self.config.field_sizes
        prepare = DictionaryCoded(arrays["counts"], arrays["categories"], sizes, is_wide(sizes))
        return ArrayData.of_splits(splits, slice(EVAL_TRAIN[self.preset]), prepare=prepare)

    def recipe(self) -> CriteoRecipe:
        """Return how the real logs are prepared."""
        return CriteoRecipe(
            field_sizes=self.config.field_sizes,
            block_lines=BLOCK_LINES[self.preset],
            published=self.preset == "full",
        )

    def data_prepared(self, prepared: Prepared) -> ClickData:
        """Return the real logs."""
        return ClickData(prepared, self.config.field_sizes, BLOCK_LINES[self.preset], EVAL_TRAIN[self.preset])

    def torch(self) -> CriteoTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.criteo1tb.model_torch import CriteoTorch

        return CriteoTorch(self.config)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be; float32 rounds the largest category numbers."""
        config = self.config
        largest = np.array([np.finfo(np.float32).max] * config.dense_fields + [*config.field_sizes], np.float32)
        return {
            "inputs": Field(kind="numbers", axes=(EXAMPLES, len(largest)), at_least=0, at_most=largest),
            "targets": Field(kind="numbers", axes=(EXAMPLES,), at_least=0, at_most=1),
            "weights": Field(kind="mask", axes=(EXAMPLES,), optional=True),
        }

    def check_batch(self, batch: HostBatch) -> None:
        """Raise UserError where a batch is no good; categories must be whole numbers, too."""
        super().check_batch(batch)
        categories = batch["inputs"][:, self.config.dense_fields :]
        if (broken := categories != np.floor(categories)).any():
            raise bad_batch("inputs", "whole numbers for the categorical fields", f"{categories[broken][0]}")

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of the right shapes and dtypes: log-normal fields, categories, fair coins.

        Category k has a probability of about 1 / (k log size): a few rows are looked up often, as in real data.
        """
        config = self.config
        dense = np.log1p(random.lognormal(size=(batch_size, config.dense_fields)))
        sizes = np.array(config.field_sizes)
        categories = np.floor((sizes + 1.0) ** random.random((batch_size, len(sizes)))) - 1
        return {
            "inputs": np.concatenate([dense, categories], axis=1).astype(np.float32),
            "targets": random.integers(0, 2, batch_size).astype(np.float32),
            "weights": np.ones(batch_size, np.float32),
        }
