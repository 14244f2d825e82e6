"""The report as one HTML file that needs nothing else: no network, no fonts, no frameworks."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from timetrial.report.curves import curves, target_text
from timetrial.report.figures import profile_frame, profiles, shade
from timetrial.report.hyperparameters import scatters
from timetrial.report.palette import FIGURE_STYLE, marker, style_sheet
from timetrial.report.pool import Pool
from timetrial.report.provenance import provenance
from timetrial.report.sections import pairs, ranking, sensitivity, time_shares, tuning_costs
from timetrial.report.svg import drawing, element
from timetrial.report.times import heat_rows


def html_page(pool: Pool) -> str:
    """Render the page. The same pool gives the same bytes; everything that came from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("timetrial.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["swatch"] = _swatch
    environment.filters["breaks"] = _breaks
    return environment.get_template("page.html").render(_context(pool))


def _context(pool: Pool) -> dict[str, Any]:
    report = pool.report
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {
        "style": Markup(f"{_resource('page.css')}{FIGURE_STYLE}{style_sheet(len(pool.names))}"),  # ours alone
        "script": Markup(script),
        # no script but this one may run and nothing be fetched, even if escaping failed
        "policy": f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'",
        "report": report,
        "suite": pool.suite,
        "names": pool.names,
        "workloads": pool.workloads,
        "ranking": ranking(pool),
        "groups": report.groups,
        "pairs": pairs(pool),
        "profiles": [
            {"by": by, "figure": _figure(pool, by_steps=by == "steps"), "label": _profile_label(by)}
            for by in ("time", "steps")
        ],
        "data": _profile_data(pool),
        "heat": (heat := heat_rows(pool)),
        "study_rows": [(name, [cell.studies for cell in cells]) for name, _, cells in heat],
        "shade": shade,
        "curves": [
            (name, name in report.held_out, target_text(pool.suite.workload(name)), curves(pool, name))
            for name in pool.workloads
        ],
        "scatters": scatters(pool),
        "costs": tuning_costs(pool),
        "shares": time_shares(pool),
        "without_workload": sensitivity(pool, report.sensitivity.without_workload),
        "without_submission": sensitivity(pool, report.sensitivity.without_submission),
        "provenance": provenance(pool),
    }


def _profile_label(by: str) -> str:
    return f"Performance profiles by {by}; the slider below reads values"


def _figure(pool: Pool, *, by_steps: bool) -> Markup:
    frame = profile_frame(pool.report.rules.r_max, by_steps=by_steps)
    cursor = element("path", class_="cursor", d=f"M0 {frame.top}V{frame.top + frame.inner_height}")
    label = _profile_label("steps" if by_steps else "time")
    return drawing(frame.size, profiles(pool, by_steps=by_steps), cursor, label=label)


def _profile_data(pool: Pool) -> dict[str, Any]:
    """What the script needs to read values off the profiles."""
    frame = profile_frame(pool.report.rules.r_max, by_steps=False)
    return {
        "r_max": pool.report.rules.r_max,
        "left": frame.left,
        "width": frame.inner_width,
        "view": frame.width,
        "profiles": {
            by: [
                [values.round(6).tolist() for values in pool.report.profile(name, by_steps=by == "steps")]
                for name in pool.names
            ]
            for by in ("time", "steps")
        },
    }


def _swatch(place: int) -> Markup:
    """A submission's line and marker, for legends and tables."""
    parts = element("path", d="M1 7H35", class_="line"), element("path", d=f"M18 7{marker(place)}", class_="point")
    return element(
        "svg", *parts, viewBox="0 0 36 14", width=36, height=14, class_=f"swatch s{place}", aria_hidden="true"
    )


def _breaks(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def _resource(name: str) -> str:
    return (files("timetrial.report") / "templates" / name).read_text(encoding="utf-8")
