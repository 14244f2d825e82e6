"""Encoder and decoder layers of the Transformer: attention, feed-forward blocks, residual sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.api import ParameterKind
from timetrial.workloads.layers.heads import merge_heads, split_heads
from timetrial.workloads.layers.projections import Projection

if TYPE_CHECKING:
    from timetrial.workloads.wmt.workload import WmtConfig

NORM_EPSILON = 1e-6
"""Of every layer norm (spec: workloads/wmt.md, 2)."""


class KeysValues(NamedTuple):
    """Keys and values of an attention, each (rows, heads, tokens, head width)."""

    keys: Tensor
    values: Tensor


class Cache:
    """Keys and values of the tokens that an incremental decoder has seen in one self-attention."""

    def __init__(self) -> None:
        self._past: KeysValues | None = None

    def append(self, new: KeysValues) -> KeysValues:
        """Add the newest token's keys and values and return all so far."""
        if self._past is not None:
            new = KeysValues(*(torch.cat(pair, dim=2) for pair in zip(self._past, new, strict=True)))
        self._past = new
        return new

    def select(self, rows: Tensor) -> None:
        """Let row i go on from what was row `rows[i]`; `rows` is (rows,), int64."""
        if self._past is not None:
            self._past = KeysValues(*(tensor.index_select(0, rows) for tensor in self._past))


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, with one fused projection and no biases."""

    def __init__(self, config: WmtConfig) -> None:
        super().__init__()
        self.heads, self.temperature = config.heads, config.attention_temperature
        self.in_proj = Projection(config.width, 3 * config.width, ParameterKind.ATTENTION_QKV)
        self.out_proj = Projection(config.width, config.width, ParameterKind.ATTENTION_OUT)

    def forward(self, x: Tensor, mask: Tensor | None, dropout: float, cache: Cache | None = None) -> Tensor:
        """Map (n, tokens, width) to the same shape; `mask` is added to the scores.

        With a `cache`, x is the newest token only, and attends to itself and to all that the cache holds.
        """
        queries, keys, values = (split_heads(part, self.heads) for part in self.in_proj(x).chunk(3, dim=-1))
        past = KeysValues(keys, values)
        if cache is not None:
            past = cache.append(past)
        return self.out_proj(merge_heads(attend(queries * self.temperature, past, mask, dropout)))


class CrossAttention(nn.Module):
    """Multi-head attention of target tokens to the encoder's output, without biases."""

    def __init__(self, config: WmtConfig) -> None:
        super().__init__()
        self.heads, self.temperature = config.heads, config.attention_temperature
        self.q_proj = Projection(config.width, config.width, ParameterKind.ATTENTION_Q)
        self.kv_proj = Projection(config.width, 2 * config.width, ParameterKind.ATTENTION_KV)
        self.out_proj = Projection(config.width, config.width, ParameterKind.ATTENTION_OUT)

    def keys_values(self, memory: Tensor) -> KeysValues:
        """Return the keys and values of the encoder's output (n, source tokens, width)."""
        return KeysValues(*(split_heads(part, self.heads) for part in self.kv_proj(memory).chunk(2, dim=-1)))

    def forward(self, x: Tensor, memory: KeysValues, mask: Tensor, dropout: float) -> Tensor:
        """Map (n x beams, tokens, width) to the same shape, for a memory of n rows.

        The beams of one sentence look at the same memory, which need not be repeated for them: they are further
        queries of its row.
        """
        queries = self.q_proj(x).reshape(len(memory.keys), -1, x.shape[-1])
        queries = split_heads(queries, self.heads) * self.temperature
        return self.out_proj(merge_heads(attend(queries, memory, mask, dropout)).reshape(x.shape))


class Layer(nn.Module):
    """What encoder and decoder layers share: the feed-forward block and the residual sums."""

    linear1: nn.Linear
    linear_glu: nn.Linear | None
    linear2: nn.Linear

    def __init__(self, config: WmtConfig) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.activation = config.activation

    def add_feed_forward(self, config: WmtConfig) -> None:
        """Register the feed-forward block's parameters."""
        self.linear1 = nn.Linear(config.width, config.feed_forward)
        self.linear_glu = nn.Linear(config.width, config.feed_forward) if config.gated else None
        self.linear2 = nn.Linear(config.feed_forward, config.width)

    def feed_forward(self, x: Tensor, dropout: float) -> Tensor:
        """Map each token: drop(W2 drop(activation(W1 x) [* Wg x])) (spec: workloads/wmt.md, 2 and 7)."""
        hidden = self.linear1(x)
        hidden = torch.tanh(hidden) if self.activation == "tanh" else F.relu(hidden)
        if self.linear_glu is not None:
            hidden = hidden * self.linear_glu(x)
        return F.dropout(self.linear2(F.dropout(hidden, dropout)), dropout)

    def residual(self, x: Tensor, norm: nn.LayerNorm, block: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x + block(norm(x)), or norm(x + block(x)) in the post-norm variant."""
        if self.pre_norm:
            return x + block(norm(x))
        return norm(x + block(x))


class EncoderLayer(Layer):
    """Self-attention, then feed-forward."""

    def __init__(self, config: WmtConfig) -> None:
        super().__init__(config)
        self.self_attn = SelfAttention(config)
        self.add_feed_forward(config)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def forward(self, x: Tensor, mask: Tensor, dropout: float) -> Tensor:
        """Map (n, source tokens, width) to the same shape."""
        x = self.residual(x, self.norm1, lambda y: F.dropout(self.self_attn(y, mask, dropout), dropout))
        return self.residual(x, self.norm2, lambda y: self.feed_forward(y, dropout))


class DecoderLayer(Layer):
    """Causal self-attention, attention to the encoder's output, then feed-forward."""

    def __init__(self, config: WmtConfig) -> None:
        super().__init__(config)
        self.self_attn = SelfAttention(config)
        self.multihead_attn = CrossAttention(config)
        self.add_feed_forward(config)
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.norm3 = nn.LayerNorm(config.width, eps=NORM_EPSILON)

    def forward(
        self,
        x: Tensor,
        memory: KeysValues,
        self_mask: Tensor | None,
        cross_mask: Tensor,
        *,
        dropout: float,
        cache: Cache | None = None,
    ) -> Tensor:
        """Map (n, target tokens, width) to the same shape; `memory` comes from `multihead_attn.keys_values`."""
        x = self.residual(x, self.norm1, lambda y: F.dropout(self.self_attn(y, self_mask, dropout, cache), dropout))
        x = self.residual(
            x, self.norm2, lambda y: F.dropout(self.multihead_attn(y, memory, cross_mask, dropout), dropout)
        )
        return self.residual(x, self.norm3, lambda y: self.feed_forward(y, dropout))


def attend(queries: Tensor, memory: KeysValues, mask: Tensor | None, dropout: float) -> Tensor:
    """Return softmax(q k^T / sqrt(head width) + mask) v, the probabilities dropped out at rate `dropout`."""
    return F.scaled_dot_product_attention(queries, *memory, attn_mask=mask, dropout_p=dropout)
