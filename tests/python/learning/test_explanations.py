"""Explanations are true: of made-up contributions, and of a model on a network that was counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from conftest import around

from larder.learning.explanations import (
    GROUPS,
    deciding_days,
    demand_phrases,
    group_of,
    grouped,
    order_reasons,
    risk_reasons,
)
from larder.learning.features import Features, Surroundings
from larder.learning.forecasts import features_ahead
from larder.learning.frames import Floats
from larder.learning.orders import Costs
from larder.learning.outlook import NAMES
from larder.learning.panel import Panel, read_panel, shelf_lives
from larder.learning.risk import Calibration, RiskModel
from larder.learning.scoring import score_orders, score_risks
from larder.learning.surroundings import name_codes, read_surroundings
from larder.learning.training import Learned

# Every feature that the model of demand can have, by what a person would call it.
NAMED: dict[str, str] = {
    "holiday": """is_holiday is_holiday_-3_days is_holiday_-2_days is_holiday_-1_days
        is_holiday_+1_days is_holiday_+2_days is_holiday_+3_days is_holiday_a_week_ago
        is_holiday_usual is_holiday_effect_of_item is_holiday_effect before_holiday_effect_of_item
        before_holiday_effect after_holiday_effect_of_item after_holiday_effect days_from_holiday
        days_since_holiday days_to_holiday item_ratio_at_the_same_holiday
        ratio_at_the_same_holiday""",
    "school": """is_school_holiday is_school_holiday_-3_days is_school_holiday_-2_days
        is_school_holiday_-1_days is_school_holiday_+1_days is_school_holiday_+2_days
        is_school_holiday_+3_days is_school_holiday_a_week_ago is_school_holiday_usual
        is_school_holiday_effect_of_item is_school_holiday_effect""",
    "promotion": """is_promoted is_promoted_-3_days is_promoted_-2_days is_promoted_-1_days
        is_promoted_+1_days is_promoted_+2_days is_promoted_+3_days is_promoted_a_week_ago
        is_promoted_usual is_promoted_effect_of_item is_promoted_effect""",
    "weather": """rain rain_mean_7_days rain_change temperature temperature_mean_7_days
        temperature_change""",
    "trend": "popularity trend trend_mean_7_days trend_change",
    "stocked_out": "stocked_out_share available_share",
    "elsewhere": """item_ratio_0_days_ago item_ratio_1_days_ago item_ratio_2_days_ago
        item_ratio_6_days_ago item_ratio_mean_7_days item_ratio_51_weeks_ago
        item_ratio_52_weeks_ago item_ratio_53_weeks_ago place_ratio_0_days_ago
        place_ratio_1_days_ago place_ratio_2_days_ago place_ratio_6_days_ago
        place_ratio_mean_7_days place_ratio_51_weeks_ago place_ratio_52_weeks_ago
        place_ratio_53_weeks_ago""",
    "calendar": "weekday day_of_year day_of_month days_ahead ratio_52_weeks_ago",
    "place": "location item region kind category population price",
    "lately": """ratio_0_days_ago ratio_1_days_ago ratio_2_days_ago ratio_3_days_ago
        ratio_4_days_ago ratio_5_days_ago ratio_6_days_ago ratio_13_days_ago ratio_mean_3_days
        ratio_mean_7_days ratio_mean_14_days ratio_mean_28_days ratio_scatter_28_days
        same_weekday_1 same_weekday_2 same_weekday_3 same_weekday_4 same_weekday_5 same_weekday_6
        same_weekday_least same_weekday_median same_weekday_most same_weekday_scatter
        same_weekday_without_demand weekdays_known log_level level_to_usual trend_90_days""",
}
GROUP_OF = {name: group for group, names in NAMED.items() for name in names.split()}


def phrases_of(
    effects: dict[str, float], facts: dict[str, float] | None = None, when: Any = "tomorrow"
) -> list[str]:
    """Say what moves the demand of one pair: contributions, and features that are not 0."""
    names, facts = list(GROUP_OF), facts or {}
    rows = np.array([[facts.get(name, 0.0) for name in names]], dtype=np.float32)
    contributions = np.array([[effects.get(name, 0.0) for name in names]])
    said = demand_phrases(names, rows, contributions, when, np.array([3]), np.array([14]))
    return [str(words[0]) for words in said if words[0]]


def test_every_feature_belongs_to_a_group_on_purpose(
    panel: Panel, surroundings: Surroundings
) -> None:
    """A new one must be named here, or its effect is said to be of what was sold lately."""
    names = features_ahead(panel, surroundings, 1).names
    assert sorted(names) == sorted(GROUP_OF)
    assert {name: group_of(name) for name in names} == GROUP_OF
    assert set(NAMED) == set(GROUPS)


def test_groups_add_up_to_all_contributions() -> None:
    contributions = np.random.default_rng(3).normal(0, 1, (7, len(GROUP_OF)))
    found = grouped(list(GROUP_OF), contributions)
    np.testing.assert_allclose(sum(found.values()), contributions.sum(axis=1))
    holiday = [group == "holiday" for group in GROUP_OF.values()]
    np.testing.assert_allclose(found["holiday"], contributions[:, holiday].sum(axis=1))


def test_what_moves_demand_most_is_named_first_with_its_size() -> None:
    effects = {
        "is_holiday": -0.3,
        "is_holiday_effect": -0.1,
        "is_promoted": 0.2,
        "rain": 0.4,
        "temperature": -0.35,
        "price": 0.019,
    }
    facts = {"is_holiday": 1.0, "is_promoted": 1.0}
    assert phrases_of(effects, facts) == [
        "holiday tomorrow: 33 % less demand",
        "on promotion: 22 % more demand",
        "the weather of the last days: 5 % more demand",
    ]
    assert phrases_of({}, facts) == []


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (np.log(1.5), "50 % more"),
        (np.log(3.0), "200 % more"),
        (np.log(1.997), "100 % more"),
        (np.log(0.5), "50 % less"),
        (np.log(0.02), "98 % less"),
        (-7.0, ">99 % less"),
    ],
)
def test_a_percentage_is_that_of_demand(effect: float, said: str) -> None:
    assert phrases_of({"price": effect}) == [f"what this place and item are like: {said} demand"]


@pytest.mark.parametrize(
    ("holiday", "tomorrow", "on_the_day"),
    [
        ("is_holiday", "holiday tomorrow", "holiday on the day"),
        ("is_holiday_+1_days", "holiday the day after tomorrow", "holiday the day after"),
        ("is_holiday_-1_days", "holiday the day before", "holiday the day before"),
        ("is_holiday_+3_days", "holiday within three days", "holiday within three days"),
        ("is_holiday_-2_days", "holiday within three days", "holiday within three days"),
        ("days_to_holiday", "no holiday near", "no holiday near"),
    ],
)
def test_a_holiday_is_said_to_be_when_it_is(holiday: str, tomorrow: str, on_the_day: str) -> None:
    for when, said in (("tomorrow", tomorrow), ("on the day", on_the_day)):
        assert phrases_of({"days_to_holiday": 0.1}, {holiday: 1.0}, when) == [
            f"{said}: 11 % more demand"
        ]


def test_a_holiday_of_the_calendar_is_said_to_be_when_it_is(
    panel: Panel, surroundings: Surroundings
) -> None:
    """From the calendar to the words: one place has a holiday on each day around tomorrow."""
    pairs = np.arange(panel.size)
    holidays = np.zeros(surroundings.holidays.shape)
    tomorrow = panel.width
    for row, distance in ((0, 0), (1, 1), (2, -1), (3, 2), (4, 5)):
        holidays[row, tomorrow + distance] = 1
    described = features_ahead(panel, replace(surroundings, holidays=holidays), 1)
    rows = described.values[:, 0]
    contributions = np.where(np.array(described.names) == "is_holiday", 0.1, 0.0)
    said = demand_phrases(
        described.names, rows, np.tile(contributions, (len(pairs), 1)), "tomorrow", pairs, pairs
    )
    assert [words.split(":")[0] for words in said[0][:6]] == [
        "holiday tomorrow",
        "holiday the day after tomorrow",
        "holiday the day before",
        "holiday within three days",
        "no holiday near",
        "no holiday near",
    ]


def test_what_is_said_of_a_day_is_true_of_it() -> None:
    effects = {"is_promoted": 0.3, "is_school_holiday": 0.2, "ratio_mean_14_days": 0.1}
    facts = {"is_promoted": 1.0, "is_school_holiday": 1.0, "ratio_mean_14_days": 1.2}
    yes = ["on promotion", "school holidays", "sold more than usual in the last two weeks"]
    no = ["not on promotion", "school days", "sold less than usual in the last two weeks"]
    assert [words.split(":")[0] for words in phrases_of(effects, facts)] == yes
    assert [words.split(":")[0] for words in phrases_of(effects)] == no
    unknown = phrases_of({"ratio_mean_14_days": 0.1}, {"ratio_mean_14_days": np.nan})
    assert unknown == ["what was sold here lately: 11 % more demand"]


def test_days_that_sold_out_or_ended_with_waste_are_counted(
    network: Any, panel: Panel, surroundings: Surroundings
) -> None:
    """Also where days have no records, which are then not said to have had none."""
    observed = panel.observed.copy()
    observed[::2, -13:-6] = False
    seen = replace(panel, observed=observed)
    life = shelf_lives(panel, network.items)
    held = np.zeros(panel.size)
    model = learned(stocked_out_share=0.5)
    risks = score_risks(model, seen, surroundings, life, held, np.zeros((panel.size, 4)))
    quiet = score_risks(learned(), seen, surroundings, life, held, np.zeros((panel.size, 4)))
    for row in range(panel.size):
        days = network.days[network.days["pair_number"] == row]
        days = days[~days["days_ago"].between(6, 12)] if row % 2 == 0 else days
        last = days[days["days_ago"] < 14]
        out = int(last["is_stocked_out"].sum())
        when = "never sold out in" if out == 0 else f"sold out on {out} of"
        said = f"{when} the last {len(last)} days: 65 % more demand"
        assert str(risks.reasons[row, 0]).split("; ")[2] == said
        last = days[days["days_ago"] < 28]
        wasted = (last["discarded_units"] > 0).sum()
        told = f"{wasted} of the last {len(last)} days ended with waste"
        assert str(quiet.reasons[row, 0]).split("; ")[2] == told


def test_an_order_says_what_is_usual_first_and_what_moves_it_then() -> None:
    moved = [np.array(["holiday on the day: 30 % less demand", ""]), np.array(["", ""])]
    said = order_reasons(
        usual=np.array([2.25, 1.0]),
        weekday=np.array(["Fridays", "Mondays"]),
        thin=np.array(["", "thin history: 1 day with stock, leaning on its kin"]),
        moved=moved,
        low=np.array([1.0, 0.0]),
        high=np.array([4.0, 3.0]),
        stock=np.array([1.0, 2.0]),
    )
    assert said.tolist() == [
        "usual on Fridays: 2.2 a day; holiday on the day: 30 % less demand; "
        "from 1 to 4 expected until the next delivery",
        "usual on Mondays: 1 a day; thin history: 1 day with stock, leaning on its kin; "
        "from 0 to 3 expected until the next delivery",
    ]


def test_a_learned_order_names_the_weekday_and_level_of_its_delivery(
    panel: Panel, surroundings: Surroundings
) -> None:
    rows = np.arange(3)
    ahead, one = np.array([1, 2, 4]), np.ones(3, dtype=np.int64)
    orders = score_orders(
        learned(price=-0.5),
        panel,
        surroundings,
        rows,
        ahead,
        one,
        one,
        Costs(np.full(3, 2.0), np.ones(3)),
        one,
        np.zeros(panel.size),
        np.zeros((panel.size, 5)),
        np.zeros(3),
        np.full(3, np.nan),
    )
    for row, days in zip(rows, ahead, strict=True):
        weekday = (panel.as_of[row] + days).item().strftime("%A")
        level = features_ahead(panel, surroundings, int(days)).level[row, 0]
        assert str(orders.reasons[row]).split("; ")[:2] == [
            f"usual on {weekday}s: {np.round(level, 1):g} a day",
            "what this place and item are like: 39 % less demand",
        ]


@pytest.mark.parametrize(
    ("expiring", "expected", "days"),
    [
        pytest.param([12, 12, 12], [1.5, 4.5, 9], [1, 1, 1], id="all by tomorrow"),
        pytest.param([0, 0, 9], [1, 2, 3], [1, 2, 3], id="only in the end"),
        pytest.param([2, 9, 9], [3, 4, 5], [1, 2, 2], id="the second day"),
        pytest.param([1, 3, 5], [1, 3, 5], [1, 1, 1], id="equally, so the earliest"),
        pytest.param([0, 1, 1], [1, 9, 11], [1, 2, 2], id="nothing expires before"),
        pytest.param([1, 1, 9], [2, 4, 20], [1, 1, 1], id="more is asked for than expires"),
        pytest.param([0, 0, 0], [1, 2, 3], [1, 2, 3], id="nothing expires"),
    ],
)
def test_the_day_that_decides_is_the_one_that_most_is_too_much_for(
    expiring: list[float], expected: list[float], days: list[int]
) -> None:
    others = np.array([expiring, [0, 0, 0], [7, 7, 7]], dtype=np.float64)
    found = deciding_days(others, np.array([expected, [1, 1, 1], [1, 2, 3]], dtype=np.float64))
    assert found.tolist() == [days, [1, 2, 3], [1, 1, 1]]


def risk_words(**changes: Any) -> list[str]:
    """Explain one risk: twelve are held, all of which expire tomorrow."""
    values: dict[str, Any] = {
        "held": 12.0,
        "expiring": 12.0,
        "days": 1,
        "expected": 4.5,
        "wasted": 3,
        "looked": 28,
        "leans": 0.0,
        "thin": "",
        **changes,
    }
    moved = [np.array([words]) for words in values.pop("moved", [])]
    arrays = {name: np.array([value]) for name, value in values.items()}
    return str(risk_reasons(**arrays, moved=moved)[0]).split("; ")


@pytest.mark.parametrize(
    ("held", "expiring", "days", "said"),
    [
        (12, 12, 1, "12 of 12 held expire tomorrow"),
        (12, 12, 2, "12 of 12 held expire within 2 days"),
        (12, 1, 1, "1 of 12 held expires tomorrow"),
        (1, 1, 3, "1 of 1 held expires within 3 days"),
        (5, 0, 2, "0 of 5 held expire within 2 days"),
    ],
)
def test_a_risk_says_how_many_expire_by_the_day_that_decides(
    held: float, expiring: float, days: int, said: str
) -> None:
    words = risk_words(held=float(held), expiring=float(expiring), days=days)
    assert words[:2] == [said, "4.5 expected to be asked for by then"]


class Usual:
    """Stand in for trees: of any day they expect what is usual, moved by what a test says."""

    levels = (0.25, 0.5, 0.75)

    def __init__(self, **effects: float) -> None:
        self.effects = effects

    def expected(self, features: Features) -> Floats:
        """Return units (S, K)."""
        return features.level

    def predict(self, features: Features) -> Floats:
        """Return quantiles (S, K, Q)."""
        return np.asarray(features.level[:, :, None] * np.array([0.5, 1.0, 1.5]))

    def contributions(self, features: Features) -> Floats:
        """Return contributions (S, K, F)."""
        each = np.array([self.effects.get(name, 0.0) for name in features.names])
        return np.asarray(np.broadcast_to(each, features.values.shape))


def learned(**effects: float) -> Learned:
    """Return a model that says what is usual, for the given reasons."""
    risk = RiskModel(NAMES, "", Calibration("none", (), ()), 1.0)
    return Learned(cast("Any", Usual(**effects)), risk, 5, {})


@pytest.fixture(scope="module")
def panel(network: Any) -> Panel:
    return read_panel(network.days, network.pairs)


@pytest.fixture(scope="module")
def surroundings(network: Any, panel: Panel) -> Surroundings:
    known = around(network)
    return read_surroundings(panel, known, 10, name_codes(known))


def test_stock_that_expires_tomorrow_is_named_so_at_every_horizon(
    network: Any, panel: Panel, surroundings: Surroundings
) -> None:
    life, horizon = shelf_lives(panel, network.items), 4
    held = np.arange(3.0, panel.size + 3)
    expiring = np.repeat(held[:, None], horizon, axis=1)
    # of every other pair, all but one expire on the day after
    expiring[::2, 0] = 0
    expiring[::2, 1:] -= 1
    risks = score_risks(learned(), panel, surroundings, life, held, expiring)
    for row, units in enumerate(held):
        told = [str(reasons).split("; ")[0] for reasons in risks.reasons[row]]
        if row % 2:
            assert told == [f"{units:g} of {units:g} held expire tomorrow"] * horizon
        else:
            assert told[0] == f"0 of {units:g} held expire tomorrow"
            later = f"{units - 1:g} of {units:g} held expire within 2 days"
            assert told[1:] == [later] * (horizon - 1)


def test_a_risk_says_what_moves_demand_then_or_how_often_there_was_waste() -> None:
    moved = ["holiday tomorrow: 34 % less demand", "on promotion: 3 % more demand"]
    past = "3 of the last 28 days ended with waste"
    assert risk_words(moved=moved)[2] == moved[0]
    assert risk_words(moved=moved, leans=-0.3)[2] == past
    assert risk_words(moved=moved, leans=0.01)[2] == moved[0]
    assert risk_words(moved=moved, thin="thin history", leans=0.3)[2] == "thin history"
    assert risk_words()[2] == past
    assert risk_words(wasted=1, looked=1)[2] == "1 of the last 1 day ended with waste"


def test_where_nothing_is_held_tomorrows_demand_is_named(
    network: Any, panel: Panel, surroundings: Surroundings
) -> None:
    life = shelf_lives(panel, network.items)
    nothing = np.zeros(panel.size)
    risks = score_risks(learned(), panel, surroundings, life, nothing, np.zeros((panel.size, 3)))
    tomorrow = features_ahead(panel, surroundings, 1).level[:, 0]
    for row, units in enumerate(np.round(tomorrow, 1)):
        for reasons in risks.reasons[row]:
            words = str(reasons).split("; ")
            assert words[:2] == ["nothing held", f"{units:g} expected to be asked for tomorrow"]
