"""Search spaces as JSON, in the public benchmark's format (`tuning_search_space.json`).

Either an object, `{name: {"min": a, "max": b, "scaling": "linear" | "log"} | {"feasible_points": [...]}}`,
or a list of complete points, `[{name: value, ...}, ...]` (spec: protocol.md, 7).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from timetrial.api import Choice, Dimension, LogUniform, SearchSpace, Uniform, choice, log_uniform, uniform
from timetrial.errors import FileError, UserError


def load_search_space(path: str | Path) -> SearchSpace:
    """Read a search space from a JSON file; raises FileError naming the file, the key and what was expected."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors put a byte-order mark in front
    except OSError as error:
        raise FileError(path, f"cannot read the search space: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FileError(path, "expected UTF-8 text") from None
    return parse_search_space(text, path)


def parse_search_space(text: str, origin: str | Path) -> SearchSpace:
    """Return the search space that `text` spells; `origin` is what a FileError calls it."""
    data = _parse_json(text, origin)
    if data in ({}, []):
        raise FileError(origin, "expected at least one hyperparameter or point, found none")
    try:
        if isinstance(data, dict):
            return SearchSpace(**_DIMENSIONS.validate_python(data))
        if isinstance(data, list):
            return SearchSpace.from_points(data)
    except ValidationError as error:
        raise FileError.from_validation(origin, error) from None
    except UserError as error:
        raise FileError(origin, str(error)) from None
    raise FileError(origin, f"expected an object of hyperparameters or a list of points, found {data!r}")


def to_json(space: SearchSpace) -> str:
    """Return the JSON text that `parse_search_space` reads back as an equal search space."""
    data: object
    if space.points:
        data = [dict(point) for point in space.points]
    else:
        data = {name: _spelled(dimension) for name, dimension in space.dimensions.items()}
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


class _Entry(BaseModel):
    """One hyperparameter as the file spells it; `_one_form` sees to it that one of the two forms is complete."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    min: float = 0.0
    max: float = 0.0
    scaling: Literal["linear", "log"] = "linear"
    feasible_points: list[Any] = []

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, entry: object) -> object:
        forms = "expected either 'min', 'max' and 'scaling', or 'feasible_points'"
        if not isinstance(entry, dict):
            raise ValueError(f"{forms}, found {entry!r}")
        if set(entry) not in ({"min", "max", "scaling"}, {"feasible_points"}):
            raise ValueError(f"{forms}, found {', '.join(map(repr, entry)) or 'neither'}")
        return entry

    def dimension(self) -> Dimension:
        """Return the dimension; raises UserError where its numbers do not make one."""
        if "feasible_points" in self.model_fields_set:
            return choice(*self.feasible_points)
        return log_uniform(self.min, self.max) if self.scaling == "log" else uniform(self.min, self.max)


_DIMENSIONS: TypeAdapter[Any] = TypeAdapter(dict[str, Annotated[_Entry, AfterValidator(_Entry.dimension)]])


def _spelled(dimension: Dimension) -> dict[str, object]:
    match dimension:
        case Uniform(low, high):
            return {"min": low, "max": high, "scaling": "linear"}
        case LogUniform(low, high):
            return {"min": low, "max": high, "scaling": "log"}
        case Choice(values):
            return {"feasible_points": list(values)}


def _parse_json(text: str, origin: str | Path) -> Any:
    """Parse strictly: what json lets pass (a key given twice, NaN, Infinity) is an error here."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise FileError(origin, "given more than once in the same object", key=twice)
        return entries

    def refuse(constant: str) -> NoReturn:
        raise FileError(origin, f"expected finite numbers, found {constant}")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except UserError:
        raise
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FileError(origin, f"not valid JSON at {where}: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply; an integer of thousands of digits
        raise FileError(origin, f"not a search space: {error}") from None
