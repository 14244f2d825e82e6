"""Attention masks that are added to the scores (spec: workloads/wmt.md, 2)."""

from __future__ import annotations

import torch
from torch import Tensor

_MASKED = -1e10
"""Finite, so that a query that may attend to nothing (padding) attends evenly instead of giving NaN."""


def attention_mask(
    queries: Tensor,
    keys: Tensor,
    query_segments: Tensor | None,
    key_segments: Tensor | None,
    also: Tensor | None = None,
) -> Tensor:
    """Return the additive mask (n, 1, queries, keys): real tokens see the real tokens of their own segment.

    `queries` and `keys` are token ids (n, queries) and (n, keys), 0 for padding, and so are their segment numbers,
    of which there are both or none. `also` is a boolean mask (queries, keys) that must allow, too.
    """
    assert (query_segments is None) == (key_segments is None), "segments of one side only"
    allowed = (queries > 0)[:, :, None] & (keys > 0)[:, None, :]
    if query_segments is not None and key_segments is not None:
        allowed = allowed & (query_segments[:, :, None] == key_segments[:, None, :])
    if also is not None:
        allowed = allowed & also
    return additive_mask(allowed[:, None])


def additive_mask(allowed: Tensor) -> Tensor:
    """Return 0 where `allowed` (boolean, any shape) and -1e10 elsewhere, float32."""
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, _MASKED)
