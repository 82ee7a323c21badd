"""What a model was worth on days that it had not learned from: the frames behind the report.

Each function returns a frame that says the same to an eye as to a program; money is US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from larder.learning.backtest import Backtest, ReplayedDays
from larder.learning.challenge import RipeRisks
from larder.learning.distribution import inverse
from larder.learning.features import Surroundings
from larder.learning.frames import Days, Floats
from larder.learning.metrics import brier, reliability
from larder.learning.orders import Costs
from larder.learning.quantiles import whole_units
from larder.learning.replay import Outcome
from larder.learning.stability import stability
from larder.learning.training import Learned

ORDER_LEVELS: Final = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
UPPER: Final = 0.9
WORST: Final = 12


def reliability_of(risks: RipeRisks, names: Mapping[str, str]) -> pd.DataFrame:
    """Set what was said beside what happened, a row a score and bin of equal mass.

    Args:
        names: what to call the baselines that are wanted, and `model`.

    Returns:
        score, said, happened, low, high (90 %), cases.
    """
    chances = {"model": risks.probability, **risks.baselines}
    parts = []
    for score, name in names.items():
        bins = reliability(chances[score], risks.happened, risks.pair)
        parts.append(pd.DataFrame({"score": name, **vars(bins)}))
    return pd.concat(parts, ignore_index=True)


def costs_of_levels(replayed: ReplayedDays, wanted: Floats) -> pd.DataFrame:
    """Replay the days with one critical ratio for everything ordered, at several levels of it.

    Args:
        wanted: (S, K) units of demand; that of what stands beside these costs.

    Returns:
        level, part (waste, missed sales), cost a pair and day.
    """
    size = len(wanted)
    rows = []
    for level in ORDER_LEVELS:
        alike = Costs(np.full(size, level), np.full(size, 1 - level))
        for part, cost in cost_parts(replayed.with_plan(wanted, alike), replayed.terms.costs):
            rows.append((level, part, cost))
    return pd.DataFrame(rows, columns=["level", "part", "cost"])


def cost_parts(outcome: Outcome, costs: Costs) -> list[tuple[str, float]]:
    """Return what was lost by waste and by missed sales a pair and day."""
    free = Costs(np.zeros_like(costs.underage), np.zeros_like(costs.overage))
    wasted = Costs(free.underage, costs.overage)
    missed = Costs(costs.underage, free.overage)
    return [
        ("waste", float(outcome.cost(wasted).mean())),
        ("missed sales", float(outcome.cost(missed).mean())),
    ]


def sides_by_week(found: Backtest, first_day: np.datetime64) -> pd.DataFrame:
    """Give waste and service of the deliveries that came and of the plan, week by week.

    Returns:
        week (its first day), series (with the plan, as it was), waste_share of what was brought,
        fill_rate of what was wanted.
    """
    days = found.days
    parts = []
    for series, outcome in (("with the plan", found.plan), ("as it was", found.done)):
        for start, columns in _weeks(days):
            some = outcome.days(columns)
            parts.append((first_day + start, series, some.waste_share, some.fill_rate))
    return pd.DataFrame(parts, columns=["week", "series", "waste_share", "fill_rate"])


def drift_by_week(
    learned: Learned, risks: RipeRisks, replayed: ReplayedDays, surroundings: Surroundings
) -> pd.DataFrame:
    """Follow what monitoring watches over the replayed weeks, by a model that is not renewed.

    Returns:
        week (its first day), measure (brier, coverage, drifting), series, is_yardstick, value: the
        Brier score beside that of the simple rate; the share of demand within its 90 % quantile
        beside 0.9; how many features have an alarming stability index over the four weeks up to it.
    """
    panel, first = replayed.panel, replayed.first
    start = (panel.as_of.max() - (panel.width - 1 - first)).astype("datetime64[D]")
    simple = list(risks.baselines)[-1]
    days = panel.columns(first, panel.width)
    tomorrow = replayed.quantiles[:, :, 0].reshape(-1, len(replayed.levels))
    upper = whole_units(inverse(replayed.levels, tomorrow, np.array([[UPPER]])))
    within = days.sold <= upper.reshape(days.sold.shape)
    seen = days.observed & ~days.stocked_out
    rows: list[tuple[Days, str, str, bool, float]] = []
    for begin, columns in _weeks(days.width):
        week = start + begin
        said = (risks.column >= first - 1 + columns.start) & (
            risks.column < first - 1 + columns.stop
        )
        if said.any():
            happened = risks.happened[said]
            own, other = (
                brier(one[said], happened) for one in (risks.probability, risks.baselines[simple])
            )
            rows.append((week, "brier", "learned", False, own))
            rows.append((week, "brier", "simple rate", True, other))
        here = seen[:, columns]
        if here.any():
            share = float(within[:, columns][here].mean())
            rows.append((week, "coverage", "learned", False, share))
            rows.append((week, "coverage", "promised", True, UPPER))
        known = panel.until(first + columns.stop - 1)
        ringing = sum(one.is_alarm for one in stability(learned.reference, known, surroundings))
        rows.append((week, "drifting", "features", False, float(ringing)))
    return pd.DataFrame(rows, columns=["week", "measure", "series", "is_yardstick", "value"])


def worst_series(found: Backtest, replayed: ReplayedDays) -> pd.DataFrame:
    """List the pairs that cost most under the plan.

    Returns:
        row (of the panel), cost and cost_before a day, sold, missed and wasted units a day.
    """
    plan, done, costs = found.plan, found.done, replayed.terms.costs
    spent = plan.cost(costs)
    rows = np.argsort(-spent, kind="stable")[:WORST]
    return pd.DataFrame(
        {
            "row": rows,
            "cost": spent[rows],
            "cost_before": done.cost(costs)[rows],
            **{
                name: getattr(plan, name).mean(axis=1)[rows]
                for name in ("sold", "missed", "wasted")
            },
        }
    )


def _weeks(days: int) -> list[tuple[np.timedelta64, slice]]:
    """Cut days into weeks that end with the last; what is left over at the start is left out."""
    starts = range(days % 7, days, 7)
    return [(np.timedelta64(start, "D"), slice(start, start + 7)) for start in starts]
