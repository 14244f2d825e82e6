"""German to English translation (WMT17 for training, WMT14 for evaluation), encoder-decoder Transformer, BLEU.

Source: spec: workloads/wmt.md; Vaswani et al. 2017, "Attention Is All You Need".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from timetrial.api import LossType, ParameterKind
from timetrial.errors import UserError
from timetrial.prepared.folder import Prepared, open_prepared
from timetrial.workloads.base import HostBatch, Split, Workload
from timetrial.workloads.batches import EXAMPLES, Axis, Field, Fields, bad_batch
from timetrial.workloads.generated import Generated
from timetrial.workloads.sources import ArrayData
from timetrial.workloads.wmt.data import PairData, pair_data
from timetrial.workloads.wmt.generator import MINI, TINY, generate
from timetrial.workloads.wmt.parts import MODEL
from timetrial.workloads.wmt.preprocessing import SIDES, evaluation_rows, pack, short_pairs
from timetrial.workloads.wmt.recipe import TOKENIZER, WmtRecipe
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE, FIRST_PIECE, PADDING

if TYPE_CHECKING:
    from timetrial.workloads.base import TorchWorkload

Detokenize: TypeAlias = Callable[[list[int]], str]
"""Maps the token ids of one sentence, its end-of-sentence token included, to text."""


@dataclass(frozen=True, kw_only=True)
class WmtConfig:
    """Sizes of the Transformer and what the variants change."""

    vocabulary: int
    """Rows of the embedding that source, target and output share."""
    width: int
    heads: int
    feed_forward: int
    """Width of the hidden layer of the feed-forward blocks."""
    layers: int
    """Layers of the encoder, and as many of the decoder."""
    max_length: int
    """Tokens of a row of a batch, and positions that exist."""
    longest_sentence: int
    """Tokens of a sentence, its end included: pairs with a longer one are left out, and no translation is longer."""
    dropout: float = 0.1
    """Rate at every site, where a call does not say otherwise."""
    pre_norm: bool = True
    """Layer norm before each block and after the last one; otherwise after each residual sum."""
    attention_temperature: float = 1.0
    """What queries are multiplied by in every attention."""
    activation: Literal["relu", "tanh"] = "relu"
    gated: bool = False
    """Whether the feed-forward blocks multiply the activation by a linear map of their input."""
    beams: int = 4
    """Hypotheses that the beam search of an evaluation keeps for each sentence."""
    length_penalty: float = 0.6
    """Exponent of the beam search's length normalisation."""
    text: Literal["sentencepiece", "token_ids"] = "sentencepiece"
    """What BLEU compares: detokenised text, or the token ids written as words (no text exists at that preset)."""


EVALUATED: dict[str, dict[Split, int]] = {
    "mini": {"train": 24, "validation": 160, "test": 48},
    "tiny": {"train": 16, "validation": 32, "test": 16},
}
"""Pairs of an evaluation by preset and split."""


