"""`algoperf.init_utils`: the public models' initialiser (spec: workloads/README.md, 3.3)."""

from __future__ import annotations

from torch import nn

from timetrial.workloads.layers.initializers import lecun_truncated_


def pytorch_default_init(module: nn.Linear | nn.Conv2d) -> None:
    """Fill a layer's weight with a truncated normal of standard deviation 1 / sqrt(fan-in), its bias with 0."""
    lecun_truncated_(module.weight)
    if module.bias is not None:
        nn.init.constant_(module.bias, 0.0)
