"""Say in words why a score is what it is: always three reasons, the same for the same data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from larder.learning.demand import WEEKS, Demand, Windows
from larder.learning.frames import Bools, Days, Floats, Ints, Texts
from larder.learning.orders import Costs
from larder.learning.panel import Panel
from larder.learning.waste import WasteRates

SEPARATOR = "; "
THIN_DAYS = 28
RECENT_DAYS = 10
WEEKDAYS = np.array(
    ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"]
)


def amount(values: Floats | Ints, digits: int = 0) -> Texts:
    """Write numbers as short text: rounded, without trailing zeros."""
    return np.asarray(np.char.mod("%g", np.round(np.asarray(values, dtype=np.float64), digits) + 0))


def percent(shares: Floats) -> Texts:
    """Write shares as whole percentages; only what is none or all is 0 or 100 %."""
    shares = np.asarray(shares, dtype=np.float64)
    whole = np.round(100 * shares)
    written = np.where((whole == 0) & (shares > 0), "<1", amount(whole))
    written = np.where((whole == 100) & (shares < 1), ">99", written)
    return phrase("{} %", written)


def phrase(template: str, *parts: Texts) -> Texts:
    """Fill each `{}` of the template with one array of texts."""
    pieces = template.split("{}")
    words = np.full(len(parts[0]), pieces[0])
    for part, piece in zip(parts, pieces[1:], strict=True):
        words = np.char.add(np.char.add(words, part), piece)
    return words


def plural(values: Floats | Ints, one: str, more: str) -> Texts:
    """Choose between the singular and the plural, of values as `amount` writes them."""
    return np.where(np.round(np.asarray(values)) == 1, one, more)


def by_when(days: Ints) -> Texts:
    """Say within how many days of the as-of day's close: within one is tomorrow."""
    return np.where(np.asarray(days) == 1, "tomorrow", phrase("within {} days", amount(days)))


def first_three(candidates: Sequence[Texts]) -> Texts:
    """Join each row's first three non-empty texts; the caller gives at least three that are."""
    spoken = np.stack(candidates)
    place = np.cumsum(spoken != "", axis=0) * (spoken != "")
    chosen = [
        np.take_along_axis(spoken, np.argmax(place == k, axis=0)[None, :], axis=0)[0]
        for k in (1, 2, 3)
    ]
    return phrase("{}" + SEPARATOR + "{}" + SEPARATOR + "{}", *chosen).astype(object)


def waste_reasons(
    panel: Panel,
    rates: WasteRates,
    rows: Ints,
    horizons: Ints,
    held: Floats,
    expiring: Floats,
    dated: Floats,
) -> Texts:
    """Explain R waste risks.

    Args:
        rows: (R,) rows of the panel; horizons: (R,) days ahead; held: (R,) units held now;
        expiring: (R,) of them, those that expire within the horizon; dated: (R,) of them, those
        whose expiry is known.
    """
    last_week = panel.columns(max(0, panel.width - 28), panel.width)
    seen = np.maximum(last_week.observed.sum(axis=1), 1)
    pace = (np.where(last_week.observed, last_week.sold, 0).sum(axis=1) / seen)[rows]
    recent = panel.columns(max(0, panel.width - RECENT_DAYS), panel.width)
    wasted = ((recent.discarded > 0) & recent.observed).sum(axis=1)[rows]
    looked = recent.observed.sum(axis=1)[rows]
    days = rates.held_days[rows]
    own, overall = rates.own[rows, horizons - 1], rates.overall[horizons - 1]
    span = amount(horizons)
    stock = np.where(
        held > 0,
        phrase(
            "{} {} held, {} sold a day at this place",
            amount(held),
            plural(held, "unit", "units"),
            amount(pace, 1),
        ),
        phrase("nothing held, {} sold a day at this place", amount(pace, 1)),
    )
    thin = np.where(
        days < THIN_DAYS,
        phrase(
            "thin history: {} {} with stock, leaning on the item's rate elsewhere",
            amount(days),
            plural(days, "day", "days"),
        ),
        "",
    )
    within = np.where(horizons == 1, "within 1 day", phrase("within {} days", span))
    some = phrase("{} of the {} held", amount(expiring), amount(held))
    some = np.where(expiring >= held, phrase("all {} held", amount(held)), some)
    some = np.where((held == 1) & (expiring >= 1), "the one held", some)
    some = np.where(expiring <= 0, phrase("none of the {} held", amount(held)), some)
    expire = np.where(expiring <= 1, " expires ", " expire ")
    expiry = np.where(
        (held > 0) & (dated > 0), phrase("{}{}{}", some, expire, by_when(horizons)), ""
    )
    past = phrase(
        "{} of the last {} {} ended with waste",
        amount(wasted),
        amount(looked),
        plural(looked, "day", "days"),
    )
    rate = np.where(
        np.isfinite(own),
        phrase(
            "stock held here led to waste {} {} of the time, {} across the network",
            within,
            percent(np.nan_to_num(own)),
            percent(overall),
        ),
        phrase(
            "across the network, stock led to waste {} {} of the time",
            within,
            percent(overall),
        ),
    )
    return first_three([stock, thin, expiry, past, rate])


def order_reasons(
    demand: Demand,
    windows: Windows,
    costs: Costs,
    first_days: Days,
    cover: Ints,
    stock: Floats,
    is_holiday: Bools,
) -> Texts:
    """Explain R orders; `first_days` (R,) are the order dates, `cover` (R,) the days covered."""
    weekday = WEEKDAYS[(first_days.astype("datetime64[D]").astype(np.int64) + 3) % 7]
    seen = windows.weight.sum(axis=1)
    out = (windows.censored & (windows.weight > 0)).sum(axis=1)
    holiday = np.where(is_holiday, "holiday on the day", "")
    thin = np.where(
        seen < WEEKS,
        phrase(
            "thin history: {} of {} {}, leaning on the item's demand elsewhere",
            amount(seen),
            amount(np.full(len(seen), WEEKS)),
            weekday,
        ),
        "",
    )
    sold_out = np.where(
        cover == 1,
        phrase("sold out on {} of the last {} {}", amount(out), amount(seen), weekday),
        phrase("sold out on the same days in {} of the last {} weeks", amount(out), amount(seen)),
    )
    sold_out = np.where(out > 0, sold_out, "")
    usual = np.where(
        cover == 1,
        phrase(
            "usual demand on {}: {}, from {} to {}",
            weekday,
            *(amount(demand.quantile(p), 1) for p in (0.5, 0.1, 0.9)),
        ),
        phrase(
            "usual demand over {} days: {}, from {} to {}",
            amount(cover),
            *(amount(demand.quantile(p), 1) for p in (0.5, 0.1, 0.9)),
        ),
    )
    money = phrase(
        "a missed sale costs {} USD, a wasted unit {} USD",
        amount(costs.underage, 2),
        amount(costs.overage, 2),
    )
    money = np.where(costs.critical_ratio > 0, money, "a sale earns nothing at this price and cost")
    left = phrase("{} {} still good at opening", amount(stock), plural(stock, "unit", "units"))
    return first_three([holiday, thin, sold_out, usual, money, left])
