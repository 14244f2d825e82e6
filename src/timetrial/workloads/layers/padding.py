"""Sequences of unequal length in one tensor: which positions are real."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_positions(lengths: Tensor, size: int) -> Tensor:
    """Return a boolean (n, size): True where the position is below the sequence's length (n,)."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(-1)
