"""Initialisers that two or more workloads share; all draw on PyTorch's global generator."""

from __future__ import annotations

import math

from torch import Tensor, nn

_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal truncated to [-2, 2]."""


def lecun_truncated_(weight: Tensor) -> Tensor:
    """Fill `weight` (out, in, ...) with a truncated normal of variance 1 / fan_in, cut at two sigma.

    fan_in is dimension 1 times the receptive field, also for transposed convolutions
    (spec: workloads/README.md, 3.3).
    """
    fan_in = weight.shape[1] * math.prod(weight.shape[2:])
    sigma = math.sqrt(1.0 / fan_in) / _TRUNCATED_STD
    return nn.init.trunc_normal_(weight, std=sigma, a=-2 * sigma, b=2 * sigma)
