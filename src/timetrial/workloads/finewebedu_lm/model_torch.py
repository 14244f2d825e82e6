"""The decoder-only Transformer in PyTorch: rotary embedding, QK norm, RMS norm, gated feed-forward blocks.

Source: spec: workloads/finewebedu_lm.md, B2. The parameters' names are the public benchmark's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.errors import UserError
from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.layers.heads import merge_heads
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.layers.projections import Projection
from timetrial.workloads.losses import softmax_cross_entropy
from timetrial.workloads.metrics.perplexity import PerplexityEvaluation

if TYPE_CHECKING:
    from timetrial.api import Batch, Loss
    from timetrial.workloads.base import Evaluation
    from timetrial.workloads.finewebedu_lm.workload import FinewebeduLmConfig

_EPSILON = 1e-6
"""Of the RMS norms and of the QK norm."""
_ROTARY_BASE = 500_000.0


class FinewebeduLmTorch(TorchWorkload):
    """The PyTorch half of `finewebedu_lm`."""

    def __init__(self, config: FinewebeduLmConfig) -> None:
        self.config = config

    def build_model(self) -> Decoder:
        """Build the decoder and initialise it.

        Linear maps and embedding normal with deviation 0.02; `w_out` and `fc2`, which end on the residual stream,
        0.02 / sqrt(2 layers); norms 1; `attn_scale` log2(L^2 - L), L the sequence length.
        """
        model = Decoder(self.config)
        residual_std = 0.02 / math.sqrt(2 * self.config.layers)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=residual_std if name.endswith(("w_out", "fc2")) else 0.02)
        return model

    def output_parameters(self, model: nn.Module) -> frozenset[str]:
        """Return the embedding: it is the output layer too; see `TorchWorkload`."""
        return frozenset({"embed_tokens.weight"})

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Return the logits (n, tokens, vocabulary) of the token after each of `inputs` (n, tokens).

        The model has no dropout: the rate is ignored, as published. Raises UserError where sequences are longer
        than the configured length; see `TorchWorkload`.
        """
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        logits: Tensor = model(batch["inputs"])
        return logits

    def loss(self, batch: Batch, logits: Tensor, *, label_smoothing: float = 0.0) -> Loss:
        """Return the cross entropy of the tokens; `per_example` is (n, tokens); see `TorchWorkload`."""
        return softmax_cross_entropy(logits, batch["targets"], batch.get("weights"), label_smoothing=label_smoothing)

    def evaluation(self) -> Evaluation:
        """Start an evaluation of perplexity and loss; see `TorchWorkload`."""
        return PerplexityEvaluation(self)


class Decoder(nn.Module):
    """Embedding, layers, norm, and the embedding again as the output layer."""

    freqs_cis: Tensor

    def __init__(self, config: FinewebeduLmConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.out_norm = nn.RMSNorm(config.width, eps=_EPSILON)
        rotations = rotary_table(config.sequence_length, config.width // config.heads)
        self.register_buffer("freqs_cis", rotations, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids (n, tokens) to logits (n, tokens, vocabulary)."""
        length, known = tokens.shape[1], self.freqs_cis.shape[1]
        if length > known:
            raise UserError(f"finewebedu_lm: expected sequences of at most {known} tokens, found {length}")
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, self.freqs_cis[:, :length])
        return F.linear(self.out_norm(x), self.embed_tokens.weight)


class Layer(nn.Module):
    """Attention and feed-forward block, each on the normalised stream and added to it."""

    def __init__(self, config: FinewebeduLmConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.attn_norm = nn.RMSNorm(config.width, eps=_EPSILON)
        self.mlp = GatedFeedForward(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=_EPSILON)

    def forward(self, x: Tensor, rotations: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        x = x + self.attn(self.attn_norm(x), rotations)
        return x + self.mlp(self.mlp_norm(x))


class Attention(nn.Module):
    """Causal attention over unit queries and keys, scaled by a learned number.

    Source: Henry et al. 2020, "Query-Key Normalization for Transformers", section 3, from which the initial
    scale log2(L^2 - L) is; rotary positions: Su et al. 2021, "RoFormer", section 3.2.
    """

    def __init__(self, config: FinewebeduLmConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.w_qkv = Projection(config.width, 3 * config.width, ParameterKind.ATTENTION_QKV)
        self.w_out = Projection(config.width, config.width, ParameterKind.ATTENTION_OUT)
        length = config.sequence_length
        self.attn_scale = nn.Parameter(torch.tensor(math.log2(length**2 - length)))

    def forward(self, x: Tensor, rotations: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        shape = (*x.shape[:2], self.heads, -1)
        queries, keys, values = (part.reshape(shape) for part in self.w_qkv(x).chunk(3, dim=-1))
        queries = unit(rotate(queries, rotations)) * self.attn_scale
        keys = unit(rotate(keys, rotations))
        queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=1.0)
        return self.w_out(merge_heads(attended))


class GatedFeedForward(nn.Module):
    """W2 (a * sigmoid(b)), a and b the halves of W1 x (Dauphin et al. 2017, section 2)."""

    def __init__(self, config: FinewebeduLmConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, 2 * config.feed_forward, bias=False)
        self.fc2 = nn.Linear(config.feed_forward, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        return self.fc2(F.glu(self.fc1(x)))


def rotary_table(length: int, width: int) -> Tensor:
    """Return (1, length, 1, width / 2, 2), float32: cosine and sine of position x 500,000^(-2 i / width)."""
    frequencies = _ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()], dim=-1)[None, :, None]


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Rotate each pair of neighbouring columns of (n, tokens, heads, width) by its angle, in float32."""
    even, odd = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cosine, sine = rotations.unbind(-1)
    rotated = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
    return rotated.flatten(-2).type_as(x)


def unit(x: Tensor) -> Tensor:
    """Return x / |x| + 1e-6 along the last axis.

    The epsilon is added after the division, as in the published PyTorch model (spec: workloads/finewebedu_lm.md,
    B2); JAX adds it to the norm. A vector of zeros therefore gives NaN.
    """
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True) + _EPSILON
