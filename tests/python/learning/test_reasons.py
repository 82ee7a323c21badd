"""Reasons: the words a shop manager reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from larder.learning.demand import Demand, Windows
from larder.learning.orders import Costs
from larder.learning.panel import read_panel, shelf_lives
from larder.learning.reasons import first_three, order_reasons, percent, plural, waste_reasons
from larder.learning.waste import fit_waste_rates


def test_the_first_three_that_say_something_are_taken() -> None:
    rows = [np.array(part) for part in (["a", ""], ["", ""], ["b", "c"], ["d", "e"], ["f", "g"])]
    assert first_three(rows).tolist() == ["a; b; d", "c; e; g"]


def test_only_what_is_none_or_all_is_rounded_to_it() -> None:
    shares = np.array([0, 1e-5, 0.004, 0.006, 0.5, 0.994, 0.996, 1])
    said = ["0 %", "<1 %", "<1 %", "1 %", "50 %", "99 %", ">99 %", "100 %"]
    assert percent(shares).tolist() == said


def test_what_is_written_as_one_is_one() -> None:
    assert plural(np.array([0, 0.8, 1, 1.4, 1.6, 2]), "unit", "units").tolist() == [
        *("units", "unit", "unit", "unit", "units", "units")
    ]


def explain_order(**changes: Any) -> str:
    values: dict[str, Any] = {
        "units": np.array([[1.0, 3.0, 6.0]]),
        "censored": np.zeros((1, 8), dtype=np.bool_),
        "weight": np.ones((1, 8)),
        "cover": 1,
        "holiday": False,
        **changes,
    }
    windows = Windows(
        np.ones((1, 8)), values["censored"], values["weight"], np.ones((1, 8)), np.ones(1)
    )
    reasons = order_reasons(
        Demand(values["units"], np.array([[0.2, 0.5, 0.3]]), np.ones(1)),
        windows,
        Costs(np.array([2.5]), np.array([1.25])),
        np.array(["2025-06-27"], dtype="datetime64[D]"),
        np.array([values["cover"]]),
        np.array([1.0]),
        np.array([values["holiday"]]),
    )
    return str(reasons[0])


def test_an_order_says_what_is_usual_and_what_it_costs() -> None:
    assert explain_order() == (
        "usual demand on Fridays: 3, from 1 to 6; "
        "a missed sale costs 2.5 USD, a wasted unit 1.25 USD; 1 unit still good at opening"
    )


def test_an_order_names_holidays_thin_history_and_stock_outs_first() -> None:
    weight = np.array([[1.0] * 6 + [0.0] * 2])
    assert explain_order(holiday=True, weight=weight, censored=weight > 0) == (
        "holiday on the day; "
        "thin history: 6 of 8 Fridays, leaning on the item's demand elsewhere; "
        "sold out on 6 of the last 6 Fridays"
    )
    several = explain_order(cover=2, censored=np.arange(8)[None, :] < 3)
    assert several.startswith("sold out on the same days in 3 of the last 8 weeks; usual demand")
    assert "over 2 days: 3, from 1 to 6" in several


def explain_waste(network: Any, held: float, expiring: float, horizon: int, days: int) -> str:
    panel = read_panel(network.days, network.pairs)
    rates = fit_waste_rates(panel, shelf_lives(panel, network.items))
    rates = replace(rates, held_days=np.full(panel.size, days))
    reasons = waste_reasons(
        panel,
        rates,
        np.zeros(1, dtype=np.int64),
        np.array([horizon]),
        np.array([held]),
        np.array([expiring]),
        np.array([held]),
    )
    return str(reasons[0])


def test_a_risk_says_what_is_held_what_expires_and_what_happened(network: Any) -> None:
    stock, expiry, past = explain_waste(network, 8, 3, 2, 60).split("; ")
    assert stock.startswith("8 units held, ")
    assert stock.endswith(" sold a day at this place")
    assert expiry == "3 of the 8 held expire within 2 days"
    assert past.endswith(" of the last 10 days ended with waste")
    assert "the one held expires tomorrow" in explain_waste(network, 1, 1, 1, 60)
    assert "all 4 held expire tomorrow" in explain_waste(network, 4, 4, 1, 60)
    assert "none of the 4 held expires tomorrow" in explain_waste(network, 4, 0, 1, 60)


def test_a_risk_says_when_history_is_thin_or_nothing_is_held(network: Any) -> None:
    words = explain_waste(network, 0, 0, 1, 6).split("; ")
    assert words[0].startswith("nothing held, ")
    assert words[1] == "thin history: 6 days with stock, leaning on the item's rate elsewhere"
    rate = explain_waste(network, 0, 0, 2, 60).split("; ")[2]
    assert rate.startswith("stock held here led to waste within 2 days ")
    assert rate.endswith(" % across the network")
