"""How submissions look: colours that the colour-blind can tell apart, and never colour alone."""

from __future__ import annotations

from markupsafe import Markup

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito 2008, "Color Universal Design"; without the yellow, which white paper swallows. The last one is the
ink's colour on a dark page."""

DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4")
"""Dash patterns in pixels. With 7 colours, the first 35 submissions have a look of their own."""

MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",  # circle
    "m-3-3h6v6h-6z",  # square
    "m0-4l4 7h-8z",  # triangle
    "m0-4l4 4l-4 4l-4-4z",  # diamond
    "m-3-3l6 6m0-6l-6 6",  # cross
    "m0-4v8m-4-4h8",  # plus
)
"""Outlines around the current point, about eight pixels wide, as pieces of an SVG path."""


def marker(place: int) -> str:
    """The marker of the submission at a place of the ranking (from 0), to follow a `M x y` in a path."""
    return MARKERS[place % len(MARKERS)]


def style_sheet(count: int, *, ink: str = "var(--ink)") -> Markup:
    """CSS for the classes `s0`, `s1`, ... of so many submissions: their colour, and the dashes of their lines."""
    rules = []
    for place in range(count):
        colour = COLOURS[place % len(COLOURS)]
        rules.append(f".s{place}{{color:{ink if colour == '#000000' else colour}}}")
        if dash := DASHES[place % len(DASHES)]:
            rules.append(f".s{place} .line{{stroke-dasharray:{dash}}}")
    return Markup("\n".join(rules))  # built from constants alone


FIGURE_STYLE = """
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",Arial,sans-serif;fill:currentColor}
.axis{stroke:currentColor;fill:none;opacity:.55}
.grid{stroke:currentColor;fill:none;opacity:.12}
.line{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}
.faint{fill:none;stroke:currentColor;stroke-width:.8;opacity:.3}
.point{fill:currentColor;fill-opacity:.3;stroke:currentColor;stroke-width:1.2}
.target{stroke:currentColor;fill:none;stroke-dasharray:3 3;opacity:.8}
.quiet{opacity:.7}
"""
"""What every figure needs, on the page and in a file of its own."""
