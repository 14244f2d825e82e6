"""Training curves: the validation metric against submission time, a drawing for each workload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from timetrial.report.palette import marker
from timetrial.report.pool import Pool, Race
from timetrial.report.svg import DRAWABLE, Axis, Frame, Scale, drawing, element, number
from timetrial.suite import SuiteWorkload

Floats = NDArray[np.float64]

POINTS = 48
"""Points of a fastest trial's curve at most; 24 of another's. A pool of 3,850 trials then takes 2 MB."""


_SHORTEST = 1e-6  # seconds that a time axis shows at least


def thinned(values: Floats, points: int) -> NDArray[np.intp]:
    """Indices of about `points` values that keep the first, the last and every excursion: each bucket's extremes."""
    if len(values) <= points:
        return np.arange(len(values))
    buckets = np.array_split(np.arange(len(values)), max(1, (points - 2) // 2))
    extremes = [index[choice(values[index])] for index in buckets for choice in (np.argmin, np.argmax)]
    return np.unique([0, *extremes, len(values) - 1])


def curves(pool: Pool, workload: str) -> Markup:
    """Fastest trials of all studies as lines in the submissions' colours, all others faint; the target dashed."""
    rules = pool.suite.workload(workload)
    races = pool.races[workload]
    series = [(race, *_series(race, pool.metric(workload))) for race in races]
    longest = max([_SHORTEST, *(float(times[-1]) for _, times, _ in series if len(times))])
    unit, name = _unit(longest)
    frame = Frame(
        x=Axis(scale=Scale(0.0, longest / unit * 1.02), label=f"submission time ({name})"),
        y=Axis(scale=_value_scale([values for race, _, values in series if race.fastest], rules), label=rules.metric),
    )
    faint: dict[int, list[str]] = defaultdict(list)
    lines, marks = [], []
    for race, times, values in series:
        if len(times) == 0:
            continue
        kept = thinned(values, POINTS if race.fastest else POINTS // 2)
        path = _path(frame, times[kept] / unit, values[kept])
        if not race.fastest:
            faint[race.place].append(path)
            continue
        name_of = f"{pool.names[race.place]}, study {race.history.study}, trial {race.history.trial}"
        lines.append(
            element(
                "g", element("title", name_of), element("path", d=path, class_="line thin"), class_=f"s{race.place}"
            )
        )
        if race.reached and abs(race.times.seconds) <= DRAWABLE:
            x, y = float(frame.xs(race.times.seconds / unit)), float(frame.ys(_crossing(race, times, values)))
            text = f"{name_of}: target reached at {race.times.seconds:,.6g} s"
            d = f"M{number(x)} {number(y)}{marker(race.place)}"
            crossing = element("path", element("title", text), d=d, class_="point")
            marks.append(element("g", crossing, class_=f"s{race.place}"))
    background = [
        element("g", element("path", d="".join(paths), class_="faint"), class_=f"s{place}")
        for place, paths in sorted(faint.items())
    ]
    label = f"Training curves of {workload}: {rules.metric} on the validation set against submission time"
    parts = (frame.axes(), frame.clipped(*background, *lines), _target(frame, rules), *marks)
    return drawing(frame.size, *parts, label=label)


def target_text(workload: SuiteWorkload) -> str:
    """The validation target in words: `accuracy at least 0.95`."""
    bound = "at most" if workload.direction == "minimize" else "at least"
    return f"{workload.metric} {bound} {workload.validation_target:.6g}"


def _series(race: Race, metric: str) -> tuple[Floats, Floats]:
    """Times and values of a trial where both can be drawn, in order of time."""
    history = race.history
    values = history.metrics.get(metric, np.full(len(history.times), np.nan))
    known = (np.abs(values) <= DRAWABLE) & (np.abs(history.times) <= DRAWABLE)  # NaN is not
    times, values = history.times[known], values[known]
    order = np.argsort(times, kind="stable")
    return times[order], values[order]


def _unit(longest: float) -> tuple[float, str]:
    return (3600.0, "hours") if longest > 3 * 3600 else (60.0, "minutes") if longest > 600 else (1.0, "seconds")


def _value_scale(series: Sequence[Floats], workload: SuiteWorkload) -> Scale:
    """From a little beyond the best value down to where the worst tenth of values begins: starts are left outside.

    Around the target, where races are decided, there must be something to see; early values and divergence can be
    orders of magnitude away.
    """
    values = np.concatenate([np.array([workload.validation_target]), *series])
    worst = float(np.quantile(values, 0.9 if workload.direction == "minimize" else 0.1))
    best = float(values.min() if workload.direction == "minimize" else values.max())
    low, high = min(best, worst, workload.validation_target), max(best, worst, workload.validation_target)
    return Scale.around([low, high], margin=0.06)


def _path(frame: Frame, times: Floats, values: Floats) -> str:
    """A line in whole pixels, relative from point to point: a third of the length of absolute coordinates."""
    x = np.round(frame.xs(times)).astype(int)
    y = np.round(frame.ys(values)).astype(int)
    moves = "".join(f"{a} {b} " for a, b in zip(np.diff(x), np.diff(y), strict=True) if a or b)
    return f"M{x[0]} {y[0]}" + (f"l{moves.rstrip()}" if moves else "h0")


def _crossing(race: Race, times: Floats, values: Floats) -> float:
    """The value at the evaluation that reached the target."""
    return float(values[min(int(np.searchsorted(times, race.times.seconds)), len(values) - 1)])


def _target(frame: Frame, workload: SuiteWorkload) -> Markup:
    y = number(float(frame.ys(workload.validation_target)))
    return element("path", d=f"M{number(frame.left)} {y}H{number(frame.left + frame.inner_width)}", class_="target")
