"""Every workload and variant at preset `tiny`, for tests of what all of them must keep."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from timetrial.workloads.base import TorchWorkload
from timetrial.workloads.registry import known_workloads, load_workload

BASES = sorted(known_workloads())

VARIANTS = [(base, variant) for base in BASES for variant in (None, *load_workload(base, "tiny").variants)]
"""Names of the workload and of the variant, None for the base itself."""


def name_of(case: tuple[str, str | None]) -> str:
    return "-".join(part for part in case if part)


every_variant = pytest.mark.parametrize("case", VARIANTS, ids=name_of)
every_base = pytest.mark.parametrize("case", [(base, None) for base in BASES], ids=name_of)


class Tiny:
    """A small model with its initial values, and a batch of noise."""

    def __init__(self, case: tuple[str, str | None], batch_size: int = 4) -> None:
        self.workload = load_workload(case[0], "tiny", case[1])
        self.half: TorchWorkload = self.workload.torch()
        torch.manual_seed(0)
        self.model = self.half.build_model()
        arrays = self.workload.random_batch(np.random.default_rng(0), batch_size)
        self.batch = {name: torch.from_numpy(array) for name, array in arrays.items()}


def pass_through(half: TorchWorkload, model: nn.Module, batch: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
    """Return all that a copy of the model makes of a batch: logits of both modes, loss, gradients, buffers.

    `options` are given to `nn.Module.compile`; without any the copy runs eagerly.
    """
    model = deepcopy(model)
    if options:
        torch.compiler.reset()
        model.compile(**options)
    torch.manual_seed(1)
    logits = half.forward(model, batch, train=True, update_batch_norm=True, dropout=None)
    loss = half.loss(batch, logits).mean
    loss.backward()
    with torch.no_grad():
        evaluated = half.forward(model, batch, train=False, update_batch_norm=True, dropout=None)
    gradients = {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    buffers = dict(model.named_buffers())
    return {"logits": logits.detach(), "loss": loss.detach(), "evaluated": evaluated, **gradients, **buffers}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], *, tolerance: float) -> None:
    """All tensors agree, to `tolerance` of the largest entry of each; gradients to that of the largest gradient.

    The gradient of a bias in front of a norm is rounding noise about zero, hence the latter.
    """
    assert found.keys() == expected.keys()
    gradients = [t.abs().max() for name, t in expected.items() if name.startswith("gradient")]
    largest_gradient = float(torch.stack(gradients).max())
    for name, tensor in expected.items():
        if tensor.numel():
            scale = largest_gradient if name.startswith("gradient") else float(tensor.abs().max())
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance * scale, msg=lambda m, n=name: n + m)
