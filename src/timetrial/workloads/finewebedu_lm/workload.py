"""Language modelling on FineWeb-Edu (10 billion tokens), decoder-only Transformer, perplexity.

Source: spec: workloads/finewebedu_lm.md, B.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from timetrial.api import LossType
from timetrial.prepared.folder import Prepared
from timetrial.workloads.base import Data, HostBatch, Workload
from timetrial.workloads.batches import EXAMPLES, Axis, Field, Fields
from timetrial.workloads.finewebedu_lm.generator import MINI, TINY, generate
from timetrial.workloads.finewebedu_lm.preprocessing import piece_data, token_data
from timetrial.workloads.finewebedu_lm.recipe import FinewebeduRecipe
from timetrial.workloads.generated import Generated

if TYPE_CHECKING:
    from timetrial.workloads.finewebedu_lm.model_torch import FinewebeduLmTorch


@dataclass(frozen=True, kw_only=True)
class FinewebeduLmConfig:
    """Sizes of the language model."""

    vocabulary: int
    """Rows of the embedding that input and output share."""
    width: int
    heads: int
    feed_forward: int
    """Width of the hidden layer of the feed-forward blocks, after the gate."""
    layers: int
    sequence_length: int
    """Tokens of a training sequence, and positions that exist."""
    eval_train: int
    """Training sequences that an evaluation runs over."""


class FinewebeduLm(Workload[FinewebeduLmConfig]):
    """8.7 million sequences of 1,024 tokens, decoder of 252,815,372 parameters, perplexity. It has no dropout."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY
    presets = {
        "full": FinewebeduLmConfig(
            vocabulary=50_257,
            width=1024,
            heads=8,
            feed_forward=4096,
            layers=12,
            sequence_length=1024,
            eval_train=10_000,
        ),
        "mini": FinewebeduLmConfig(
            vocabulary=1024, width=64, heads=2, feed_forward=128, layers=4, sequence_length=128, eval_train=16
        ),
        "tiny": FinewebeduLmConfig(
            vocabulary=64, width=16, heads=2, feed_forward=32, layers=2, sequence_length=16, eval_train=32
        ),
    }
    batch_sizes = {"mini": 4, "tiny": 8}
    """A step takes 29 ms at `mini`, of which NAdamW 1.8, and 2.5 ms at `tiny`; the former is the median by the wall
    clock with a core of its own. With 4 sequences at the sketch's width of 128 (spec: mini_suite.md) the step took 62
    ms, in a call where width 96 took 44.
    """

    datasets = {
        "mini": Generated(
            name="finewebedu_lm-mini",
            sha256="980899b32be7a03778b4d0e190c1b21defef60a2f0be4d2290d32533f701f11b",
            generate=partial(generate, MINI),
        ),
        "tiny": Generated(
            name="finewebedu_lm-tiny",
            sha256="8564cc65483146f939d638f5b342a2c79a4d17e029b10fa291260415dccc4a41",
            generate=partial(generate, TINY),
        ),
    }

    def data_from(self, arrays: HostBatch) -> Data:
        """Return the streams `train` and `validation` as data; see `token_data`."""
        return token_data(
            arrays["train"],
            arrays["validation"],
            sequence_length=self.config.sequence_length,
            eval_train=self.config.eval_train,
        )

    def recipe(self) -> FinewebeduRecipe:
        """Return how the dataset is prepared."""
        return FinewebeduRecipe(
            vocabulary=self.config.vocabulary,
            sequence_length=self.config.sequence_length,
            published=self.preset == "full",
        )

    def data_prepared(self, prepared: Prepared) -> Data:
        """Return the prepared pieces as data; an evaluation of `train` is of 10,000 of them at the most."""
        train, validation = (prepared.array(split, "pieces") for split in ("train", "validation"))
        eval_train = self.presets["full"].eval_train
        return piece_data(cast(np.ndarray, train), cast(np.ndarray, validation), eval_train=eval_train)

    def torch(self) -> FinewebeduLmTorch:
        """Return the PyTorch half."""
        from timetrial.workloads.finewebedu_lm.model_torch import FinewebeduLmTorch

        return FinewebeduLmTorch(self.config)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        shape = (EXAMPLES, Axis(name="tokens", at_most=self.config.sequence_length))
        return {
            "inputs": Field(kind="integers", axes=shape, at_least=0, below=self.config.vocabulary),
            "targets": Field(kind="labels", axes=shape, at_least=0, below=self.config.vocabulary),
            "weights": Field(kind="mask", axes=shape, optional=True),
        }

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a training batch of random tokens.

        `inputs` are int32, `targets` int64, both (batch_size, sequence_length).
        Targets are the inputs moved by one token. Training batches have no weights
        (spec: workloads/finewebedu_lm.md, B1).
        """
        shape = (batch_size, self.config.sequence_length + 1)
        tokens = random.integers(0, self.config.vocabulary, size=shape)
        return {"inputs": tokens[:, :-1].astype(np.int32), "targets": tokens[:, 1:].copy()}
