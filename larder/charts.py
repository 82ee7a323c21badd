"""The charts of the report and of analyses: each takes a frame and returns the text of an SVG."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import pandas as pd
import vl_convert

INK: Final = "#1f2933"
FAINT: Final = "#9aa5b1"
OWN, OTHER, WASTE, MISSED = "#0b6e4f", "#7b8794", "#c8553d", "#3d5a80"
WIDTH: Final = 390
HEIGHT: Final = 260
BAR_HEIGHT: Final = 14
TITLE_LETTERS: Final = 52
SPARE_PIXELS: Final = 1.2  # a letter of a name
_CONFIG: Final[dict[str, Any]] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "domainColor": FAINT,
        "tickColor": FAINT,
        "gridColor": "#e4e7eb",
        "labelFontSize": 12,
        "titleFontSize": 12,
    },
    "legend": {
        "title": None,
        "orient": "top",
        "labelFontSize": 12,
        "labelColor": INK,
        "columnPadding": 24,
    },
    "range": {"category": [OWN, OTHER]},
}


def reliability(cells: pd.DataFrame) -> str:
    """Draw what was said against how often it happened, in bins, with intervals.

    Args:
        cells: `score` (the own first), `said`, `happened`, `low`, `high`, a row a bin.
    """
    said = alt.X("said:Q", title="risk that was said", axis=alt.Axis(format="%"))
    happened = alt.Y("happened:Q", title="share that was wasted", axis=alt.Axis(format="%"))
    base = alt.Chart(cells).encode(said, color=_colour("score"))
    perfect = alt.Chart(pd.DataFrame({"said": [0, 1], "happened": [0, 1]}))
    return _svg(
        perfect.mark_line(color=FAINT, strokeDash=[4, 4]).encode(said, happened)
        + base.mark_rule(strokeWidth=1.5).encode(alt.Y("low:Q"), alt.Y2("high:Q"))
        + base.mark_line(strokeWidth=1).encode(happened)
        + base.mark_circle(size=50, opacity=1).encode(happened)
    )


def order_levels(levels: pd.DataFrame, marks: pd.DataFrame) -> str:
    """Draw what orders cost if everything is ordered at one level of service.

    Args:
        levels: `level` (critical ratio), `part` (what the money is lost by), `cost` (US dollars a
            pair and day).
        marks: `name`, `cost` of other ways of ordering.
    """
    area = (
        alt.Chart(levels)
        .mark_area(opacity=0.75)
        .encode(
            alt.X(
                "level:Q",
                title="level of service that is ordered for",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(nice=False),
            ),
            alt.Y("cost:Q", title="USD a day and item of a place", stack=True),
            color=alt.Color(
                "part:N", sort=None, title=None, scale=alt.Scale(range=[WASTE, MISSED])
            ),
        )
    )
    rules = alt.Chart(marks).encode(alt.Y("cost:Q"))
    names = rules.mark_text(dy=-7, color=INK, fontSize=12)
    return _svg(
        area
        + rules.mark_rule(color=INK, strokeDash=[4, 4])
        + names.encode(text="name:N", x=alt.value(WIDTH / 2))
    )


def by_week(cells: pd.DataFrame, measure: str, title: str, shown_as: str, whole: bool) -> str:
    """Draw one measure week by week, a line for each `series`; dashed where it is a yardstick.

    Args:
        cells: `week` (its first day), `series` (the own first), `is_yardstick`, and the measure.
        shown_as: a d3 number format. whole: whether the axis starts at 0.
    """
    return _svg(
        alt.Chart(cells)
        .mark_line(point=True)
        .encode(
            alt.X("week:T", title=None, axis=alt.Axis(format="%d %b", tickCount=6)),
            alt.Y(
                f"{measure}:Q",
                title=title,
                axis=alt.Axis(format=shown_as),
                scale=alt.Scale(zero=whole),
            ),
            color=_colour("series"),
            strokeDash=alt.StrokeDash(
                "is_yardstick:N",
                scale=alt.Scale(domain=[False, True], range=[[1, 0], [4, 4]]),
                legend=None,
            ),
        )
    )


def bars(cells: pd.DataFrame, measures: Sequence[str], question: str = "") -> str:
    """Draw a bar for each row and measure, in the order of the rows.

    Args:
        cells: `row` (its number), `name`, `measure`, `value`, a row a bar.
        measures: the measures in their order.
        question: what is answered, above the bars.
    """
    names = dict(zip(cells["row"], cells["name"], strict=True))
    labels = " : ".join(f"datum.value == {row} ? {json.dumps(name)}" for row, name in names.items())
    chart = (
        alt.Chart(cells)
        .mark_bar()
        .encode(
            # two rows may have one name, so they are told apart by their numbers
            alt.Y(
                "row:O",
                title=None,
                sort=None,
                axis=alt.Axis(labelExpr=f"{labels} : ''" if names else "''", labelLimit=WIDTH),
            ),
            alt.X(
                "value:Q",
                title=measures[0] if len(measures) == 1 else None,
                axis=alt.Axis(tickCount=5, labelOverlap=True),
            ),
            color=alt.Color(
                "measure:N",
                title=None,
                scale=alt.Scale(
                    domain=list(measures), range=[OWN, OTHER, WASTE, MISSED][: len(measures)]
                ),
                legend=None if len(measures) == 1 else alt.Legend(),
            ),
            yOffset=alt.YOffset("measure:N", sort=list(measures)),
        )
    )
    title = alt.Title(textwrap.wrap(question, TITLE_LETTERS), anchor="start", fontSize=13)
    # whoever looks at it may have a wider font than the one that it was laid out with
    longest = max(map(len, names.values()), default=0)
    padding = {"left": 5 + longest * SPARE_PIXELS, "top": 5, "right": 15, "bottom": 5}
    chart = chart.properties(padding=padding, **({"title": title} if question else {}))
    return _svg(chart, height=max(BAR_HEIGHT * len(cells), BAR_HEIGHT))


def _colour(field: str) -> alt.Color:
    """Colour by a field in the order of its rows."""
    return alt.Color(f"{field}:N", sort=None, title=None)


def _svg(chart: alt.Chart | alt.LayerChart, height: int = HEIGHT) -> str:
    shown = chart.properties(width=WIDTH, height=height).to_dict() | {"config": _CONFIG}
    return str(vl_convert.vegalite_to_svg(shown))