class Wmt(Workload[WmtConfig]):
    """5.9 million sentence pairs, Transformer of 133,521,408 parameters, BLEU of a beam search with 4 beams."""

    loss_type = LossType.SOFTMAX_CROSS_ENTROPY
    presets = {
        "full": WmtConfig(
            vocabulary=32_000,
            width=1024,
            heads=16,
            feed_forward=1024,
            layers=6,
            max_length=256,
            longest_sentence=256,
        ),
        "mini": WmtConfig(
            vocabulary=1000,
            width=80,
            heads=4,
            feed_forward=128,
            layers=2,
            max_length=32,
            longest_sentence=14,
            beams=2,
        ),
        "tiny": WmtConfig(
            vocabulary=64,
            width=16,
            heads=2,
            feed_forward=16,
            layers=1,
            max_length=12,
            longest_sentence=12,
            text="token_ids",
        ),
    }
    batch_sizes = {"mini": 12, "tiny": 8}
    """A step takes 20 ms at `mini` without dropout, of which AdamW 1.9, and 30 ms with a rate of 0.1."""
    variants = {
        "post_ln": lambda config: replace(config, pre_norm=False),
        "attention_temp": lambda config: replace(config, attention_temperature=4.0),
        "glu_tanh": lambda config: replace(config, activation="tanh", gated=True),
    }

    weight_multipliers = {"mini": 50.0}
    multiplied_kinds = frozenset({ParameterKind.EMBEDDING})
    """The published embedding starts with deviation 1; stored with the usual 0.02 (Radford et al. 2019; Devlin et al.
    2019) it is moved as far in 2,000 steps of the published rates as it is in the published trials' 133,333."""
    datasets = {
        "mini": Generated(
            name="wmt-mini",
            sha256="9e1d362d402c58213f4a4db1aa9d5be1a3bc236bbba44fe34536afd000b3928a",
            generate=partial(generate, MINI),
        ),
        "tiny": Generated(
            name="wmt-tiny",
            sha256="b22dd51c87b2f21e22e10d931ab1931c0460fcc73b3f072734290a8d46881252",
            generate=partial(generate, TINY),
        ),
    }

    def torch(self) -> TorchWorkload:
        """Return the PyTorch half; its evaluation needs the prepared tokenizer where text is made of its pieces."""
        from timetrial.workloads.multiplied_torch import multiplied
        from timetrial.workloads.wmt.model_torch import WmtTorch

        return multiplied(WmtTorch(self.config, detokenize=self._detokenizer()), self)

    def _detokenizer(self) -> Detokenize | None:
        if self.config.text == "token_ids":
            return ids_as_words
        from timetrial.workloads.sentencepiece_tokenizer import SentencePieceTokens
        from timetrial.workloads.wmt.tokenizer import mini_tokenizer

        if self.data_kind == "generated":
            return mini_tokenizer().decode
        try:
            prepared = open_prepared(self.recipe())
        except UserError:  # a model can be built without data, not evaluated
            return None
        return SentencePieceTokens((prepared.part(TOKENIZER) / MODEL).read_bytes()).decode

    def data_from(self, arrays: HostBatch) -> ArrayData:
        """Return the pairs without long sentences: for training packed into rows, once and for all, as examples.

        Evaluations take the first pairs of a split. Packing again in each epoch would give the rows of an epoch
        another number, so that no step's batch could be had without packing all epochs before it.
        """
        pairs = {split: self._pairs(arrays, split) for split in EVALUATED[self.preset]}
        evaluated = {
            split: {side: tokens[:count] for side, tokens in pairs[split].items()}
            for split, count in EVALUATED[self.preset].items()
        }
        train = pack(pairs["train"], self.config.max_length)
        return ArrayData(train, evaluated, prepare_evaluation=evaluation_rows)

    def recipe(self) -> WmtRecipe:
        """Return how the dataset is prepared."""
        return WmtRecipe(
            vocabulary=self.config.vocabulary,
            max_length=self.config.max_length,
            longest_sentence=self.config.longest_sentence,
            published=self.preset == "full",
        )

    def data_prepared(self, prepared: Prepared) -> PairData:
        """Return the prepared pairs as data; see `pair_data`."""
        return pair_data(prepared)

    def _pairs(self, arrays: HostBatch, split: Split) -> HostBatch:
        pairs = {side: arrays[f"{split}_{side}"] for side in SIDES}
        return short_pairs(pairs, self.config.longest_sentence)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be; rows of an evaluation are not packed."""
        fields: dict[str, Field] = {}
        for side in SIDES:
            shape = (EXAMPLES, Axis(name=f"tokens of {side}", at_most=self.config.max_length))
            fields |= {
                side: Field(kind="labels", axes=shape, at_least=0, below=self.config.vocabulary),
                f"{side}_position": Field(
                    kind="labels", axes=shape, at_least=0, below=self.config.max_length, optional=True
                ),
                f"{side}_segmentation": Field(kind="integers", axes=shape, at_least=0, optional=True),
            }
        return {**fields, "weights": Field(kind="mask", axes=fields["targets"].axes, optional=True)}

    def check_batch(self, batch: HostBatch) -> None:
        """Raise UserError where a batch is no good; of what describes packing, all or nothing must be there."""
        super().check_batch(batch)
        packing = {f"{side}_{what}" for side in SIDES for what in ("position", "segmentation")}
        missing = packing - batch.keys()
        if missing and missing != packing:
            raise bad_batch(min(missing), "to have it together with the other arrays of packed rows", "no such array")

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a training batch of random tokens: two sentence pairs packed into each row.

        The keys are those of the packed training data (spec: workloads/wmt.md, 1), all int64 of shape
        (batch_size, max_length): `inputs` and `targets` with their `_position` and `_segmentation`, `weights`.
        """
        batch: HostBatch = {}
        for side in SIDES:
            batch |= self._packed_pairs(side, random, batch_size)
        return {**batch, "weights": (batch["targets"] > PADDING).astype(np.int64)}

    def _packed_pairs(self, side: str, random: np.random.Generator, rows: int) -> HostBatch:
        """Fill rows with a sentence, a second sentence and maybe some padding."""
        length = self.config.max_length
        tokens = random.integers(FIRST_PIECE, self.config.vocabulary, size=(rows, length))
        first = random.integers(1, length - 1, size=(rows, 1))
        end = random.integers(first + 1, length + 1)
        column = np.arange(length)
        in_second, in_row = column >= first, column < end
        tokens[(column == first - 1) | (column == end - 1)] = END_OF_SENTENCE
        return {
            side: tokens * in_row,
            f"{side}_position": (column - first * in_second) * in_row,
            f"{side}_segmentation": (1 + in_second) * in_row,
        }


def ids_as_words(tokens: list[int]) -> str:
    """Write token ids as words, the end of sentence left out: the text where a vocabulary has none."""
    return " ".join(str(token) for token in tokens if token != END_OF_SENTENCE)
