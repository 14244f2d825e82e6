"""Activation functions by name, so that a configuration can choose one without PyTorch."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import nn

ActivationName: TypeAlias = Literal["relu", "silu", "gelu"]


def activation(name: ActivationName) -> nn.Module:
    """Return a new module; `gelu` is the tanh approximation (spec: workloads/imagenet_resnet.md, 7)."""
    modules: dict[ActivationName, nn.Module] = {
        "relu": nn.ReLU(),
        "silu": nn.SiLU(),
        "gelu": nn.GELU(approximate="tanh"),
    }
    return modules[name]
