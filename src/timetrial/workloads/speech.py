"""What the speech workloads share without a framework: sizes, tokens, made-up batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from timetrial.api import LossType
from timetrial.errors import UserError
from timetrial.prepared.folder import open_prepared
from timetrial.workloads.base import SPLITS, HostBatch, Workload
from timetrial.workloads.batches import EXAMPLES, Axis, Field, Fields, bad_batch
from timetrial.workloads.sources import ArrayData
from timetrial.workloads.speech_generator import DATASETS
from timetrial.workloads.speech_preprocessing import as_floats, as_stored, texts_of

if TYPE_CHECKING:
    from timetrial.prepared.folder import Prepared
    from timetrial.workloads.example_sources import ExampleData
    from timetrial.workloads.speech_recipe import LibrispeechRecipe

FRAME_SAMPLES = 401
"""Samples a frame of the spectrogram covers: a window of 25 ms, and one more that the pre-emphasis was meant for."""
_LOUDEST = 2.0**15

EVAL_TRAIN = 48
"""Training utterances that evaluations run over."""

Detokenize: TypeAlias = Callable[[Sequence[int]], str]
"""Turns token ids into text, words parted by spaces. A tokenizer that comes with a dataset supplies it."""


@dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """How much of the spectrogram training hides (Park et al. 2019; spec: librispeech_conformer.md, 2b)."""

    time_masks: int = 10
    """Stretches of time hidden in each utterance."""
    frequency_masks: int = 2
    """Bands of frequency hidden in each utterance."""
    time_fraction: float = 0.05
    """Longest stretch, as a share of the utterance."""
    frequency_width: int = 27
    """Widest band is one less than so many mel bins."""


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """What both speech models have: the front end, the tokens, the model's width."""

    samples: int
    """Length that utterances are padded to, in samples of 16 kHz."""
    target_length: int
    """Length that transcripts are padded to, in tokens."""
    vocabulary: int
    """Number of tokens; token 0 is CTC's blank."""
    width: int
    """Features that the blocks pass on."""
    subsampling_channels: int
    """Channels of the two convolutions before the blocks."""
    dropout: float = 0.1
    """Default rate, where dropout is active at all."""
    batch_norm_momentum: float = 0.001
    """Weight of a training batch in the batch norms' running statistics."""
    spec_augment: SpecAugmentConfig | None = SpecAugmentConfig()
    """What training hides; None hides nothing."""
    alphabet: str | None = None
    """With character tokens: the characters of tokens 1, 2, ...; None where tokens come with the data."""


SpeechConfigT = TypeVar("SpeechConfigT", bound=SpeechConfig)

ALPHABET = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The characters of LibriSpeech's transcripts."""

CHARACTER_VOCABULARY = 1 + len(ALPHABET)
"""The blank and the characters."""


class CharacterTokens:
    """Tokens that are characters: token i is the i-th character of the alphabet, counted from 1; 0 is blank."""

    def __init__(self, alphabet: str = ALPHABET) -> None:
        self._alphabet = alphabet
        self._tokens = {character: token for token, character in enumerate(alphabet, start=1)}

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; raises UserError for a character outside the alphabet."""
        unknown = set(text) - set(self._alphabet)
        if unknown:
            raise UserError(f"text {text!r}: {min(unknown)!r} is not one of the characters {self._alphabet!r}")
        return [self._tokens[character] for character in text]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; blanks are passed over."""
        return "".join(self._alphabet[token - 1] for token in tokens if token > 0)


