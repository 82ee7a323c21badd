"""What a run found, in the words of a shop manager: read from the published marts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from larder.serving.marts import Marts, open_marts
from larder.settings import Settings

RISKIEST = 10
SHOWN_ORDERS = 12


@dataclass(frozen=True)
class Section:
    """Hold one table of the summary: its title, columns, rows and a sentence below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    note: str = ""


def newest_of(mart: str) -> str:
    """Give the rows of each place's newest day that has closed, as a subquery.

    Places may be two days apart: 26 hours lie between the first time zone and the last. Who has
    sent nothing for longer is left to the alerts.
    """
    return f"""(
    select *
    from marts.{mart}
    where as_of_date >= (select max(as_of_date) from marts.{mart}) - 2
    qualify as_of_date = max(as_of_date) over (partition by location_id)
)"""


# What is at risk within the longest horizon that is scored for the pair.
RISKS = f"""
select
    dim_locations.location_name,
    dim_items.item_name,
    case
        -- what may yet happen, or not, is neither 0 nor 100 %
        when risks.waste_probability < 0.005 then '<1 %'
        when risks.waste_probability >= 0.995 then '>99 %'
        else cast(round(risks.waste_probability * 100) as integer) || ' %'
    end as chance,
    round(risks.expected_wasted_units, 1) as units,
    'by ' || strftime(risks.as_of_date + cast(risks.horizon_days as integer), '%a %d %b') as within,
    risks.reasons,
    risks.as_of_date + 1 as tomorrow
from (
    select *
    from {newest_of("ml_waste_probabilities")}
    qualify row_number() over (
        partition by location_id, item_id order by horizon_days desc
    ) = 1
) as risks
inner join marts.dim_locations using (location_id)
inner join marts.dim_items using (item_id)
where risks.waste_probability > 0
order by risks.waste_probability desc, risks.expected_wasted_units desc, location_id, item_id
limit $limit
"""

ORDERS = f"""
select
    dim_locations.location_name,
    strftime(plan.order_date, '%a %d %b') as delivery,
    count(*) filter (where plan.planned_units > 0) as items,
    sum(plan.planned_units) as units,
    sum(plan.plan_cost_usd) as expected_cost_usd,
    sum(plan.cost_against_previous_policy_usd) as against_previous_usd
from {newest_of("rpt_order_plan")} as plan
inner join marts.dim_locations using (location_id)
group by all
order by units desc, location_name
"""

# Up to the newest day that has closed everywhere.
LAST_WEEK = f"""
with closed as (
    select min(as_of_date) as closed_on
    from {newest_of("ml_waste_probabilities")}
)
select
    sum(wasted_units) as wasted_units,
    sum(waste_cost_usd) as waste_cost_usd,
    sum(lost_units_estimate) as lost_units,
    sum(lost_margin_usd) as lost_margin_usd,
    sum(sold_units) as sold_units,
    sum(sales_usd) as sales_usd,
    min(period_start) as first_date,
    max(period_start) as last_date
from marts.rpt_waste_and_availability
where
    scope = 'network'
    and period = 'day'
    and period_start > (select closed_on from closed) - 7
    and period_start <= (select closed_on from closed)
"""

# Of the models that made the newest scores.
SCORES = f"""
select model_name, metric, value, baseline_name, baseline_value, observations
from marts.ml_evaluations
where
    model_version in (
        select model_version
        from {newest_of("ml_waste_probabilities")}
        union
        select model_version
        from {newest_of("ml_order_quantities")}
    )
    and (model_name, evaluated_at) in (
        select (model_name, max(evaluated_at)) from marts.ml_evaluations group by model_name
    )
order by model_name, metric, baseline_name
"""

REJECTIONS = """
select source || '/' || entity as entity, reason, sum(records) as records
from marts.rpt_data_quality
group by all
order by records desc, entity, reason
"""

ALERTS = """
select alert_kind, count(*) as alerts
from marts.rpt_alerts
group by alert_kind
order by alerts desc
"""


def summarise(settings: Settings) -> list[Section]:
    """Read the summary of the published generation."""
    with open_marts(settings) as connection:
        return [
            _risks(connection),
            _orders(connection),
            _last_week(connection),
            _alerts(connection),
            _scores(connection),
            _rejections(connection),
        ]


