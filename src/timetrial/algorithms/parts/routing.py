"""Which parameter gets which rule: told by kind and shape, never by name (spec: algorithms/common.md, 9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from timetrial.api import ParameterKind, Task

_STACKS = {ParameterKind.ATTENTION_QKV: 3, ParameterKind.ATTENTION_KV: 2}
"""Projections that are several matrices one above the other."""

BIASES = frozenset(
    {
        ParameterKind.BIAS,
        ParameterKind.ATTENTION_BIAS,
        ParameterKind.BATCH_NORM_BIAS,
        ParameterKind.LAYER_NORM_BIAS,
    }
)
"""What is added, in whatever layer."""


@dataclass(frozen=True, kw_only=True)
class Routes:
    """All parameters of a model, each in one list, in the model's order."""

    matrices: list[Tensor]
    """Hidden weights of two axes (out, in)."""
    convolutions: list[Tensor]
    """Hidden weights of three or more axes (out, in, ...)."""
    embeddings: list[Tensor]
    """Tables (rows, width) that are looked up, also where the output layer shares them."""
    output: list[Tensor]
    """The output layer's weights of two or more axes."""
    vectors: list[Tensor]
    """Everything of fewer than two axes: biases, gains, scalars."""
    stacks: Mapping[Tensor, int]
    """How many matrices of equal size lie one above the other in a weight, where there is more than one."""

    @property
    def hidden(self) -> list[Tensor]:
        """What the rules for hidden matrices are for: matrices and convolutions."""
        return [*self.matrices, *self.convolutions]

    @property
    def others(self) -> list[Tensor]:
        """All that is not hidden."""
        return [*self.embeddings, *self.output, *self.vectors]


def route(task: Task) -> Routes:
    """Sort the parameters of the task's model by kind and shape; those that are frozen are left out."""
    routes = Routes(matrices=[], convolutions=[], embeddings=[], output=[], vectors=[], stacks={})
    stacks: dict[Tensor, int] = {}
    for name, parameter in task.model.named_parameters():
        kind = task.parameter_kinds[name]
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            routes.vectors.append(parameter)
        elif kind is ParameterKind.EMBEDDING:
            routes.embeddings.append(parameter)
        elif name in task.output_parameters:
            routes.output.append(parameter)
        elif parameter.ndim == 2:
            routes.matrices.append(parameter)
            if kind in _STACKS:
                stacks[parameter] = _STACKS[kind]
        else:
            routes.convolutions.append(parameter)
    return Routes(**{**vars(routes), "stacks": MappingProxyType(stacks)})


def kinds_of(task: Task) -> dict[Tensor, ParameterKind]:
    """Return the kind of each parameter of the task's model."""
    return {weight: task.parameter_kinds[name] for name, weight in task.model.named_parameters()}


def as_matrices(tensor: Tensor, stack: int = 1) -> Tensor:
    """View a weight of two or more axes as matrices (stack, out / stack, in times all further axes)."""
    return tensor.reshape(stack, tensor.shape[0] // stack, -1)


class OptimizerChain(torch.optim.Optimizer):
    """Several optimizers over disjoint parameters that act as one: a rule for each route."""

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        self.optimizers = [
            optimizer for optimizer in optimizers if any(group["params"] for group in optimizer.param_groups)
        ]
        super().__init__([group for optimizer in self.optimizers for group in optimizer.param_groups], {})
        # The groups are the members' own: a rate that is set here is set there.
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, closure: Any = None) -> Any:
        """Let each optimizer take its step; a closure is evaluated first, its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the members' states in their order."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
