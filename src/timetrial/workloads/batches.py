"""What a batch must be: a description of each of its arrays, and the check that a batch fits it.

The check reads host arrays, so that it never waits for an accelerator, and it reads all their values, so that it has
no place in a training step: a trial checks the first training batch and, in its first evaluation, every batch of the
splits, all off the clock and once a process. On one core it reads 7 GB a second, which makes 4 s for the 50,000
images of ImageNet's validation split. What comes later is made by the same code from the same files. What the check
does not see, because a submission changed it or the model made it, is left to the losses, which compare shapes, and
to the arithmetic: NaN stays NaN, and a metric of NaN reaches no target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from timetrial.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from timetrial.workloads.base import HostBatch

Kind: TypeAlias = Literal["numbers", "integers", "labels", "probabilities", "mask"]

_DTYPES: dict[Kind, tuple[str, ...]] = {
    "numbers": ("float32",),
    "integers": ("int32", "int64"),
    "labels": ("int64",),
    "probabilities": ("float32",),
    "mask": ("bool", "int32", "int64", "float32", "float64"),
}
"""By kind, what an array's dtype may be. Labels are what PyTorch's losses index with: they take int64 only."""

_ROUNDING = 1e-4
"""How far float32 probabilities of up to 1,000 classes may sum from 1."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis whose size the batch decides; all axes of the same name have the same size in a batch."""

    name: str
    at_least: int = 1
    at_most: int | None = None
    multiple_of: int = 1

    def fits(self, size: int) -> bool:
        """Tell whether the size is allowed."""
        in_range = self.at_least <= size <= (size if self.at_most is None else self.at_most)
        return in_range and size % self.multiple_of == 0

    def __str__(self) -> str:
        """Say what sizes are allowed."""
        limits = [f"at least {self.at_least}"] if self.at_least > 1 else []
        limits += [f"at most {self.at_most}"] if self.at_most is not None else []
        limits += [f"a multiple of {self.multiple_of}"] if self.multiple_of > 1 else []
        return f"{self.name} ({', '.join(limits)})" if limits else self.name


EXAMPLES = Axis(name="examples")


@dataclass(frozen=True, kw_only=True)
class Field:
    """What one array of a batch must be.

    Numbers are finite; probabilities lie in [0, 1] and sum to 1 along the last axis; a mask holds 0 and 1.
    """

    kind: Kind
    axes: tuple[Axis | int, ...]
    """The array's shape; an integer is the only size allowed."""
    at_least: float | None = None
    at_most: float | np.ndarray | str | None = None
    """Largest value; an array gives one for each entry of the last axis, a string is the size of that axis."""
    below: int | str | None = None
    """Instead of `at_most`: what integers stay below; a string is the size of that axis."""
    optional: bool = False

    def takes(self, array: np.ndarray) -> bool:
        """Tell whether dtype and shape are allowed."""
        if str(array.dtype) not in _DTYPES[self.kind] or array.ndim != len(self.axes):
            return False
        return all(
            axis.fits(size) if isinstance(axis, Axis) else axis == size
            for axis, size in zip(self.axes, array.shape, strict=True)
        )

    def __str__(self) -> str:
        """Say what dtype and shape are allowed."""
        shape = ", ".join(str(axis) for axis in self.axes)
        shape = f"({shape},)" if len(self.axes) == 1 else f"({shape})"
        return f"{self.kind} of shape {shape} and dtype {' or '.join(_DTYPES[self.kind])}"


Fields: TypeAlias = Mapping[str, "Field | tuple[Field, ...]"]
"""By name, what an array of a batch must be, or a choice of what it may be."""


