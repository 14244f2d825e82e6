"""The parts of the vision transformer: blocks of attention and MLP, and attention pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.workloads.layers.heads import merge_heads, split_heads
from timetrial.workloads.layers.projections import Projection

if TYPE_CHECKING:
    from timetrial.workloads.imagenet_vit.workload import ImagenetVitConfig

_BIAS_STD = 1e-6
"""Standard deviation of the initial biases of MLPs and of attention pooling (spec: section 2)."""


class Block(nn.Module):
    """Self-attention, then MLP, each added to its input; norms in front of both parts, or behind both sums.

    Source: Vaswani et al. 2017 for the norm behind, Dosovitskiy et al. 2021 for the norm in front.
    """

    def __init__(self, config: ImagenetVitConfig) -> None:
        super().__init__()
        self.post_norm = config.post_norm
        # The numbers in the names are positions in the public benchmark's list of layers.
        self.layer_norm0 = layer_norm(config.width)
        self.self_attention1 = SelfAttention(config)
        self.layer_norm2 = layer_norm(config.width)
        self.mlp3 = Mlp(config, gated=config.gated)

    def forward(self, x: Tensor, dropout: float) -> Tensor:
        """Map tokens (n, tokens, width) to the same shape."""
        if self.post_norm:
            x = self.layer_norm0(x + self._drop(self.self_attention1(x, dropout), dropout))
            return self.layer_norm2(x + self._drop(self.mlp3(x, dropout), dropout))
        x = x + self._drop(self.self_attention1(self.layer_norm0(x), dropout), dropout)
        return x + self._drop(self.mlp3(self.layer_norm2(x), dropout), dropout)

    def _drop(self, x: Tensor, dropout: float) -> Tensor:
        return F.dropout(x, dropout, self.training)


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to tokens."""

    def __init__(self, config: ImagenetVitConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.query = _xavier(Projection(width, width, ParameterKind.ATTENTION_Q, bias=True))
        self.key = _xavier(Projection(width, width, ParameterKind.ATTENTION_K, bias=True))
        self.value = _xavier(Projection(width, width, ParameterKind.ATTENTION_V, bias=True))
        self.out = _xavier(Projection(width, width, ParameterKind.ATTENTION_OUT, bias=True))

    def forward(self, x: Tensor, dropout: float) -> Tensor:
        """Map tokens (n, tokens, width) to the same shape; dropout is on the probabilities."""
        rate = dropout if self.training else 0.0
        return self.out(_attend(self.query(x), self.key(x), self.value(x), self.heads, rate))


class Mlp(nn.Module):
    """Linear, GELU (tanh), maybe times a linear map of itself, dropout, linear."""

    def __init__(self, config: ImagenetVitConfig, *, gated: bool = False) -> None:
        super().__init__()
        self.linear1 = _xavier(nn.Linear(config.width, config.hidden), bias_std=_BIAS_STD)
        self.glu_linear = _xavier(nn.Linear(config.hidden, config.hidden), bias_std=_BIAS_STD) if gated else None
        self.linear2 = _xavier(nn.Linear(config.hidden, config.width), bias_std=_BIAS_STD)

    def forward(self, x: Tensor, dropout: float) -> Tensor:
        """Map (..., width) to the same shape."""
        hidden = F.gelu(self.linear1(x), approximate="tanh")
        if self.glu_linear is not None:
            # The gate reads the activated layer, not the block's input as in Shazeer 2020 (spec: section 7).
            hidden = hidden * self.glu_linear(hidden)
        return self.linear2(F.dropout(hidden, dropout, self.training))


class AttentionPooling(nn.Module):
    """One learned query attends to all tokens; an MLP follows: the "MAP head".

    Source: Lee et al. 2019, "Set Transformer", section 3.2; spec: workloads/imagenet_vit.md, 7.
    """

    def __init__(self, config: ImagenetVitConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, config.width)))
        self.mha = PoolingAttention(config)
        self.layer_norm = layer_norm(config.width)
        self.mlp = Mlp(config)

    def forward(self, tokens: Tensor, dropout: float) -> Tensor:
        """Map tokens (n, tokens, width) to (n, width)."""
        pooled = self.mha(self.probe.expand(len(tokens), -1, -1), tokens, dropout)
        pooled = pooled + self.mlp(self.layer_norm(pooled), dropout)
        return pooled.squeeze(1)


class PoolingAttention(nn.Module):
    """Multi-head attention of queries to tokens, keys and values in one matrix, keys first."""

    def __init__(self, config: ImagenetVitConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.q_proj = _xavier(Projection(width, width, ParameterKind.ATTENTION_Q, bias=True), bias_std=_BIAS_STD)
        self.kv_proj = _xavier(Projection(width, 2 * width, ParameterKind.ATTENTION_KV, bias=True), bias_std=_BIAS_STD)
        self.out_proj = _xavier(Projection(width, width, ParameterKind.ATTENTION_OUT, bias=True), bias_std=_BIAS_STD)

    def forward(self, queries: Tensor, tokens: Tensor, dropout: float) -> Tensor:
        """Map queries (n, q, width) and tokens (n, tokens, width) to (n, q, width)."""
        key, value = self.kv_proj(tokens).chunk(2, dim=-1)
        rate = dropout if self.training else 0.0
        return self.out_proj(_attend(self.q_proj(queries), key, value, self.heads, rate))


def layer_norm(width: int) -> nn.LayerNorm:
    """Return a layer norm with the epsilon of the benchmark's ViT (spec: section 2)."""
    return nn.LayerNorm(width, eps=1e-6)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: float) -> Tensor:
    """Scaled dot-product attention of (n, length, width), split into heads and merged again."""
    query, key, value = (split_heads(x, heads) for x in (query, key, value))
    return merge_heads(F.scaled_dot_product_attention(query, key, value, dropout_p=dropout))


_Linear = TypeVar("_Linear", bound=nn.Linear)


def _xavier(layer: _Linear, *, bias_std: float = 0.0) -> _Linear:
    """Initialise the weight Xavier uniform, the bias normal, and return the layer."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.normal_(layer.bias, std=bias_std)
    return layer
