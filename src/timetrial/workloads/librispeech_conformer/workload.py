"""Transcribe LibriSpeech with a conformer: self-attention and convolution in one block, CTC loss, word error rate.

Source: Gulati et al. 2020, "Conformer"; spec: librispeech_conformer.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from timetrial.workloads.speech import ALPHABET, CHARACTER_VOCABULARY, SpeechConfig, SpeechWorkload

if TYPE_CHECKING:
    from timetrial.workloads.base import TorchWorkload


@dataclass(frozen=True, kw_only=True)
class ConformerConfig(SpeechConfig):
    """Sizes of the conformer, and what its variants change."""

    blocks: int
    heads: int
    feed_forward_factor: int = 4
    """Width of the feed-forward modules' hidden layer, in multiples of `width`."""
    kernel: int = 5
    """Steps that the depthwise convolution sees; odd."""
    activation: Literal["swish", "gelu"] = "swish"
    attention_temperature: float = 1.0
    """Factor on the attention's output (not on its scores)."""
    block_norm: bool = True
    """Whether a layer norm ends each block."""


class LibrispeechConformer(SpeechWorkload[ConformerConfig]):
    """LibriSpeech; conformer with CTC; word error rate."""

    presets = {
        "full": ConformerConfig(
            samples=320_000,
            target_length=256,
            vocabulary=1024,
            width=512,
            subsampling_channels=512,
            blocks=4,
            heads=8,
        ),
        "mini": ConformerConfig(
            samples=16_000,
            target_length=18,
            batch_norm_momentum=0.02,
            vocabulary=CHARACTER_VOCABULARY,
            width=64,
            subsampling_channels=8,
            blocks=2,
            heads=2,
            alphabet=ALPHABET,
        ),
        "tiny": ConformerConfig(
            samples=8_000,
            target_length=8,
            vocabulary=CHARACTER_VOCABULARY,
            width=16,
            subsampling_channels=4,
            blocks=1,
            heads=2,
            alphabet=ALPHABET,
        ),
    }
    batch_sizes = {"mini": 12, "tiny": 2}
    """A step takes 3.8 ms at `tiny`; at `mini`, by another script (median of 20), 22.9 ms, of which NAdamW 1.8. Of
    the sketch's three blocks (spec: mini_suite.md) 1,275 steps would not fit into the time a horizon may take.
    """
    variants = {
        "attention_temperature": lambda config: replace(config, attention_temperature=1.6),
        "layernorm": lambda config: replace(config, block_norm=False),
        "gelu": lambda config: replace(config, activation="gelu"),
    }

    def torch(self) -> TorchWorkload:
        """Return the PyTorch half."""
        from timetrial.workloads.librispeech_conformer.model_torch import ConformerTorch
        from timetrial.workloads.multiplied_torch import multiplied

        return multiplied(ConformerTorch(self.config, self.detokenize), self)
