"""Tensors cut into blocks, and blocks of one shape stacked: what rules with a matrix for each axis work on."""

from __future__ import annotations

import itertools
import math
from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from timetrial.algorithms.parts.list_optimizer import ListOptimizer

Shape = tuple[int, ...]


def merged_shape(shape: Sequence[int], limit: int) -> Shape:
    """Return the shape with neighbouring axes multiplied while the product is at most `limit`; axes of 1 go.

    Source: Shi et al. 2023 (arXiv 2309.06497); spec: algorithms/shampoo.md, A. (64, 3, 7, 7) -> (192, 49).
    """
    sizes = [size for size in shape if size != 1] or [1]
    merged = sizes[:1]
    for size in sizes[1:]:
        if merged[-1] * size <= limit:
            merged[-1] *= size
        else:
            merged.append(size)
    return tuple(merged)


def matrix_shape(shape: Sequence[int]) -> Shape:
    """Return (out, everything else) of a weight of two or more axes, (size,) of any other."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (math.prod(shape),)


class Blocks:
    """How a list of tensors is cut into blocks, and in which batch (n, *block shape) each block lies."""

    def __init__(self, shapes: Sequence[Shape], limit: int | None = None) -> None:
        """Cut tensors that are seen as `shapes` into blocks of at most `limit` along every axis."""
        self._shapes = shapes
        self._pieces = [[_pieces(size, limit) for size in shape] for shape in shapes]
        self._places: list[list[tuple[int, int]]] = []
        """Of each tensor's blocks in order: which batch, and where in it."""
        lengths: dict[Shape, int] = {}
        for pieces in self._pieces:
            places = []
            for block in itertools.product(*pieces):
                position = lengths.setdefault(block, 0)
                lengths[block] += 1
                places.append((list(lengths).index(block), position))
            self._places.append(places)
        self.shapes = [(length, *block) for block, length in lengths.items()]
        """The batches' shapes."""

    def gather(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the batches; one of a single block is a view of its tensor, all others are copies."""
        members: list[list[Tensor]] = [[] for _ in self.shapes]
        for tensor, shape, pieces, places in zip(tensors, self._shapes, self._pieces, self._places, strict=True):
            blocks = [tensor.reshape(shape)]
            for axis, sizes in enumerate(pieces):
                if len(sizes) > 1:
                    blocks = [piece for block in blocks for piece in block.split(sizes, dim=axis)]
            for block, (batch, _) in zip(blocks, places, strict=True):
                members[batch].append(block)
        return [blocks[0].unsqueeze(0) if len(blocks) == 1 else torch.stack(blocks) for blocks in members]

    def scatter(self, batches: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors whose batches these are; one of a single block is a view, all others are copies."""
        blocks_of = [batch.unbind() for batch in batches]
        tensors = []
        for target, pieces, places in zip(like, self._pieces, self._places, strict=True):
            blocks = [blocks_of[batch][position] for batch, position in places]
            for axis in reversed(range(len(pieces))):
                together = len(pieces[axis])
                if together > 1:
                    blocks = [
                        torch.cat(blocks[start : start + together], dim=axis)
                        for start in range(0, len(blocks), together)
                    ]
            tensors.append(blocks[0].reshape(target.shape))
        return tensors


class BlockOptimizer(ListOptimizer, ABC):
    """An update rule over batches of blocks: the state of all blocks of one shape is one tensor.

    A weight that has no gradient is not moved, but its statistics see a gradient of zero: batches are of all weights.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], **defaults: Any) -> None:
        super().__init__(params, **defaults)
        self._layouts: dict[Tensor, Blocks] = {}

    def block_shape(self, group: dict[str, Any], weight: Tensor) -> Shape:
        """Return the shape that a weight is seen as before it is cut into blocks: by default its matrix."""
        return matrix_shape(weight.shape)

    def layout(self, group: dict[str, Any]) -> Blocks:
        """Return the blocks of a group's parameters, of at most `group["block_size"]` along each axis."""
        first = group["params"][0]
        if first not in self._layouts:
            shapes = [self.block_shape(group, weight) for weight in group["params"]]
            self._layouts[first] = Blocks(shapes, group.get("block_size"))
        return self._layouts[first]

    def gather_gradients(self, group: dict[str, Any]) -> list[Tensor]:
        """Return the gradients' batches."""
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in group["params"]]
        return self.layout(group).gather(gradients)

    def scatter_updates(self, group: dict[str, Any], batches: Sequence[Tensor]) -> list[Tensor]:
        """Return the updates of those parameters that have a gradient; they may be changed, the batches with them."""
        parameters = group["params"]
        updates = self.layout(group).scatter(batches, parameters)
        return [update for update, weight in zip(updates, parameters, strict=True) if weight.grad is not None]

    def kept(self, group: dict[str, Any], name: str, make: Callable[[], list[Any]]) -> list[Any]:
        """Return the state `name` of a group's batches, made by `make()` where there is none yet.

        It is saved under the group's first parameter: an optimizer's state is by parameter.
        """
        state = self.state[group["params"][0]]
        if name not in state:
            state[name] = make()
        return state[name]

    def kept_zeros(self, group: dict[str, Any], name: str, batches: Sequence[Tensor]) -> list[Tensor]:
        """Return the state `name` that starts as zeros of the batches' shapes."""
        return self.kept(group, name, lambda: [batch.new_zeros(batch.shape) for batch in batches])


def axis_gram(batch: Tensor, axis: int) -> Tensor:
    """Return the contraction of each block with itself over all axes but one, (n, d, d): X X^T of axis 0."""
    unfolded = _unfolded(batch, axis)
    return unfolded @ unfolded.mT


def move_axis_gram(statistic: Tensor, batch: Tensor, axis: int, beta: float) -> None:
    """Move an exponential average of `axis_gram` by one step, in place."""
    unfolded = _unfolded(batch, axis)
    statistic.baddbmm_(unfolded, unfolded.mT, beta=beta, alpha=1 - beta)


def axis_multiply(batch: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """Return each block with one axis multiplied by its matrix: A X of axis 0, X A^T of axis 1; contiguous."""
    if axis > 0 and axis == batch.ndim - 2:
        return (batch.flatten(1, -2) @ matrices.mT).view(batch.shape)
    moved = batch.movedim(axis + 1, 1)
    return (matrices @ _unfolded(batch, axis)).view(moved.shape).movedim(1, axis + 1).contiguous()


def identities(count: int, size: int, like: Tensor) -> Tensor:
    """Return so many identities (count, size, size), of the dtype and on the device of `like`."""
    return torch.eye(size, dtype=like.dtype, device=like.device).repeat(count, 1, 1)


def block_norms(batch: Tensor) -> Tensor:
    """Return the Frobenius norm of each block, with axes of one so that it divides the batch."""
    return torch.linalg.vector_norm(batch, dim=tuple(range(1, batch.ndim)), keepdim=True)


def _pieces(size: int, limit: int | None) -> list[int]:
    if limit is None or size <= limit:
        return [size]
    return [limit] * (size // limit) + ([size % limit] if size % limit else [])


def _unfolded(batch: Tensor, axis: int) -> Tensor:
    """Return each block as a matrix whose rows are along one axis."""
    moved = batch.movedim(axis + 1, 1)
    return moved.flatten(2) if moved.ndim > 2 else moved.unsqueeze(2)
