"""The encoder-decoder Transformer in PyTorch.

Source: spec: workloads/wmt.md, 2. The parameters' names are the public benchmark's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.errors import UserError
from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.layers.positions import frequencies, waves
from timetrial.workloads.losses import softmax_cross_entropy
from timetrial.workloads.wmt.beam_search_torch import beam_search
from timetrial.workloads.wmt.evaluation_torch import WmtEvaluation
from timetrial.workloads.wmt.incremental_torch import IncrementalDecoder
from timetrial.workloads.wmt.layers_torch import NORM_EPSILON, DecoderLayer, EncoderLayer
from timetrial.workloads.wmt.masks_torch import attention_mask
from timetrial.workloads.wmt.tokens import END_OF_SENTENCE

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import Evaluation
    from timetrial.workloads.wmt.workload import Detokenize, WmtConfig


class WmtTorch(TorchWorkload):
    """The PyTorch half of `wmt`."""

    def __init__(self, config: WmtConfig, detokenize: Detokenize | None = None) -> None:
        """`detokenize` maps one sentence's ids to text; only evaluations need it."""
        self.config = config
        self._detokenize = detokenize

    def build_model(self) -> Transformer:
        """Build the Transformer and initialise it.

        Embedding normal with deviation 1; linear maps Xavier uniform on the shape they are stored in, so a fused
        projection has its fused fan (the JAX reference initialises its parts one by one); biases normal with
        deviation 1e-6 (spec: workloads/wmt.md, 2).
        """
        model = Transformer(self.config)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.normal_(module.bias, std=1e-6)
        return model

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the shared embedding: it is the output layer too; see `TorchWorkload`."""
        return frozenset({"shared_embedding.weight"})

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Return the logits (n, target tokens, vocabulary), each token predicted from those before it.

        `inputs` and `targets` are (n, tokens), int64; packed rows come with `<side>_position` and
        `<side>_segmentation` (spec: workloads/wmt.md, 1). Raises UserError where rows are longer than the table of
        positions; see `TorchWorkload`.
        """
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        rate = self.config.dropout if dropout is None else dropout
        logits: Tensor = model(
            batch["inputs"],
            batch["targets"],
            source_positions=batch.get("inputs_position"),
            target_positions=batch.get("targets_position"),
            source_segments=batch.get("inputs_segmentation"),
            target_segments=batch.get("targets_segmentation"),
            dropout=rate if train else 0.0,
        )
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the cross entropy of the target tokens; see `TorchWorkload`.

        `per_example` is (n, target tokens); targets with weight 0 do not count.
        """
        return softmax_cross_entropy(logits, batch["targets"], batch.get("weights"), label_smoothing=label_smoothing)

    def evaluation(self) -> Evaluation:
        """Start an evaluation of BLEU, accuracy and loss; raises UserError where there is no detokeniser."""
        if self._detokenize is None:
            raise UserError(
                "wmt: BLEU compares text, which needs the SentencePiece model of the prepared data, and there is none; "
                "`timetrial data prepare wmt` makes it, or give WmtTorch a detokenize function"
            )
        return WmtEvaluation(self, self.translate, self._detokenize)

    @torch.inference_mode()
    def translate(self, model: nn.Module, sources: Tensor) -> Tensor:
        """Return the best translation of each source (n, tokens), int64, as token ids (n, longest_sentence)."""
        # Not checked by isinstance: a compiled model is a wrapper that hands attributes on.
        decoder = IncrementalDecoder(cast("Transformer", model), sources)
        longest = min(self.config.max_length, 1 + self.config.longest_sentence)  # with the 0 in front
        found = beam_search(
            decoder,
            sentences=len(sources),
            beams=self.config.beams,
            length_penalty=self.config.length_penalty,
            max_length=longest,
            end=END_OF_SENTENCE,
            device=sources.device,
            only_best=True,
        )
        return found.best()


class Transformer(nn.Module):
    """Encoder and decoder with one embedding, which is the output layer too."""

    def __init__(self, config: WmtConfig) -> None:
        super().__init__()
        self.shared_embedding = nn.Embedding(config.vocabulary, config.width)
        self.pos_encoder = PositionalEncoding(config.max_length, config.width)
        self.encoder = Encoder(config, self.shared_embedding, self.pos_encoder)
        self.decoder = Decoder(config, self.shared_embedding, self.pos_encoder)

    def forward(
        self,
        sources: Tensor,
        targets: Tensor,
        *,
        source_positions: Tensor | None = None,
        target_positions: Tensor | None = None,
        source_segments: Tensor | None = None,
        target_segments: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Map token ids (n, source tokens) and (n, target tokens) to logits (n, target tokens, vocabulary).

        Positions and segments have the tokens' shapes; both sides have segments or neither.
        """
        memory = self.encoder(sources, source_positions, source_segments, dropout)
        # The shift crosses the borders of packed segments, as published: a segment's first token is predicted from
        # the last token of the one before it, though no attention crosses (spec: workloads/wmt.md, 8.5).
        shifted = F.pad(targets, (1, 0))[:, :-1]
        causal = torch.ones(2 * targets.shape[1:], dtype=torch.bool, device=targets.device).tril()
        self_mask = attention_mask(targets, targets, target_segments, target_segments, causal)
        cross_mask = attention_mask(targets, sources, target_segments, source_segments)
        return self.decoder(
            shifted, target_positions, memory, self_mask=self_mask, cross_mask=cross_mask, dropout=dropout
        )