def check_fields(fields: Fields, batch: HostBatch) -> None:
    """Raise UserError, naming the array, what was expected and what was found, unless the batch is as described."""
    for name in batch:
        if name not in fields:
            raise UnknownNameError("array in a batch", name, fields)
    chosen: dict[str, Field] = {}
    for name, choice in fields.items():
        options = choice if isinstance(choice, tuple) else (choice,)
        if name in batch:
            chosen[name] = _fitting(name, options, batch[name])
        elif not options[0].optional:
            raise bad_batch(name, _either(options), "no such array")
    sizes = _sizes(chosen, batch)
    for name, field in chosen.items():
        _check_values(name, field, batch[name], sizes)


def bad_batch(name: str, expected: str, found: str) -> UserError:
    """Return the error of a batch whose array `name` is not what was expected."""
    return UserError(f"batch, {name}: expected {expected}, found {found}")


def _fitting(name: str, options: tuple[Field, ...], array: np.ndarray) -> Field:
    """Return the first option that takes the array."""
    if not isinstance(array, np.ndarray):
        raise bad_batch(name, _either(options), f"a {type(array).__name__}")
    for field in options:
        if field.takes(array):
            return field
    raise bad_batch(name, _either(options), f"dtype {array.dtype} and shape {array.shape}")


def _either(options: tuple[Field, ...]) -> str:
    return ", or ".join(str(field) for field in options)


def _sizes(fields: Mapping[str, Field], batch: HostBatch) -> dict[str, int]:
    """Return the sizes of the named axes; raises UserError where two arrays disagree."""
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    for name, field in fields.items():
        for axis, size in zip(field.axes, batch[name].shape, strict=True):
            if not isinstance(axis, Axis):
                continue
            if sizes.setdefault(axis.name, size) != size:
                raise bad_batch(name, f"{sizes[axis.name]} {axis.name}, as in {first[axis.name]}", f"{size}")
            first.setdefault(axis.name, name)
    return sizes


def _check_values(name: str, field: Field, array: np.ndarray, sizes: Mapping[str, int]) -> None:
    """Raise UserError for the first value that is not allowed; NaN never is."""
    if field.kind == "mask":
        expected, right = "only 0 and 1", (array == 0) | (array == 1)
    elif field.kind == "probabilities":
        expected, right = "probabilities", (array >= 0) & (array <= 1 + _ROUNDING)
    else:
        low, high = _bounds(field, array.dtype, sizes)
        if array.size and not isinstance(high, np.ndarray) and low <= array.min() and array.max() <= high:
            return  # the usual case, five times as fast as comparing every value; least and largest of NaN are NaN
        expected, right = _range(field, high), (array >= low) & (array <= high)
    _require(right, name, expected, array)
    if field.kind == "probabilities":
        sums = array.sum(axis=-1)
        _require(np.abs(sums - 1) <= _ROUNDING, name, "probabilities that sum to 1", sums)


def _require(right: np.ndarray, name: str, expected: str, values: np.ndarray) -> None:
    if not right.all():
        place = tuple(int(index) for index in np.argwhere(~right)[0])
        raise bad_batch(name, expected, f"{values[place]!s} at {list(place)}")


def _bounds(field: Field, dtype: np.dtype, sizes: Mapping[str, int]) -> tuple[float, float | np.ndarray]:
    """Return the least and the largest value allowed: where the field does not say, any that is finite."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    high = field.at_most
    if field.below is not None:
        high = (sizes[field.below] if isinstance(field.below, str) else field.below) - 1
    elif isinstance(high, str):
        high = sizes[high]
    return limits.min if field.at_least is None else field.at_least, limits.max if high is None else high


def _range(field: Field, high: float | np.ndarray) -> str:
    """Say which values are allowed."""
    what = "integers" if field.kind in {"integers", "labels"} else "finite numbers"
    limits = [] if field.at_least is None else [f"at least {field.at_least:.10g}"]
    if isinstance(high, np.ndarray):
        limits.append("at most their column's largest")
    elif field.at_most is not None or field.below is not None:
        limits.append(f"at most {high:.10g}")
    return " ".join([what, " and ".join(limits)]).strip()
