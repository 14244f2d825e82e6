"""What tests of averaging and distance-estimating rules share: near values, twins of random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vectors import double


def near(found: Tensor, expected: Any, atol: float = 1e-9) -> None:
    torch.testing.assert_close(found.detach(), double(expected), rtol=0, atol=atol)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_weights(seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    shapes = ((3, 4), (5,), ())
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def twins(weights: list[Tensor]) -> list[Tensor]:
    return [weight.detach().clone().requires_grad_() for weight in weights]


def give_gradients(*lists: list[Tensor]) -> None:
    for weights in zip(*lists, strict=True):
        gradient = torch.randn_like(weights[0])
        for weight in weights:
            weight.grad = gradient.clone()


# Schedule-Free
