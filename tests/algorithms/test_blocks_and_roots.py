"""Blocks that tensors are cut into, and roots of matrices in batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from timetrial.algorithms.parts.blocks import Blocks, axis_gram, axis_multiply, merged_shape, move_axis_gram
from timetrial.algorithms.parts.matrix_roots import eigh, inverse_root, largest_eigenvalue, newton_inverse_root


@pytest.mark.parametrize(
    ("shape", "merged"),
    [
        ((64, 3, 7, 7), (192, 49)),
        ((32, 32), (1024,)),
        ((96, 96), (96, 96)),
        ((512, 512, 3, 3), (512, 512, 9)),
        ((64, 1, 5), (320,)),
        ((1, 2000, 1), (2000,)),
        ((), (1,)),
        ((1, 1), (1,)),
    ],
)
def test_merging(shape: tuple[int, ...], merged: tuple[int, ...]) -> None:
    assert merged_shape(shape, 1024) == merged


def test_gathering_and_scattering_are_inverse() -> None:
    shapes = [(5, 4), (7,), (4, 4), (3, 5, 2), (5, 4)]
    tensors = [torch.randn(shape) for shape in shapes]
    blocks = Blocks(shapes, 3)
    batches = blocks.gather(tensors)
    assert [tuple(batch.shape) for batch in batches] == blocks.shapes
    assert all(max(shape[1:]) <= 3 for shape in blocks.shapes)
    for one, other in zip(blocks.scatter(batches, tensors), tensors, strict=True):
        assert torch.equal(one, other)
    assert Blocks([(5, 4), (5, 4)]).shapes == [(2, 5, 4)]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_axes(shape: tuple[int, ...]) -> None:
    """Against the same contractions by their indices."""
    batch = torch.randn(shape, dtype=torch.float64)
    letters = "xyz"[: len(shape) - 1]
    for axis, letter in enumerate(letters):
        matrix = torch.randn(2, shape[axis + 1], shape[axis + 1], dtype=torch.float64)
        result = letters.replace(letter, "w")
        multiplied = torch.einsum(f"nw{letter},n{letters}->n{result}", matrix, batch)
        gram = torch.einsum(f"n{letters},n{result}->n{letter}w", batch, batch)
        torch.testing.assert_close(axis_multiply(batch, matrix, axis), multiplied)
        torch.testing.assert_close(axis_gram(batch, axis), gram)
        moved = matrix.clone()
        move_axis_gram(moved, batch, axis, 0.9)
        torch.testing.assert_close(moved, 0.9 * matrix + 0.1 * gram)


def matrices(size: int = 6, count: int = 3) -> Tensor:
    factors = torch.randn(count, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return factors @ factors.mT / size + 0.05 * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("root", [2, 4, 6])
@pytest.mark.parametrize("function", [inverse_root, newton_inverse_root])
def test_roots(function: Any, root: int) -> None:
    batch = matrices()
    options = {"tolerance": 1e-13} if function is newton_inverse_root else {}
    found = function(batch, root, previous=torch.zeros_like(batch), **options)
    identity = torch.eye(6, dtype=torch.float64).expand_as(batch)
    torch.testing.assert_close(torch.linalg.matrix_power(found, root) @ batch, identity, rtol=0, atol=1e-9)


def test_negative_eigenvalues_are_lifted() -> None:
    """The values -0.25 and 0.75 become 0 and 1, with eps 0.01 and 1.01."""
    root = inverse_root(torch.diag(torch.tensor([0.75, -0.25]))[None], 2, previous=torch.zeros(1, 2, 2), eps=0.01)
    torch.testing.assert_close(root[0], torch.diag(torch.tensor([1.01**-0.5, 10.0])))


@pytest.mark.parametrize("function", [inverse_root, newton_inverse_root])
def test_one_bad_matrix_keeps_its_root_and_spoils_no_other(function: Any) -> None:
    batch = matrices()
    good = function(batch, 2, previous=torch.zeros_like(batch))
    batch[1] = torch.nan
    previous = torch.full_like(batch, 7.0)
    found = function(batch, 2, previous=previous)
    torch.testing.assert_close(found[1], previous[1])
    torch.testing.assert_close(found[[0, 2]], good[[0, 2]])


def test_newton_keeps_the_root_where_it_does_not_converge() -> None:
    batch, previous = matrices(), torch.full((3, 6, 6), 7.0, dtype=torch.float64)
    assert torch.equal(newton_inverse_root(batch, 2, previous=previous, steps=1, accept=1e-3), previous)


def test_only_the_matrix_that_the_solver_fails_on_is_tried_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = matrices().float()
    wanted = torch.linalg.eigvalsh(batch)
    solve = torch.linalg.eigh
    in_double: list[Tensor] = []

    def fails_on_one(each: Tensor) -> Any:
        if each.dtype == torch.float64:
            in_double.append(each)
        elif torch.equal(each, batch[1]):
            raise torch.linalg.LinAlgError("did not converge")
        return solve(each)

    monkeypatch.setattr(torch.linalg, "eigh", fails_on_one)
    torch.testing.assert_close(eigh(batch)[0], wanted)
    assert len(in_double) == 1
    torch.testing.assert_close(in_double[0], batch[1].double())


def test_largest_eigenvalue() -> None:
    batch = matrices()
    wanted = torch.linalg.eigvalsh(batch)[:, -1]
    torch.testing.assert_close(largest_eigenvalue(batch).flatten(), wanted, rtol=1e-3, atol=0)
    assert torch.equal(largest_eigenvalue(torch.zeros(1, 3, 3)), torch.zeros(1, 1, 1))