def print_summary(console: Console, sections: Sequence[Section]) -> None:
    """Print each section as a table, or its sentence where there is nothing to list."""
    for section in sections:
        console.print()
        console.print(_render(section))
        if section.note and section.rows:
            console.print(section.note, style="dim", highlight=False)


def _render(section: Section) -> RenderableType:
    if not section.rows:
        return f"[bold]{section.title}[/bold]: nothing to report"
    table = Table(title=section.title, title_justify="left", title_style="bold", box=None)
    for index, column in enumerate(section.columns):
        is_number = all(isinstance(row[index], int | float) for row in section.rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*(_shown(value) for value in row))
    return table


def _shown(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 10
        else (f"{value:,.0f}" if isinstance(value, float) else str(value))
    )


def _rows(connection: Marts, sql: str, **named: object) -> list[Any]:
    return connection.execute(sql, named or None).fetchall()


def _risks(connection: Marts) -> Section:
    rows = _rows(connection, RISKS, limit=RISKIEST)
    # who reads it on the next day must not take the words for a day later
    tomorrow = " or ".join(f"{day:%a %d %b}" for day in sorted({row[6] for row in rows}))
    return Section(
        "What may be wasted: the ten riskiest items",
        ("place", "item", "chance", "units", "", "why"),
        [
            (place, item, chance, float(units), within, reasons)
            for place, item, chance, units, within, reasons, _ in rows
        ],
        f"Tomorrow is the day after the newest one that has closed: {tomorrow}.",
    )


def _orders(connection: Marts) -> Section:
    rows = _rows(connection, ORDERS)
    units, cost = (sum(float(row[index] or 0) for row in rows) for index in (3, 4))
    usual = [float(row[5]) for row in rows if row[5] is not None]
    compared = (
        f", {abs(sum(usual)):,.2f} {'less' if sum(usual) < 0 else 'more'} than with the usual "
        "deliveries"
        if usual
        else ""
    )
    return Section(
        "What to order for the next delivery",
        ("place", "delivery", "items", "units", "expected cost (USD)"),
        [
            (place, day, items, int(planned or 0), f"{float(expected or 0):,.2f}")
            for place, day, items, planned, expected, _ in rows[:SHOWN_ORDERS]
        ],
        f"{len(rows)} places, {units:,.0f} units in all, beside what is still held. Missed sales "
        f"and waste are expected to cost {cost:,.2f} USD{compared}. Each item: larder "
        'query "select * from rpt_order_plan".',
    )


def _last_week(connection: Marts) -> Section:
    row = _rows(connection, LAST_WEEK)[0]
    if row[6] is None:
        return Section("What last week cost", (), [])
    wasted, waste_cost, lost, lost_margin, sold, sales, first, last = row
    return Section(
        f"What the week from {first:%d %b} to {last:%d %b %Y} cost",
        ("", "units", "USD"),
        [
            ("sold", f"{sold:,.0f}", f"{sales:,.2f}"),
            ("wasted (cost and disposal)", f"{wasted:,.0f}", f"{waste_cost:,.2f}"),
            ("missed at empty shelves (margin)", f"{lost:,.0f}", f"{lost_margin:,.2f}"),
        ],
    )


def _alerts(connection: Marts) -> Section:
    rows = _rows(connection, ALERTS)
    return Section(
        "Alerts",
        ("kind", "alerts"),
        rows,
        'What to do about each: larder query "select * from rpt_alerts".' if rows else "",
    )


def _scores(connection: Marts) -> Section:
    return Section(
        "How good the scores are, beside a simple alternative",
        ("score", "measure", "here", "alternative", "there", "cases"),
        _rows(connection, SCORES),
        "Measured on days that the scores had not seen.",
    )


def _rejections(connection: Marts) -> Section:
    rows = _rows(connection, REJECTIONS)
    return Section(
        "What could not be taken as it came",
        ("entity", "reason", "records"),
        [(entity, reason, int(records)) for entity, reason, records in rows],
        "Rejected records, each with its place and original: larder dead-letters. An optional "
        "field that is unreadable is null, its record is taken."
        if rows
        else "",
    )
