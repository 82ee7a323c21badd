"""`larder report`: one page that shows how far the scores can be trusted, from the user's own data.

A model that has learned from all but the last days is judged on these: so the page says of the
network what a test says of a model, and shows it week by week.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2
import numpy as np
import pandas as pd

from larder import charts
from larder.backtest import Past, Proof, TooLittleHistoryError, prove
from larder.learning import evidence
from larder.learning.backtest import SEED, backtest
from larder.learning.challenge import RipeRisks, ripe_risks
from larder.learning.waste import MODEL_NAME as SIMPLE_RISK
from larder.progress import Progress
from larder.serving.built import open_built
from larder.settings import Settings

TEMPLATE: Final = Path(__file__).with_name("report.html.jinja")

# What drift shows itself by: measure, title, how its axis is written and whether from 0, caption.
DRIFT: Final[tuple[tuple[str, str, str, bool, str], ...]] = (
    ("brier", "Brier score of the risks", ".2f", True, "Lower is better."),
    (
        "coverage",
        "demand within its 90 % quantile",
        "%",
        False,
        "Days that did not run out, in whole units: both make it more than promised.",
    ),
    (
        "drifting",
        "features beyond their threshold",
        "d",
        True,
        "Population stability of the four weeks up to then.",
    ),
)
# Of the models that were evaluated last, each by its newest evaluation.
EVALUATIONS: Final = """
    select
        model_name, metric, value, value_low, value_high, baseline_name, baseline_value,
        difference_low, difference_high
    from marts.ml_evaluations
    inner join marts.ml_models using (model_name, model_version)
    where is_promoted
    qualify rank() over (partition by model_name order by as_of_date desc, trained_at desc) = 1
    order by model_name desc, metric, baseline_name
"""
MODELS: Final = """
    select model_name, model_version, data_until, is_promoted, decision
    from marts.ml_models
    order by data_until desc, trained_at desc, model_name
    limit 20
"""
SIGNALS: Final = """
    select signal, value, threshold, is_alarm
    from marts.ml_monitoring
    where as_of_date = (select max(as_of_date) from marts.ml_monitoring) and value is not null
    order by is_alarm desc, abs(value - threshold) / threshold, signal
    limit 8
"""


@dataclass(frozen=True)
class Chart:
    """Hold the text of an SVG and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """Hold one part of the page; columns that are `numbers` stand to the right."""

    title: str
    texts: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numbers: Sequence[str] = ()


def write_report(settings: Settings, days: int, progress: Progress) -> Path:
    """Judge the scores on the last days and write the page.

    With too little to learn from the page says so, and has what is there.

    Raises:
        WarehouseError: nothing is built yet, or not all of it.
    """
    # first, for it takes a moment and the proof a minute
    of_models = registered(settings)
    try:
        proof = prove(settings, days, progress)
        sections = [*judged(proof), *of_models]
        made_of = _made_of(proof.past)
    except TooLittleHistoryError as error:
        sections = [Section("Too little for a backtest", [str(error)]), *of_models]
        made_of = "From what the warehouse has so far."
    page = settings.report_page
    page.parent.mkdir(parents=True, exist_ok=True)
    aside = page.with_name(f".{page.name}.tmp")
    aside.write_text(render(made_of, sections), encoding="utf-8")
    aside.replace(page)
    return page