class SpeechWorkload(Workload[SpeechConfigT]):
    """Sound in, tokens out, CTC loss, word error rate.

    A batch has `inputs`, float32 (n, samples) on the scale of 16-bit integers, and `targets`, int64 (n, length),
    both padded at the end; `input_lengths` and `target_lengths`, int64 (n,), say what is real; `weights` (n,) is 0
    where a row is padding.

    An utterance with fewer steps than its transcript needs (its tokens, and one more between equal ones) has an
    infinite loss, as published; it still counts in the word error rate.
    """

    loss_type = LossType.CTC_LOSS
    weight_multipliers = {"mini": 4.0}
    datasets = DATASETS

    def recipe(self) -> LibrispeechRecipe:
        """Return how LibriSpeech is prepared; see `Workload.recipe`."""
        from timetrial.workloads.speech_recipe import LibrispeechRecipe

        full = self.preset == "full"
        return LibrispeechRecipe(
            samples=self.config.samples,
            target_length=self.config.target_length,
            vocabulary=self.config.vocabulary,
            alphabet=self.config.alphabet,
            part_utterances=2_000 if full else 10,
            published=full,
        )

    def data_prepared(self, prepared: Prepared) -> ExampleData:
        """Return the prepared utterances, decoded as they are read."""
        from timetrial.workloads.speech_data import speech_data

        return speech_data(prepared, self.config.samples)

    def data_from(self, arrays: HostBatch) -> ArrayData:
        """Return the generated utterances; an evaluation's `train` split is the first training utterances."""
        splits = {split: self._split(arrays, split) for split in SPLITS}
        return ArrayData.of_splits(splits, slice(EVAL_TRAIN), prepare=as_floats)

    def _split(self, arrays: HostBatch, split: str) -> HostBatch:
        assert self.config.alphabet is not None, "generated utterances are spelled"
        encode = CharacterTokens(self.config.alphabet).encode
        texts = texts_of(arrays[f"{split}.texts"])
        sounds, lengths = arrays[f"{split}.sounds"], arrays[f"{split}.sound_lengths"]
        return as_stored(sounds, lengths, texts, encode, self.config.target_length)

    def batch_fields(self) -> Fields:
        """Return what each array of a batch must be."""
        length = Axis(name="length")
        return {
            "inputs": Field(
                kind="numbers",
                axes=(EXAMPLES, Axis(name="samples", at_least=FRAME_SAMPLES)),
                at_least=-_LOUDEST,
                at_most=_LOUDEST,
            ),
            "input_lengths": Field(kind="integers", axes=(EXAMPLES,), at_least=0, at_most="samples"),
            "targets": Field(kind="integers", axes=(EXAMPLES, length), at_least=0, below=self.config.vocabulary),
            "target_lengths": Field(kind="integers", axes=(EXAMPLES,), at_least=0, at_most="length"),
            "weights": Field(kind="mask", axes=(EXAMPLES,), optional=True),
        }

    def check_batch(self, batch: HostBatch) -> None:
        """Raise UserError where a batch is no good; a transcript must not hold CTC's blank, either."""
        super().check_batch(batch)
        in_target = np.arange(batch["targets"].shape[1]) < batch["target_lengths"][:, np.newaxis]
        if (blanks := in_target & (batch["targets"] == 0)).any():
            example, position = np.argwhere(blanks)[0].tolist()
            raise bad_batch("targets", "no blank within a transcript", f"0 at [{example}, {position}]")

    def random_batch(self, random: np.random.Generator, batch_size: int) -> HostBatch:
        """Return a batch of noise in the right shapes and dtypes, whose transcripts fit their utterances."""
        samples, length = self.config.samples, self.config.target_length
        # Noise of half the padded length has one step of the model's output for every 640 samples, and CTC needs
        # at most two for every token.
        longest = max(1, min(length, samples // 2 // 640 // 2 - 1))
        target_lengths = random.integers(1, longest, batch_size, endpoint=True)
        targets = random.integers(1, self.config.vocabulary, (batch_size, length))
        targets[np.arange(length) >= target_lengths[:, np.newaxis]] = 0
        input_lengths = random.integers(samples // 2, samples, batch_size, endpoint=True)
        inputs = np.rint(1000 * random.standard_normal((batch_size, samples), dtype=np.float32))
        inputs[np.arange(samples) >= input_lengths[:, np.newaxis]] = 0
        return {
            "inputs": inputs,
            "input_lengths": input_lengths,
            "targets": targets,
            "target_lengths": target_lengths,
        }

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids; raises UserError where the tokens come with data that is not there."""
        return self._decode(tokens)

    @cached_property
    def _decode(self) -> Detokenize:
        if self.config.alphabet is not None:
            return CharacterTokens(self.config.alphabet).decode
        from timetrial.workloads.speech_data import prepared_tokenizer

        return prepared_tokenizer(open_prepared(self.recipe())).decode
