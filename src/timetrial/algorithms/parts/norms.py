"""Norms of weight matrices, each told by its steepest direction: the T of norm 1 with the largest <G, T>.

(spec: algorithms/old_optimizer_new_norm.md, "Dictionary", and algorithms/scion.md, "Norm table".) The dual norm of G
is <G, T>. All are functions of batches (n, rows, columns) = (n, out, in); 1e-8 is added to what they divide by, so
that zero stays zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_EPS = 1e-8

Polar = Callable[[Tensor], Tensor]
Direction = Callable[[Tensor, Polar], Tensor]
"""A steepest direction: of a batch, by whatever stands for the polar factor."""


def max_entry(batch: Tensor, polar: Polar) -> Tensor:
    """The largest entry: signs, the direction of sign descent (l1 -> l-infinity)."""
    return batch.sign()


def sign(batch: Tensor, polar: Polar) -> Tensor:
    """The largest entry times the number of columns: signs / columns (Scion's "Sign")."""
    return batch.sign() / batch.shape[-1]


def spectral(batch: Tensor, polar: Polar) -> Tensor:
    """The largest singular value: the polar factor (l2 -> l2)."""
    return polar(batch)


def rms_to_rms(batch: Tensor, polar: Polar) -> Tensor:
    """The operator norm between root mean squares: sqrt(rows / columns) times the polar factor (Scion's "Spectral")."""
    return polar(batch) * math.sqrt(batch.shape[-2] / batch.shape[-1])


def rms_to_rms_max(batch: Tensor, polar: Polar) -> Tensor:
    """As `rms_to_rms`, but never less than the polar factor (Scion's "Spectral", option "max")."""
    return polar(batch) * math.sqrt(max(1.0, batch.shape[-2] / batch.shape[-1]))


def frobenius(batch: Tensor, polar: Polar) -> Tensor:
    """The root of the sum of squares: the matrix over its norm."""
    return batch / (torch.linalg.matrix_norm(batch, keepdim=True) + _EPS)


def row(batch: Tensor, polar: Polar) -> Tensor:
    """The longest row: rows of length 1 (l2 -> l-infinity)."""
    return batch / (torch.linalg.vector_norm(batch, dim=-1, keepdim=True) + _EPS)


def row_mean(batch: Tensor, polar: Polar) -> Tensor:
    """The longest row times sqrt(columns): rows of length 1 / sqrt(columns) (Scion's "RowNorm")."""
    length = torch.linalg.vector_norm(batch, dim=-1, keepdim=True)
    return batch / (length * math.sqrt(batch.shape[-1]) + _EPS)


def column(batch: Tensor, polar: Polar) -> Tensor:
    """The longest column: columns of length 1 (l1 -> l2)."""
    return batch / (torch.linalg.vector_norm(batch, dim=-2, keepdim=True) + _EPS)


def column_rms(batch: Tensor, polar: Polar) -> Tensor:
    """The column of largest root mean square: columns of RMS 1 (l1 -> RMS; Scion's "ColNorm", of vectors "BiasRMS")."""
    return batch / (torch.linalg.vector_norm(batch, dim=-2, keepdim=True) / math.sqrt(batch.shape[-2]) + _EPS)


DIRECTIONS: dict[str, Direction] = {
    "max_entry": max_entry,
    "sign": sign,
    "spectral": spectral,
    "rms_to_rms": rms_to_rms,
    "rms_to_rms_max": rms_to_rms_max,
    "frobenius": frobenius,
    "row": row,
    "row_mean": row_mean,
    "column": column,
    "column_rms": column_rms,
}
"""The steepest direction of each norm, by the norm's name."""
