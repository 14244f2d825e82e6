"""Hyperparameters of all trials against time to target: a scatter for each, misses on a rail of their own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from timetrial.report.palette import marker
from timetrial.report.pool import Pool, Race
from timetrial.report.svg import DRAWABLE, Axis, Frame, Scale, drawing, element, join, number

_CATEGORIES = 12
_TICK_LENGTH = 14
_FRACTIONS = (1e-6, 1e6)
_WIDE = 20.0  # a positive range beyond it is shown on a log axis


@dataclass(frozen=True, kw_only=True)
class Scatters:
    """Drawings by hyperparameter, and what never varied."""

    panels: Sequence[tuple[str, Markup]]
    constant: Sequence[str]
    """Hyperparameters of which all trials had the same value, as `name = value`."""
    trials: int


def scatters(pool: Pool) -> Scatters:
    """One panel a hyperparameter: its value against the fraction of the budget that the target took."""
    points: dict[str, list[tuple[int, Race, Any]]] = defaultdict(list)
    trials = 0
    for j, workload in enumerate(pool.workloads):
        for race in pool.races[workload]:
            trials += bool(race.history.hyperparameters)
            for name, value in (race.history.hyperparameters or {}).items():
                if _is_scalar(value):
                    points[name].append((j, race, value))
    panels, constant = [], []
    y = _fraction_axis(pool)
    for name, found in sorted(points.items()):
        values = [value for _, _, value in found]
        if len({_key(value) for value in values}) == 1:
            constant.append(f"{name} = {_text(values[0])}")
            continue
        axis, numbers = _axis(values)
        panels.append((name, _panel(pool, name, Frame(x=axis, y=y, bottom=22), found, numbers)))
    return Scatters(panels=panels, constant=constant, trials=trials)


def _fraction_axis(pool: Pool) -> Axis:
    """Fractions of the budget on a log axis, with room above for the rail of misses."""
    fractions = [
        _fraction(race, pool.budget(workload))
        for workload in pool.workloads
        for race in pool.races[workload]
        if race.reached
    ]
    low = min([*fractions, 0.5]) * 0.9
    high = max([*fractions, 1.0])
    scale = Scale(low, high * (high / low) ** 0.16, log=True)
    ticks = [(tick, f"{tick:.3g}") for tick in Scale(low, high * 1.001, log=True).ticks()]
    return Axis(scale=scale, label="time to target / budget", ticks=[*ticks, (_rail(scale), "missed")])


def _fraction(race: Race, budget: float) -> float:
    """Time over the budget; the public code's rules let it be anything, so it is kept within what an axis can show."""
    return min(max(race.times.seconds, budget * _FRACTIONS[0]), budget * _FRACTIONS[1]) / budget


def _rail(scale: Scale) -> float:
    return scale.high / (scale.high / scale.low) ** 0.05


def _panel(
    pool: Pool, name: str, frame: Frame, found: Sequence[tuple[int, Race, Any]], numbers: Sequence[float]
) -> Markup:
    paths: dict[tuple[int, int], list[str]] = defaultdict(list)
    rail = _rail(frame.y.scale)
    for (j, race, _), value in zip(found, numbers, strict=True):
        fraction = _fraction(race, pool.budget(pool.workloads[j])) if race.reached else rail
        x, y = float(frame.xs(value)) + _apart(race.place, len(pool.names)), float(frame.ys(fraction))
        paths[race.place, j].append(f"M{number(x)} {number(y)}{marker(race.place)}")
    border = float(frame.ys(frame.y.scale.high / (frame.y.scale.high / frame.y.scale.low) ** 0.1))
    right = number(frame.left + frame.inner_width)
    line = element("path", d=f"M{number(frame.left)} {number(border)}H{right}", class_="target")
    groups = [
        element(
            "g",
            element("title", f"{pool.names[place]} on {pool.workloads[j]}"),
            element("path", d="".join(marks), class_="point small"),
            class_=f"s{place} w{j}",
        )
        for (place, j), marks in sorted(paths.items(), key=lambda item: (-item[0][0], item[0][1]))
    ]
    label = f"{name} against time to target"
    return drawing(frame.size, join([frame.axes(), line, *groups]), label=label)


def _apart(place: int, count: int) -> float:
    """Pixels by which a submission's points are moved aside, so that those of others with the same value show."""
    return (place - (count - 1) / 2) * min(3.0, 12.0 / count)


def _axis(values: Sequence[Any]) -> tuple[Axis, Sequence[float]]:
    """The axis for a hyperparameter, and its values as numbers; words become categories."""
    if not all(_is_number(value) for value in values):
        names = sorted({_text(value) for value in values})
        where: Mapping[str, int] = {text: min(i, _CATEGORIES - 1) for i, text in enumerate(names)}
        ticks = [(float(i), _short(text)) for i, text in enumerate(names[:_CATEGORIES])]
        if len(names) > _CATEGORIES:
            ticks[-1] = (ticks[-1][0], "others")
        scale = Scale(-0.5, len(ticks) - 0.5)
        return Axis(scale=scale, label="", ticks=ticks), [float(where[_text(v)]) for v in values]
    numbers = [float(value) for value in values]
    log = min(numbers) > 0 and max(numbers) / min(numbers) > _WIDE
    return Axis(scale=Scale.around(numbers, log=log), label="", text="{:.3g}".format), numbers


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | bool | int | float) or value is None


def _is_number(value: object) -> bool:
    """Whether a value is a number that an axis can show; others become categories."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return value == 0 or 1 / DRAWABLE <= abs(float(value)) <= DRAWABLE
    except OverflowError:  # an integer of hundreds of digits
        return False


def _key(value: object) -> tuple[bool, str]:
    return (isinstance(value, str), _text(value))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(text: str) -> str:
    return text if len(text) <= _TICK_LENGTH else f"{text[: _TICK_LENGTH - 1]}…"
