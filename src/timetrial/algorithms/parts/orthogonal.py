"""Orthogonalising many matrices at once: Newton-Schulz and Polar Express (spec: algorithms/common.md, 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
"""Five times the quintic of Jordan et al. 2024 ("Muon"): singular values end between about 0.68 and 1.20."""

_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_LIMIT = (1.875, -1.25, 0.375)

_ALONE = 128
"""Rows from which on matrices are iterated one by one on a CPU: a tenth faster than in a batch, and slower below."""

Coefficients = Sequence[tuple[float, float, float]]


def polar_express_coefficients(steps: int = 5) -> Coefficients:
    """Return the coefficients of Polar Express, all but the limit's with the safety scaling of 1.05.

    Source: Amsel et al. 2025, "The Polar Express" (arXiv 2505.16932); spec: algorithms/common.md, 7.2.
    """
    scaled = [(a / 1.05, b / 1.05**3, c / 1.05**5) for a, b, c in _POLAR_EXPRESS]
    return [scaled[step] if step < len(scaled) else _LIMIT for step in range(steps)]


def orthogonalize(matrices: Tensor, coefficients: Coefficients = NEWTON_SCHULZ, *, margin: float = 1.0) -> Tensor:
    """Return what approximates U V^T of each matrix U S V^T in a batch (n, rows, columns), in the same dtype.

    `margin` is multiplied into the norm that matrices are divided by at first (Polar Express: 1.02). On an
    accelerator the iteration runs in bfloat16, as published; on a CPU in the matrices' own dtype.
    """
    flip = matrices.shape[-2] > matrices.shape[-1]  # the Gram matrix is the smaller one
    x = matrices.mT if flip else matrices
    if x.device.type != "cpu":
        x = x.bfloat16()
    x = x / (margin * torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    if x.device.type == "cpu" and x.shape[-2] >= _ALONE:
        x = torch.stack([_iterate(each, coefficients, torch.addmm) for each in x])
    else:
        x = _iterate(x, coefficients, torch.baddbmm)
    return (x.mT if flip else x).to(matrices.dtype)


def _iterate(x: Tensor, coefficients: Coefficients, multiply: Callable[..., Tensor]) -> Tensor:
    """Apply the polynomials to wide matrices; `multiply(base, left, right)` is `beta base + alpha left right`."""
    for a, b, c in coefficients:
        gram = x @ x.mT
        x = multiply(x, multiply(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def exact_polar(matrices: Tensor) -> Tensor:
    """Return U V^T of each matrix U S V^T in a batch, by a singular value decomposition."""
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    return u @ vt


newton_schulz = partial(orthogonalize, coefficients=NEWTON_SCHULZ)
"""Muon's orthogonalisation of a batch (n, rows, columns)."""


def polar_express(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return the polar factor of each matrix in a batch by Polar Express; see `polar_express_coefficients`."""
    return orthogonalize(matrices, polar_express_coefficients(steps), margin=1.02)


def inverse_square_root(grams: Tensor, coefficients: Coefficients) -> Tensor:
    """Return what approximates C^(-1/2) of each positive definite matrix in a batch (n, d, d) by the same polynomials.

    With Y = C / a, Z = I and a = 1.02 ||C||, in terms of R = I - Z Y each polynomial is T = a' I + b' R + c' R^2, and
    Y <- Y T, Z <- T Z; the result is Z / sqrt(a) (spec: algorithms/common.md, 7.3). In the matrices' own dtype: roots
    need float32.
    """
    scale = 1.02 * torch.linalg.matrix_norm(grams, keepdim=True) + 1e-30
    identity = torch.eye(grams.shape[-1], dtype=grams.dtype, device=grams.device)
    y, z = grams / scale, identity.expand_as(grams)
    for a, b, c in coefficients:
        r = identity - z @ y
        t = (a + b + c) * identity - (b + 2 * c) * r + c * (r @ r)
        y, z = y @ t, t @ z
    return z / scale.sqrt()


def stable_rank(matrices: Tensor) -> Tensor:
    """Return ||M||_F^2 / ||M||_2^2, between 1 and the rank, of each matrix in a batch (n, rows, columns): (n,)."""
    return (torch.linalg.matrix_norm(matrices) / torch.linalg.matrix_norm(matrices, ord=2)).square()


def in_batches(matrices: Sequence[Tensor], function: Callable[..., Tensor], *others: Sequence[Tensor]) -> list[Tensor]:
    """Apply a function of batches to matrices (n, rows, columns) of any shapes: those of one shape go together.

    `others` are lists beside the matrices, of tensors (n, ...), which the function gets batched in the same way.
    """
    by_shape: dict[torch.Size, list[int]] = {}
    for index, matrix in enumerate(matrices):
        by_shape.setdefault(matrix.shape[1:], []).append(index)
    results: dict[int, Tensor] = {}
    for indices in by_shape.values():
        batches = [_together([tensors[index] for index in indices]) for tensors in (matrices, *others)]
        done = function(*batches)
        results |= zip(indices, done.split([len(matrices[index]) for index in indices]), strict=True)
    return [results[index] for index in range(len(matrices))]


def _together(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
