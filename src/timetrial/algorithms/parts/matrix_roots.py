"""Inverse roots of many symmetric matrices at once (spec: algorithms/common.md, 8; algorithms/shampoo.md).

By eigendecomposition, or by the coupled Newton iteration, which is matrix products only and so is what accelerators
like. A matrix that neither float32 nor float64 can do keeps the root that it had.
"""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # not in its stubs


def inverse_root(matrices: Tensor, root: float, *, previous: Tensor, eps: float = 0.0) -> Tensor:
    """Return `(M + eps I)^(-1/root)` of each positive semidefinite matrix in a batch (n, d, d).

    Rounding's negative eigenvalues are lifted: by the smallest one's amount, all of them. Where no finite root comes
    out, that of `previous` is returned.
    """
    eigenvalues, vectors = eigh(matrices)
    eigenvalues = eigenvalues - eigenvalues[..., :1].clamp(max=0) + eps
    return finite_or(root_of(eigenvalues, vectors, root), previous)


def root_of(eigenvalues: Tensor, vectors: Tensor, root: float) -> Tensor:
    """Return `Q diag(l^(-1/root)) Q^T` of eigenvalues (n, d) and eigenvectors (n, d, d)."""
    return (vectors * eigenvalues.pow(-1 / root).unsqueeze(-2)) @ vectors.mT


def newton_inverse_root(
    matrices: Tensor, root: int, *, previous: Tensor, tolerance: float = 1e-6, accept: float = 0.1, steps: int = 100
) -> Tensor:
    """Return `M^(-1/root)` of each positive definite matrix in a batch (n, d, d) by the coupled Newton iteration.

    With p = root, z = (1 + p) / (2 ||A||_F), M = z A and H = z^(1/p) I:

        T = ((p + 1) I - M) / p;    H <- H T;    M <- T^p M

    until all |M - I| are below `tolerance`, or the largest grows by a fifth. Where the error that is left exceeds
    `accept`, the matrix keeps its `previous` root. Sources: Guo and Higham 2006; Anil et al. 2020 (arXiv 2002.09018).
    """
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    scale = (1 + root) / (2 * torch.linalg.matrix_norm(matrices, keepdim=True))
    m, h = matrices * scale, identity * scale.pow(1 / root)
    error = _distance(m, identity)
    for _ in range(steps):
        t = ((root + 1) * identity - m) / root
        next_m, next_h = torch.linalg.matrix_power(t, root) @ m, h @ t
        next_error = _distance(next_m, identity)
        going = (error >= tolerance) & (next_error < 1.2 * error)
        m, h = torch.where(going, next_m, m), torch.where(going, next_h, h)
        error = torch.where(going, next_error, error)
        if not bool(going.any()):
            break
    return finite_or(torch.where(error <= accept, h, previous), previous)


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (n, d), ascending, and eigenvectors (n, d, d) of a batch, in the matrices' dtype.

    On an accelerator all at once, and one by one where that fails. A matrix on which the solver fails by itself is
    tried in float64; what fails still is NaN.
    """
    if matrices.device.type != "cpu":  # there the solver takes a batch one by one, and drops what it has when one fails
        with suppress(LinAlgError):
            return torch.linalg.eigh(matrices)
    pairs = [_eigh_of_one(matrix) for matrix in matrices]
    return torch.stack([values for values, _ in pairs]), torch.stack([vectors for _, vectors in pairs])


def largest_eigenvalue(matrices: Tensor, steps: int = 100) -> Tensor:
    """Return what approximates the largest eigenvalue (n, 1, 1) of each positive semidefinite matrix, from below.

    Power iteration from the longest column, so that the start is not orthogonal to what is sought.
    """
    longest = matrices.square().sum(dim=-2).argmax(dim=-1)
    x = matrices.gather(-1, longest[:, None, None].expand(-1, matrices.shape[-2], 1))
    for _ in range(steps):
        x = matrices @ (x / torch.linalg.vector_norm(x, dim=-2, keepdim=True).clamp_min(1e-30))
    return torch.linalg.vector_norm(x, dim=-2, keepdim=True)


def _eigh_of_one(matrix: Tensor) -> tuple[Tensor, Tensor]:
    for precision in (matrix.dtype, torch.float64):
        with suppress(LinAlgError):
            values, vectors = torch.linalg.eigh(matrix.to(precision))
            return values.to(matrix.dtype), vectors.to(matrix.dtype)
    return matrix.new_full(matrix.shape[:1], torch.nan), torch.full_like(matrix, torch.nan)


def _distance(matrices: Tensor, identity: Tensor) -> Tensor:
    return (matrices - identity).abs().amax(dim=(-2, -1), keepdim=True)


def finite_or(matrices: Tensor, previous: Tensor) -> Tensor:
    """Return the batch, with `previous` where a matrix is not finite; without waiting for an accelerator."""
    return torch.where(matrices.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True), matrices, previous)
