"""Search spaces: what a submission lets the harness tune under the external ruleset."""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from timetrial.errors import UserError

Value: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform on [low, high]. Raises UserError unless both are finite and low <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        low, high = _bounds("uniform", self.low, self.high)
        if not math.isfinite(high - low):
            raise UserError(f"uniform({low!r}, {high!r}): the range is too wide for a float")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def at(self, u: float) -> float:
        """Map u in [0, 1) into the dimension (spec: protocol.md, 7, step 6)."""
        return _clip(self.low + u * (self.high - self.low), self.low, self.high)


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Uniform in the logarithm on [low, high]. Raises UserError unless both are finite and 0 < low <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        low, high = _bounds("log_uniform", self.low, self.high)
        if low <= 0:
            raise UserError(f"log_uniform({low!r}, {high!r}): on a log scale the minimum must be above 0")
        if not math.isfinite(high / low):
            raise UserError(f"log_uniform({low!r}, {high!r}): the range is too wide for a float")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def at(self, u: float) -> float:
        """Map u in [0, 1) into the dimension (spec: protocol.md, 7, step 6)."""
        return _clip(self.low * math.exp(u * math.log(self.high / self.low)), self.low, self.high)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a list of values, each equally likely. Raises UserError unless all are plain, finite values."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise UserError("choice(): give at least one value")
        for value in self.values:
            _check_value(f"choice({', '.join(map(repr, self.values))})", value)

    def at(self, u: float) -> Value:
        """Map u in [0, 1) into the dimension (spec: protocol.md, 7, step 6)."""
        return self.values[int(u * len(self.values))]


Dimension: TypeAlias = Uniform | LogUniform | Choice


def uniform(low: float, high: float) -> Uniform:
    """Return a dimension that is uniform on [low, high]; raises UserError as `Uniform`."""
    return Uniform(low, high)


def log_uniform(low: float, high: float) -> LogUniform:
    """Return a dimension that is uniform in the logarithm on [low, high]; raises UserError as `LogUniform`."""
    return LogUniform(low, high)


def choice(*values: Value) -> Choice:
    """Return a dimension that takes one of `values`; raises UserError as `Choice`."""
    return Choice(values)


class SearchSpace:
    """Either dimensions to draw points from, or a fixed list of points that are tried in order.

    Two are equal when they have the same points, or the same dimensions in the same order (draws depend on it).
    Raises UserError: a dimension of another type, a name that `Hyperparameters` cannot serve.
    """

    __slots__ = ("dimensions", "points")

    dimensions: Mapping[str, Dimension]
    """By name, in the order of the unit cube's coordinates; empty where the points are fixed."""
    points: tuple[Mapping[str, Value], ...]
    """The fixed points; empty where there are dimensions."""

    def __init__(self, /, **dimensions: Dimension) -> None:
        _check_names(dimensions)
        for name, dimension in dimensions.items():
            if not isinstance(dimension, Dimension):
                raise UserError(
                    f"hyperparameter {name!r}: expected uniform(...), log_uniform(...) or choice(...), "
                    f"found {dimension!r}"
                )
        self.dimensions = MappingProxyType(dimensions)
        self.points = ()

    @classmethod
    def from_points(cls, points: Sequence[Mapping[str, Value]], /, **common: Value) -> SearchSpace:
        """Return a search space that is a fixed list of points with the same names.

        What the points have in common may be said once, by `common`; a point that says otherwise has its way.

        Raises UserError: no points, a point without names or with other names than the first, a value that is
        not plain and finite.
        """
        if not points:
            raise UserError("expected at least one point, found an empty list")
        if common:
            _check_point("what the points have in common", common)
        whole: list[dict[str, Value]] = []
        for number, point in enumerate(points, start=1):
            _check_point(f"point {number}", point)
            whole.append({**common, **point})
            if whole[-1].keys() != whole[0].keys():
                raise UserError(
                    f"point {number}: expected the names {sorted(whole[0])} of the first point, found "
                    f"{sorted(whole[-1])}"
                )
        space = cls()
        space.points = tuple(MappingProxyType(point) for point in whole)
        return space

    def at(self, unit_point: Iterable[float]) -> dict[str, Value]:
        """Map a point of the unit cube [0, 1)^D, one coordinate a dimension in order, to hyperparameters."""
        pairs = zip(self.dimensions.items(), unit_point, strict=True)
        return {name: dimension.at(float(u)) for (name, dimension), u in pairs}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return list(self.dimensions.items()) == list(other.dimensions.items()) and self.points == other.points

    def __hash__(self) -> int:
        return hash((tuple(self.dimensions.items()), len(self.points)))

    def __reduce__(self) -> tuple[Callable[..., SearchSpace], tuple[object, ...]]:
        # Read-only views cannot be copied or pickled themselves.
        if self.points:
            return SearchSpace.from_points, ([dict(point) for point in self.points],)
        return partial(SearchSpace, **self.dimensions), ()

    def __repr__(self) -> str:
        if self.points:
            return f"SearchSpace.from_points({[dict(point) for point in self.points]!r})"
        return f"SearchSpace({', '.join(f'{name}={dimension!r}' for name, dimension in self.dimensions.items())})"


class Hyperparameters(Mapping[str, Any]):
    """One point: `hyperparameters.learning_rate`, or as a mapping. Read-only.

    Raises UserError for a name that cannot be read as an attribute.
    """

    __slots__ = ("_values",)

    _values: dict[str, Any]

    def __init__(self, values: Mapping[str, Any]) -> None:
        _check_names(values)
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copy and pickle probe for, also before there are values to look at
            raise AttributeError(f"no attribute {name!r}")
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(self._values) or "none at all"
            raise AttributeError(f"no hyperparameter {name!r}; this trial has {known}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"hyperparameters are read-only (tried to set {name!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"hyperparameters are read-only (tried to delete {name!r})")

    def __reduce__(self) -> tuple[type[Hyperparameters], tuple[dict[str, Any]]]:
        # The default would restore the attribute by setting it, which is refused.
        return Hyperparameters, (self._values,)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Hyperparameters({self._values!r})"


def _bounds(what: str, low: float, high: float) -> tuple[float, float]:
    """Both bounds as plain floats (a numpy scalar could not be written to JSON), in order."""
    for bound in (low, high):
        if not _is_finite_number(bound):
            raise UserError(f"{what}({low!r}, {high!r}): expected two finite numbers")
    if low > high:
        raise UserError(f"{what}({low!r}, {high!r}): the minimum must not exceed the maximum")
    return float(low), float(high)


def _clip(value: float, low: float, high: float) -> float:
    """Take back the last bit by which rounding may leave [low, high]."""
    return min(max(value, low), high)


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def _check_value(where: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: values must be finite, found {value!r}")
    if not isinstance(value, Value):
        raise UserError(f"{where}: expected a number, a string, True, False or None, found {value!r}")


def _check_point(where: str, point: object) -> None:
    if not isinstance(point, Mapping) or not point:
        raise UserError(f"{where}: expected hyperparameters with their values, found {point!r}")
    _check_names(point)
    for name, value in point.items():
        _check_value(f"{where}, {name}", value)


def _check_names(names: Iterable[object]) -> None:
    """Refuse what `hyperparameters.<name>` could not read; the public API has the same limit (a namedtuple)."""
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name[0] == "_":
            raise UserError(
                f"hyperparameter {name!r}: expected a name of letters, digits and underscores that starts with "
                "a letter and is not a word of Python's own"
            )
        if name in dir(Mapping):
            raise UserError(f"hyperparameter {name!r}: hides the method of that name; choose another name")
