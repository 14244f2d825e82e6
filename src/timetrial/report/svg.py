"""Drawing: SVG elements as safe text, scales, and one frame with axes that all figures share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

DRAWABLE = 1e15
"""Larger magnitudes stay out of drawings: scales are computed without overflow, and no metric or time means them."""

_NEARBY = (-9.0, 10.0)  # fractions of the plot area


def element(name: str, *children: str, **attributes: object) -> Markup:
    """One SVG element. Text is escaped unless it is markup already; attributes that are None are left out.

    `class_` is `class`, and other underscores are hyphens: `text_anchor` is `text-anchor`.
    """
    pairs = (
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), number(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup("").join(pairs), join(children))


def join(parts: Iterable[str]) -> Markup:
    """Concatenate, escaping what is not markup."""
    return Markup("").join(map(escape, parts))


def number(value: object) -> str:
    """A number with at most one decimal, as short as it goes; anything else as it is."""
    if isinstance(value, float | np.floating):
        text = f"{value:.1f}"
        return "0" if text == "-0.0" else text.removesuffix(".0")
    return str(value)


def drawing(size: tuple[float, float], *children: str, label: str, **attributes: object) -> Markup:
    """A whole drawing of (width, height) that scales with its place; `label` is what a screen reader says."""
    box = f"0 0 {number(size[0])} {number(size[1])}"
    return element("svg", *children, viewBox=box, role="img", aria_label=label, **attributes)


@dataclass(frozen=True)
class Scale:
    """Maps values onto [0, 1], linearly or by their logarithm; `low` < `high`, and 0 < `low` on a log scale."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: ArrayLike, *, log: bool = False, margin: float = 0.05) -> Scale:
        """A scale that holds all of some finite values, with a margin on both sides."""
        finite = np.asarray(values, dtype=np.float64)
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if log:
            low, high = math.log(low), math.log(high)
        room = (high - low) * margin or abs(high) * 0.1 or 1.0
        low, high = low - room, high + room
        return cls(math.exp(low), math.exp(high), log=True) if log else cls(low, high)

    def fractions(self, values: ArrayLike) -> Floats:
        """Where values lie between `low` (0) and `high` (1)."""
        array = np.asarray(values, dtype=np.float64)
        if self.log:
            return np.asarray(np.log(array / self.low) / math.log(self.high / self.low))
        return np.asarray((array - self.low) / (self.high - self.low))

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the scale, about so many of them."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
                ticks = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
                if len(ticks) >= 3:  # every so many decades, where there are very many
                    return ticks[:: max(1, math.ceil(len(ticks) / (count + 2)))]
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A scale, what it measures, and how its ticks read."""

    scale: Scale
    label: str
    ticks: Sequence[tuple[float, str]] | None = None
    """Places and texts; None for round numbers."""
    count: int = 5
    text: Callable[[float], str] = "{:.4g}".format

    def marks(self) -> Sequence[tuple[float, str]]:
        """Ticks as (value, text)."""
        return [(tick, self.text(tick)) for tick in self.scale.ticks(self.count)] if self.ticks is None else self.ticks


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A plot area with an axis below and one at the left. Lengths are pixels of the drawing."""

    x: Axis
    y: Axis
    width: float = 360.0
    height: float = 220.0
    left: float = 52.0
    right: float = 10.0
    top: float = 14.0
    bottom: float = 36.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole."""
        return self.width, self.height

    @property
    def inner_width(self) -> float:
        """Width of the plot area."""
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> float:
        """Height of the plot area."""
        return self.height - self.top - self.bottom

    def xs(self, values: ArrayLike) -> Floats:
        """Horizontal places of values; what is far outside the plot area is brought nearer."""
        return self.left + self.inner_width * np.clip(self.x.scale.fractions(values), *_NEARBY)

    def ys(self, values: ArrayLike) -> Floats:
        """Vertical places of values, larger ones higher up; what is far outside is brought nearer."""
        return self.top + self.inner_height * (1 - np.clip(self.y.scale.fractions(values), *_NEARBY))

    def path(self, x: ArrayLike, y: ArrayLike, *, class_: str) -> Markup:
        """A line through points."""
        points = zip(self.xs(x), self.ys(y), strict=True)
        return element("path", d="M" + "L".join(f"{number(a)} {number(b)}" for a, b in points), class_=class_)

    def clipped(self, *children: str) -> Markup:
        """What is drawn, as far as it lies within the plot area."""
        place = {"x": self.left, "y": self.top, "width": self.inner_width, "height": self.inner_height}
        box = " ".join(map(number, place.values()))
        return element("svg", *children, viewBox=box, **place)

    def axes(self) -> Markup:
        """Grid, axes, ticks and labels."""
        bottom, right = self.top + self.inner_height, self.left + self.inner_width
        parts = []
        for value, text in self.x.marks():
            x = float(self.xs(value))
            parts.append(element("path", d=f"M{number(x)} {number(self.top)}V{number(bottom)}", class_="grid"))
            parts.append(element("text", text, x=x, y=bottom + 14, text_anchor="middle"))
        for value, text in self.y.marks():
            y = float(self.ys(value))
            parts.append(element("path", d=f"M{number(self.left)} {number(y)}H{number(right)}", class_="grid"))
            parts.append(element("text", text, x=self.left - 6, y=y + 4, text_anchor="end"))
        lines = f"M{number(self.left)} {number(self.top)}V{number(bottom)}H{number(right)}"
        parts.append(element("path", d=lines, class_="axis"))
        middle = self.left + self.inner_width / 2
        below = {"x": middle, "y": self.height - 5, "text_anchor": "middle", "class_": "quiet"}
        if self.x.label:
            parts.append(element("text", self.x.label, **below))
        across = f"translate(11 {number(self.top + self.inner_height / 2)}) rotate(-90)"
        parts.append(element("text", self.y.label, transform=across, text_anchor="middle", class_="quiet"))
        return join(parts)
