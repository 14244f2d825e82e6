"""Performance profiles and the heat map, as drawings."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from timetrial.report.palette import FIGURE_STYLE, marker, style_sheet
from timetrial.report.pool import Pool
from timetrial.report.svg import Axis, Frame, Scale, drawing, element, join, number
from timetrial.report.times import Cell, time_cell

_ROW = 22.0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def profile_frame(r_max: float, *, by_steps: bool) -> Frame:
    """The axes of a performance profile."""
    taus = Axis(scale=Scale(1.0, r_max), label=f"{'steps' if by_steps else 'time'} relative to the fastest, τ")
    share = Axis(scale=Scale(0.0, 1.0), label="workloads reached within τ", text=_percent)
    return Frame(x=taus, y=share, width=640, height=340, left=58, right=14, bottom=40)


def profiles(pool: Pool, *, by_steps: bool) -> Markup:
    """The share of workloads that each submission reached within τ times the fastest, as step functions."""
    frame = profile_frame(pool.report.rules.r_max, by_steps=by_steps)
    lines = []
    for place, name in reversed(list(enumerate(pool.names))):  # the best on top
        taus, heights = pool.report.profile(name, by_steps=by_steps)
        jumps = np.flatnonzero(np.diff(heights, prepend=0.0))
        points = zip(frame.xs(taus[jumps]), frame.ys(heights[jumps]), strict=True)
        marks = "".join(f"M{number(x)} {number(y)}{marker(place)}" for x, y in points)
        steps = frame.path(np.repeat(taus, 2)[1:], np.repeat(heights, 2)[:-1], class_="line")
        points_drawn = element("path", d=marks, class_="point") if marks else Markup("")
        lines.append(element("g", element("title", name), steps, points_drawn, class_=f"s{place}"))
    return join([frame.axes(), *lines])


def shade(ratio: float) -> float:
    """How strongly a cell is coloured, by time over the fastest one's: from 0.5 (the fastest) to 0.04 (4 times)."""
    return float(np.clip(0.5 - 0.46 * np.log(max(ratio, 1.0)) / np.log(4.0), 0.04, 0.5))


def standalone(pool: Pool) -> str:
    """Performance profiles and the heat map below them: one SVG file that needs nothing else.

    Control characters in names, which XML has no way to write, are replaced.
    """
    frame = profile_frame(pool.report.rules.r_max, by_steps=False)
    longest = max(map(len, pool.names))
    column = max(70.0, 6.4 * longest + 16)
    side = 6.6 * max(len(name) for name in pool.workloads) + 90
    legend_width = 7.4 * (longest + 8) + 50
    heat_width, heat_height = side + column * len(pool.names), _ROW * (len(pool.workloads) + 3)
    width = max(frame.width + legend_width, heat_width + 10)
    profile_height = max(frame.height, 30 + 18.0 * len(pool.names))
    height = profile_height + heat_height + 40
    style = f"svg{{color:#1b1b1b;background:#fff}}{FIGURE_STYLE}{style_sheet(len(pool.names), ink='#000')}"
    body = (
        element("style", Markup(style)),  # constants of palette.py
        element("rect", width=width, height=height, fill="#ffffff"),
        profiles(pool, by_steps=False),
        element("g", *_legend(pool), transform=f"translate({number(frame.width + 10)} 20)"),
        element("g", *_heat_map(pool, side, column), transform=f"translate(6 {number(profile_height + 24)})"),
    )
    label = f"Performance profiles and times to target, {pool.report.suite}"
    size = {"width": width, "height": height, "xmlns": "http://www.w3.org/2000/svg"}
    text = f"{drawing((width, height), *body, label=label, **size)}\n"
    return "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in text)


def _legend(pool: Pool) -> list[Markup]:
    rows = []
    for place, name in enumerate(pool.names):
        score = pool.report.scores[pool.report.submissions.index(name)]
        parts = (
            element("path", d="M0 0H28", class_="line"),
            element("path", d=f"M14 0{marker(place)}", class_="point"),
        )
        text = element("text", f"{name} ({score:.3f})", x=34, y=4)
        rows.append(
            element("g", element("g", *parts, class_=f"s{place}"), text, transform=f"translate(0 {18 * place})")
        )
    return rows


def _heat_map(pool: Pool, side: float, column: float) -> list[Markup]:
    title = "Seconds to the validation target, median over studies; — missed; * reached, but struck out by the rules"
    parts = [element("text", title, x=0, y=0, class_="quiet")]
    for place, name in enumerate(pool.names):
        parts.append(element("text", name, x=side + column * (place + 0.5), y=_ROW, text_anchor="middle"))
    for j, workload in enumerate(pool.workloads):
        top = _ROW * (j + 1) + 8
        held_out = " (held out)" if workload in pool.report.held_out else ""
        parts.append(element("text", workload + held_out, x=side - 8, y=top + 15, text_anchor="end"))
        for place in range(len(pool.names)):
            parts += _heat_cell(time_cell(pool, place, workload), side + column * place, top, column)
    return parts


def _heat_cell(cell: Cell, left: float, top: float, column: float) -> list[Markup]:
    size = {"x": left + 1, "y": top + 1, "width": column - 2, "height": _ROW - 2}
    counts = cell.kind == "counts"
    parts = [
        element("rect", **size, fill="#0072B2", fill_opacity=f"{shade(cell.ratio):.2f}")
        if counts
        else element("rect", **size, class_="target")
    ]
    parts.append(element("text", cell.text, x=left + column / 2, y=top + 15, text_anchor="middle"))
    return parts
