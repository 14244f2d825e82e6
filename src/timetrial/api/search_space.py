"""Search spaces: what a submission lets the harness tune under the external ruleset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from timetrial.errors import UserError

Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform on [low, high]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds("uniform", self.low, self.high)

    def at(self, u: float) -> Value:
        """Map u in [0, 1) into the dimension (spec: protocol.md, 7, step 6)."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Uniform in the logarithm on [low, high]; both above zero."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds("log_uniform", self.low, self.high)
        if self.low <= 0:
            raise UserError(f"log_uniform({self.low!r}, {self.high!r}): on a log scale 'min' must be above 0")

    def at(self, u: float) -> Value:
        """Map u in [0, 1) into the dimension (spec: protocol.md, 7, step 6)."""
        return self.low * math.exp(u * math.log(self.high / self.low))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a list of values, each equally likely."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("choice(): give at least one value")
        if any(isinstance(value, float) and not math.isfinite(value) for value in self.values):
            raise UserError(f"choice{self.values!r}: values must be finite")

    def at(self, u: float) -> Value:
        """Map u in [0, 1) into the dimension (spec: protocol.md, 7, step 6)."""
        return self.values[int(u * len(self.values))]


Dimension: TypeAlias = Uniform | LogUniform | Choice


def uniform(low: float, high: float) -> Uniform:
    """Return a dimension that is uniform on [low, high]."""
    return Uniform(low, high)


def log_uniform(low: float, high: float) -> LogUniform:
    """Return a dimension that is uniform in the logarithm on [low, high]."""
    return LogUniform(low, high)


def choice(*values: Value) -> Choice:
    """Return a dimension that takes one of `values`."""
    return Choice(values)


class SearchSpace:
    """Either dimensions to draw points from, or a fixed list of points that are tried in order."""

    def __init__(self, **dimensions: Dimension) -> None:
        for name, dimension in dimensions.items():
            if not isinstance(dimension, Dimension):
                raise UserError(
                    f"search space, {name}: expected uniform(...), log_uniform(...) or choice(...), "
                    f"found {dimension!r}"
                )
        self.dimensions: Mapping[str, Dimension] = MappingProxyType(dimensions)
        self.points: tuple[Mapping[str, Value], ...] = ()

    @classmethod
    def from_points(cls, points: Sequence[Mapping[str, Value]]) -> SearchSpace:
        """Return a search space that is a fixed list of complete points with the same names."""
        if not points:
            raise UserError("search space: expected at least one point, found an empty list")
        for number, point in enumerate(points):
            if set(point) != set(points[0]):
                raise UserError(
                    f"search space, point {number}: expected the names {sorted(points[0])} of the first point, "
                    f"found {sorted(point)}"
                )
        space = cls()
        space.points = tuple(MappingProxyType(dict(point)) for point in points)
        return space

    def at(self, unit_point: Sequence[float]) -> dict[str, Value]:
        """Map a point of the unit cube, one coordinate a dimension in order, to hyperparameters."""
        pairs = zip(self.dimensions.items(), unit_point, strict=True)
        return {name: dimension.at(float(u)) for (name, dimension), u in pairs}

    def __repr__(self) -> str:
        if self.points:
            return f"SearchSpace.from_points({[dict(point) for point in self.points]!r})"
        return f"SearchSpace({', '.join(f'{name}={dim!r}' for name, dim in self.dimensions.items())})"


class Hyperparameters(Mapping[str, Any]):
    """One point: `hyperparameters.learning_rate`, or as a mapping. Read-only."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(self._values) or "none at all"
            raise AttributeError(f"no hyperparameter {name!r}; this trial has {known}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"hyperparameters are read-only (tried to set {name!r})")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Hyperparameters({self._values!r})"


def _check_bounds(what: str, low: float, high: float) -> None:
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            raise UserError(f"{what}({low!r}, {high!r}): expected two finite numbers")
    if low > high:
        raise UserError(f"{what}({low!r}, {high!r}): 'min' must not exceed 'max'")
