"""Lagrange multipliers that follow the violation of constraints: gradient ascent, the nuPI controller, penalties.

For constraints g(x) <= 0, spec: algorithms/constraints.md. Not wrapped: cooper-optim 1.0.1 starts nuPI otherwise than
it documents, which the second step pays for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NuPI:
    """The controller of Sohrabi et al. 2024 (arXiv 2406.04558): with errors e = g(x), smoothed ones s and a rate r

        s <- nu s + (1 - nu) e
        l <- max(0, l + r (K_I e + K_P (the change of s)))

    `init` says what s was before the first step: "sgd", e itself, so that the first step has no proportional part; or
    "zeros". Without K_P it is gradient ascent; with nu = 0 and K_P = K_I = 1 the optimistic gradient.
    """

    rate: float
    integral: float = 1.0
    proportional: float = 0.0
    nu: float = 0.0
    init: Literal["sgd", "zeros"] = "sgd"

    def update(self, multipliers: list[Tensor], smoothed: list[Tensor], errors: list[Tensor], *, first: bool) -> None:
        """Move multipliers and smoothed errors, in place; all are lists of tensors of equal shapes."""
        start = errors if self.init == "sgd" else [torch.zeros_like(error) for error in errors]
        before = start if first else [each.clone() for each in smoothed]
        torch._foreach_copy_(smoothed, torch._foreach_lerp(before, errors, 1 - self.nu))
        change = torch._foreach_sub(smoothed, before)
        torch._foreach_add_(multipliers, errors, alpha=self.rate * self.integral)
        torch._foreach_add_(multipliers, change, alpha=self.rate * self.proportional)
        torch._foreach_clamp_min_(multipliers, 0.0)


def with_penalty(multipliers: list[Tensor], errors: list[Tensor], penalty: float) -> list[Tensor]:
    """Return l + c max(0, g): what multiplies the constraints' gradients where a quadratic penalty c is added.

    That is the augmented Lagrangian as Cooper evaluates it: f + l g + c/2 max(0, g)^2.
    """
    return list(torch._foreach_add(multipliers, torch._foreach_clamp_min(errors, 0.0), alpha=penalty))