def render(made_of: str, sections: Sequence[Section]) -> str:
    """Write the page, in itself complete: no script, no font, no picture from elsewhere."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(made_of=made_of, sections=sections)


def judged(proof: Proof) -> list[Section]:
    """Show what the plan would have changed, and how true risks and forecasts came."""
    past = proof.past
    risks = ripe_risks(
        past.learned,
        past.panel,
        past.surroundings,
        past.terms.shelf_life_days,
        past.first,
        past.first - 1,
    )
    drift = evidence.drift_by_week(past.learned, risks, proof.replayed, past.surroundings)
    worst = evidence.worst_series(proof.result, proof.replayed)
    return [
        _plan_section(proof),
        _level_section(proof),
        _risk_section(risks),
        _drift_section(drift),
        _worst_section(past, worst),
    ]


def registered(settings: Settings) -> list[Section]:
    """Show what the warehouse keeps of its models: evaluations, signals and decisions.

    Raises:
        WarehouseError: nothing is built yet, or not all of it.
    """
    queries = (EVALUATIONS, MODELS, SIGNALS)
    with open_built(settings, queries) as connection:
        found, models, signals = (connection.execute(query).fetchall() for query in queries)
    return [
        Section(
            "Beside simple alternatives",
            [
                "On four weeks that the models had not seen, kept when they were registered "
                "(ml_evaluations). Intervals hold 90 %, by drawing series with replacement; where "
                "that of the difference does not contain 0, the difference is no chance.",
            ],
            columns=(
                "score",
                "measure",
                "here",
                "90 %",
                "alternative",
                "there",
                "difference, 90 %",
            ),
            rows=[
                (
                    score,
                    metric,
                    _number(here),
                    _range(low, high),
                    name,
                    _number(there),
                    _range(*gap),
                )
                for score, metric, here, low, high, name, there, *gap in found
            ],
            numbers=("here", "90 %", "there", "difference, 90 %"),
        ),
        Section(
            "What is watched now",
            [
                "The signals of the newest day (ml_monitoring), nearest to their alarm first. An "
                "alarm also reaches rpt_alerts, and a coming run trains a model anew if the "
                "history is long enough."
                if len(signals)
                else "Nothing has been watched for long enough yet."
            ],
            columns=("signal", "value", "threshold", "alarm"),
            rows=[
                (signal, _number(value), _number(threshold), "rings" if rings else "no")
                for signal, value, threshold, rings in signals
            ],
            numbers=("value", "threshold"),
        ),
        Section(
            "Models that were registered",
            columns=("model", "version", "data until", "serves", "why"),
            rows=[
                (model, version, f"{until:%d %b %Y}", "yes" if serves else "no", why)
                for model, version, until, serves, why in models
            ],
        ),
    ]


def _made_of(past: Past) -> str:
    first, last = past.date_of(past.first), past.date_of(past.panel.width - 1)
    return (
        f"Judged on the {past.panel.width - past.first} days from {first:%d %b %Y} to "
        f"{last:%d %b %Y}, {past.panel.size:,} items at {len(past.places):,} places, by a model "
        "that has learned only from the days before."
    )


def _plan_section(proof: Proof) -> Section:
    weeks = evidence.sides_by_week(
        proof.result, np.datetime64(proof.past.date_of(proof.past.first))
    )
    weeks["is_yardstick"] = weeks["series"] == "as it was"
    return Section(
        "What the plan would have changed",
        [*proof.sentences()],
        [
            Chart(
                charts.by_week(weeks, "waste_share", "share wasted", "%", whole=True),
                "Waste, of what was sold or wasted.",
            ),
            Chart(
                charts.by_week(weeks, "fill_rate", "share served", "%", whole=False),
                "Demand that was served; where stock ran out it is estimated.",
            ),
        ],
        columns=("", "as it was", "with the plan"),
        rows=proof.figures(),
        numbers=("as it was", "with the plan"),
    )


def _level_section(proof: Proof) -> Section:
    # one draw of demand for all that is compared here: with those of the proof, each level would
    # take as long as the backtest itself
    wanted = proof.replayed.draw_demand(SEED)
    levels = evidence.costs_of_levels(proof.replayed, wanted)
    result = backtest(proof.replayed, wanted)
    marks = pd.DataFrame(
        {
            "name": ["the plan", "as it was"],
            "cost": [float(one.cost(result.costs).mean()) for one in (result.plan, result.done)],
        }
    )
    best = levels.groupby("level")["cost"].sum()
    return Section(
        "What a level of service costs",
        [
            "The same days replayed with one level of service for everything: the chance that the "
            "demand until the next delivery is met. Ordering little loses sales, ordering much "
            f"ends as waste. The best single level in hindsight, {best.idxmin():.0%}, costs "
            f"{best.min():,.2f} USD a day and item of a place; the plan chooses beforehand, for "
            "each item by what a missed sale and a wasted unit of it cost, and comes to "
            f"{marks['cost'][0]:,.2f}.",
        ],
        [Chart(charts.order_levels(levels, marks), "Dashed: the plan, and what was really done.")],
    )


def _risk_section(risks: RipeRisks) -> Section:
    title = "Whether risks are what they say"
    if not len(risks.happened):
        return Section(title, ["Nothing was held overnight on these days, so no risk was said."])
    cells = evidence.reliability_of(risks, {"model": "learned", SIMPLE_RISK: "simple rate"})
    return Section(
        title,
        [
            "Of all the times that a risk of, say, 30 % was said, waste should have come 30 % of "
            "the time: on the dashed line. A score that also says very low and very high risks, "
            "and keeps to the line, is worth more than one that always says the average.",
        ],
        [
            Chart(
                charts.reliability(cells), "Bins of equally many cases; bars hold 90 %, by series."
            )
        ],
    )


def _drift_section(weeks: pd.DataFrame) -> Section:
    return Section(
        "Drift over time",
        [
            "The same model, not trained again, week after week. When it gets worse beside its "
            "yardstick, or more of what it goes by looks unlike what it learned from, it is time "
            "for another; Larder then trains one by itself.",
        ],
        [
            Chart(charts.by_week(cells, "value", title, shown_as, whole), caption)
            for measure, title, shown_as, whole, caption in DRIFT
            if len(cells := weeks[weeks["measure"] == measure])
        ],
    )


def _worst_section(past: Past, worst: pd.DataFrame) -> Section:
    return Section(
        "Where the plan does worst",
        ["Waste and lost margin a day under the plan; look here first for what it does not know."],
        columns=("place", "item", "USD", "USD as it was", "sold", "missed", "wasted"),
        rows=[
            (
                past.places[past.panel.location_codes[number]],
                past.items[past.panel.item_codes[number]],
                *(f"{value:,.2f}" for value in figures),
            )
            for number, *figures in worst.itertuples(index=False, name=None)
        ],
        numbers=("USD", "USD as it was", "sold", "missed", "wasted"),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}"  # noqa: RUF001


def _range(low: float | None, high: float | None) -> str:
    return f"{_number(low)} to {_number(high)}" if low is not None else _number(low)
