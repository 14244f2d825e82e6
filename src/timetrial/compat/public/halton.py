"""`algoperf.halton`: the public sampler of hyperparameters (spec: protocol.md, 7)."""

from __future__ import annotations

from timetrial.tuning.halton import halton_points


def generate_sequence(num_samples: int, num_dims: int) -> list[list[float]]:
    """Return points of the public sampler as one list a dimension, in the order before its shuffle."""
    return [column.tolist() for column in halton_points(num_samples, num_dims).T]