class Encoder(nn.Module):
    """Embeds source tokens and runs them through the layers."""

    def __init__(self, config: WmtConfig, embedding: nn.Embedding, positions: PositionalEncoding) -> None:
        super().__init__()
        self.shared_embedding = embedding
        self.pos_encoder = positions
        self.encoder = Stack(config, EncoderLayer)

    def forward(self, tokens: Tensor, positions: Tensor | None, segments: Tensor | None, dropout: float) -> Tensor:
        """Map token ids (n, tokens) to (n, tokens, width)."""
        mask = attention_mask(tokens, tokens, segments, segments)
        x = F.dropout(self.pos_encoder(self.shared_embedding(tokens), positions), dropout)
        for layer in self.encoder.layers:
            x = layer(x, mask, dropout)
        return self.encoder.normalised(x)


class Decoder(nn.Module):
    """Embeds target tokens, runs them through the layers and maps them to logits."""

    def __init__(self, config: WmtConfig, embedding: nn.Embedding, positions: PositionalEncoding) -> None:
        super().__init__()
        self.shared_embedding = embedding
        self.pos_encoder = positions
        self.decoder = Stack(config, DecoderLayer)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None,
        memory: Tensor,
        *,
        self_mask: Tensor,
        cross_mask: Tensor,
        dropout: float,
    ) -> Tensor:
        """Map shifted token ids (n, tokens) and the encoder's output to logits (n, tokens, vocabulary)."""
        x = F.dropout(self.pos_encoder(self.shared_embedding(tokens), positions), dropout)
        for layer in self.layers():
            x = layer(x, layer.multihead_attn.keys_values(memory), self_mask, cross_mask, dropout=dropout)
        return self.logits(x)

    def layers(self) -> list[DecoderLayer]:
        """Return the layers, first to last."""
        return cast("list[DecoderLayer]", list(self.decoder.layers))

    def logits(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to x E^T / sqrt(width), E the embedding."""
        scale = 1.0 / math.sqrt(x.shape[-1])
        return F.linear(self.decoder.normalised(x) * scale, self.shared_embedding.weight)


class Stack(nn.Module):
    """Layers, and the norm after the last one where layers begin with theirs."""

    def __init__(self, config: WmtConfig, layer: type[EncoderLayer | DecoderLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON) if config.pre_norm else None

    def normalised(self, x: Tensor) -> Tensor:
        """Return the final norm of x, or x itself in the post-norm variant."""
        return x if self.norm is None else self.norm(x)


class PositionalEncoding(nn.Module):
    """Adds a fixed vector for each position: sines in the first half of its columns, cosines in the second."""

    pe: Tensor

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", waves(torch.arange(max_length), frequencies(width // 2))[None])

    def forward(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """Add to (n, tokens, width) the vectors of `positions` (n, tokens), by default 0, 1, 2, ..."""
        tokens, known = x.shape[1], self.pe.shape[1]
        if tokens > known:
            raise UserError(f"wmt: expected rows of at most {known} tokens, found {tokens}")
        return x + (self.pe[:, :tokens] if positions is None else self.pe[0][positions])
