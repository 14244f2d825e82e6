"""Transcribe LibriSpeech with recurrent and feed-forward blocks, CTC loss, word error rate.

Source: Amodei et al. 2016, "Deep Speech 2"; spec: librispeech_deepspeech.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from timetrial.workloads.speech import (
    ALPHABET,
    CHARACTER_VOCABULARY,
    SpecAugmentConfig,
    SpeechConfig,
    SpeechWorkload,
)

if TYPE_CHECKING:
    from timetrial.workloads.base import TorchWorkload


@dataclass(frozen=True, kw_only=True)
class DeepspeechConfig(SpeechConfig):
    """Sizes of the recurrent network, and what its variants change."""

    recurrent_blocks: int
    """Bidirectional blocks, each of width / 2 cells a direction."""
    feed_forward_blocks: int
    activation: Literal["relu", "tanh"] = "relu"
    residual: bool = True
    """Whether a block's input is added to its output."""
    layer_norm: bool = False
    """Whether the blocks begin with a layer norm, and the output layer with none; else batch norms, layer norm."""


class LibrispeechDeepspeech(SpeechWorkload[DeepspeechConfig]):
    """LibriSpeech; recurrent network with CTC; word error rate."""

    presets = {
        "full": DeepspeechConfig(
            samples=320_000,
            target_length=256,
            vocabulary=1024,
            width=512,
            subsampling_channels=512,
            recurrent_blocks=6,
            feed_forward_blocks=3,
        ),
        "mini": DeepspeechConfig(
            samples=16_000,
            target_length=18,
            batch_norm_momentum=0.02,
            vocabulary=CHARACTER_VOCABULARY,
            width=128,
            subsampling_channels=8,
            recurrent_blocks=2,
            feed_forward_blocks=1,
            alphabet=ALPHABET,
        ),
        "tiny": DeepspeechConfig(
            samples=8_000,
            target_length=8,
            vocabulary=CHARACTER_VOCABULARY,
            width=16,
            subsampling_channels=4,
            recurrent_blocks=1,
            feed_forward_blocks=1,
            alphabet=ALPHABET,
        ),
    }
    batch_sizes = {"mini": 16, "tiny": 2}
    """A step takes 3.4 ms at `tiny`; at `mini`, by another script (median of 20), 27.2 ms, of which NAdamW 1.4."""
    variants = {
        "tanh": lambda config: replace(config, activation="tanh"),
        "no_resnet": lambda config: replace(config, residual=False),
        "norm_and_spec_aug": lambda config: replace(
            config, layer_norm=True, spec_augment=SpecAugmentConfig(time_masks=15, frequency_masks=4)
        ),
    }

    def torch(self) -> TorchWorkload:
        """Return the PyTorch half."""
        from timetrial.workloads.librispeech_deepspeech.model_torch import DeepspeechTorch
        from timetrial.workloads.multiplied_torch import multiplied

        return multiplied(DeepspeechTorch(self.config, self.detokenize), self)
