"""The base of the update rules written here: whole lists of parameters at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

_PART = 65_536
"""Numbers that a tensorwise update works on at a time on a CPU: with moments and gradient 1 MB, a core's cache."""


class ListOptimizer(torch.optim.Optimizer, ABC):
    """An update rule over whole parameter lists, by `torch._foreach_*`: subclasses write `update`.

    A group counts its own steps in `step`, from 1 within `update`; with the groups it goes into the state dict.
    """

    tensorwise: ClassVar[bool] = False
    """Whether `update` looks at each tensor without the others of the list: then, on a CPU, it is called for parts of
    the list that fit the cache, which takes half as long (benchmarks/algorithms.py).
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], **defaults: Any) -> None:
        super().__init__(params, {"step": 0, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; a closure is evaluated first, its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                group["step"] += 1
                self.begin(group)
                for part in self._parts(weights):
                    self.update(group, part, [weight.grad for weight in part if weight.grad is not None])
                self.end(group, weights)
        return loss

    def _parts(self, weights: list[Tensor]) -> list[list[Tensor]]:
        """Return the list, or on a CPU, for a rule that allows it, neighbours in parts of up to `_PART` numbers."""
        if not self.tensorwise or weights[0].device.type != "cpu":
            return [weights]
        parts: list[list[Tensor]] = [[]]
        size = 0
        for weight in weights:
            size += weight.numel()
            if size > _PART and parts[-1]:
                parts.append([])
                size = weight.numel()
            parts[-1].append(weight)
        return parts

    def begin(self, group: dict[str, Any]) -> None:
        """Work out what a step needs once a group, before its parts: numbers that depend on the step count."""

    def end(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        """Finish a group's step behind its parts: what needs sums over all of its weights."""

    @abstractmethod
    def update(self, group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Move the weights of a group; `gradients` must not be changed."""

    def buffers(
        self, weights: list[Tensor], name: str, make: Callable[[Tensor], Tensor] = torch.zeros_like
    ) -> list[Tensor]:
        """Return the state `name` of each weight, made by `make(weight)` where there is none yet."""
        states = [self.state[weight] for weight in weights]
        for weight, state in zip(weights, states, strict=True):
            if name not in state:
                state[name] = make(weight)
        return [state[name] for state in states]


def adam_moments(
    first: list[Tensor], second: list[Tensor], gradients: list[Tensor], beta1: float, beta2: float
) -> None:
    """Move Adam's two exponential averages, of the gradient and of its square (Kingma and Ba 2015, algorithm 1)."""
    torch._foreach_lerp_(first, gradients, 1 - beta1)
    second_moment(second, gradients, beta2)


def second_moment(second: list[Tensor], gradients: list[Tensor], beta2: float) -> None:
    """Move the exponential average of the gradient's square."""
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)


def adam_denominator(second: list[Tensor], beta2: float, step: int, eps: float) -> list[Tensor]:
    """Return sqrt(v) / sqrt(1 - b2^t) + eps of each second moment, as new tensors."""
    denominator = torch._foreach_sqrt(second)
    torch._foreach_div_(denominator, (1 - beta2**step) ** 0.5)
    torch._foreach_add_(denominator, eps)
    return list(denominator)
