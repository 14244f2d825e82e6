"""Fixed positions: sines and cosines of geometric frequencies (Vaswani et al. 2017, 3.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frequencies(count: int, device: torch.device | None = None) -> Tensor:
    """Return `count` frequencies, geometric from 1 to 1 / 10,000, both ends included: float32 (count,)."""
    return torch.exp(torch.arange(count, device=device) * (-math.log(10_000) / (count - 1)))


def waves(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Return the sines of each position (n,) times each frequency (k,), then the cosines: (n, 2 k)."""
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
