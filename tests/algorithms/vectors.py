"""The specification's test vectors (spec: algorithms/test_vectors.json), and replaying their gradients."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Build = Callable[[list[Tensor]], torch.optim.Optimizer]

W0 = [[0.5, -1.0], [1.5, 2.0]]
GRADIENTS = ([[0.3, -0.4], [0.1, 0.2]], [[-0.1, 0.5], [0.2, 0.4]], [[0.2, 0.1], [-0.3, 0.6]])
"""The fixture of all vectors (spec: algorithms/common.md, 2)."""


def load_vectors(shared: Path) -> dict[str, Any]:
    """Return all vectors, by key."""
    return json.loads((shared / "spec" / "algorithms" / "test_vectors.json").read_text())


def double(values: Any) -> Tensor:
    """Return numbers as a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def replay(build: Build, steps: int, *, gradients: Sequence[Any] = GRADIENTS) -> list[Tensor]:
    """Feed the fixture's gradients to an optimizer of one 2 x 2 matrix; return the matrix after each step."""
    weight = double(W0).requires_grad_()
    optimizer = build([weight])
    trajectory = []
    for gradient in gradients[:steps]:
        weight.grad = double(gradient)
        optimizer.step()
        trajectory.append(weight.detach().clone())
    return trajectory


def check(found: Sequence[Tensor], expected: dict[str, Any], *, atol: float = 1e-9) -> None:
    """Compare a trajectory with a vector's `W1`, `W2`, ..., as many as it has."""
    wanted = [double(expected[f"W{step}"]) for step in range(1, 10) if f"W{step}" in expected]
    assert wanted, "the vector holds no trajectory"
    assert len(found) >= len(wanted)
    for ours, theirs in zip(found, wanted, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)
