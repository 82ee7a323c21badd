"""What surrounds the pairs lands on the days and pairs that it belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from larder.learning.frames import Floats
from larder.learning.panel import Panel, read_panel
from larder.learning.surroundings import Known, name_codes, read_surroundings

WIDTH = 60
AFTER = 7
MONDAY = np.datetime64("2025-01-06", "D")


def panel_of(*pairs: tuple[str, str, str]) -> Panel:
    """Lay pairs of place, item and as-of day out; nothing of their units is read."""
    locations, items, as_of = (np.array(part, dtype=object) for part in zip(*pairs, strict=True))
    cells = np.full((len(pairs), WIDTH), np.nan)
    return Panel(
        location_ids=locations,
        item_ids=items,
        location_codes=np.unique(locations, return_inverse=True)[1],
        item_codes=np.unique(items, return_inverse=True)[1],
        as_of=as_of.astype("datetime64[D]"),
        restocked=cells,
        sold=cells,
        discarded=cells,
        missing=cells,
        closing=cells,
        available=cells,
        stocked_out=cells > 0,
        observed=cells > 0,
    )


@pytest.fixture
def panel() -> Panel:
    """Two places, one of them a day behind."""
    return panel_of(("a", "x", "2025-03-10"), ("a", "y", "2025-03-10"), ("b", "x", "2025-03-09"))


def known_of(**changes: pd.DataFrame) -> Known:
    """Return what is known around places a and b of two regions; nothing happens there."""
    dates = pd.date_range("2024-12-01", "2025-04-30")
    calendar = pd.concat(
        pd.DataFrame(
            {
                "region": region,
                "calendar_date": dates,
                "is_holiday": False,
                "is_school_holiday": False,
                "rain_millimetres": np.arange(len(dates)) + rain,
                "temperature_celsius": 20.0,
            }
        )
        for region, rain in (("north", 0.0), ("south", 1000.0))
    )
    pairs = pd.DataFrame(
        {
            "location_id": ["b", "a", "a"],
            "item_id": ["x", "y", "x"],
            "region": ["south", "north", "north"],
            "kind": ["kiosk", "school", "school"],
            "category": ["salad", "soup", "salad"],
            "population": [300, 100, 100],
            "price_usd": [4.0, None, 3.0],
        }
    )
    promotions = frame_of(item_id="x", location_id=None, starts_at=MONDAY, ends_at=MONDAY).iloc[:0]
    trends = frame_of(region="north", item_id="x", week_start=MONDAY, trend_index=1.0).iloc[:0]
    frames = {"pairs": pairs, "calendar": calendar, "promotions": promotions, "trends": trends}
    return Known(**(frames | changes))


def frame_of(**columns: Any) -> pd.DataFrame:
    """Make a frame of one row."""
    row = {
        name: pd.Timestamp(value) if isinstance(value, np.datetime64) else value
        for name, value in columns.items()
    }
    return pd.DataFrame([row])


def on(panel: Panel, cells: Floats, date: str) -> list[float]:
    """Return each pair's cell of a date."""
    column = (np.datetime64(date, "D") - panel.as_of).astype(np.int64) + panel.width - 1
    return [float(one) for one in cells[np.arange(panel.size), column]]


def test_a_date_is_in_the_right_column_of_pairs_of_other_as_of_days(panel: Panel) -> None:
    known = known_of()
    calendar = known.calendar
    calendar.loc[
        (calendar["calendar_date"] == "2025-03-12") & (calendar["region"] == "south"), "is_holiday"
    ] = True
    calendar.loc[calendar["calendar_date"] == "2025-03-01", "is_school_holiday"] = True
    around = read_surroundings(panel, known, AFTER, name_codes(known))
    assert around.holidays.shape == (3, WIDTH + AFTER)
    assert on(panel, around.holidays, "2025-03-12") == [0, 0, 1]
    assert around.holidays.sum() == 1
    school = around.events["is_school_holiday"]
    assert on(panel, school, "2025-03-01") == [1, 1, 1]
    assert school.sum() == 3
    rain = around.signals["rain"]
    assert rain.shape == (3, WIDTH)
    assert on(panel, rain, "2025-03-09") == [98, 98, 1098]
    assert (np.diff(rain, axis=1) == 1).all()


def test_days_that_the_calendar_lacks_are_no_holidays_of_unknown_weather(panel: Panel) -> None:
    known = known_of()
    calendar = known.calendar.assign(is_holiday=True)
    few = calendar[calendar["calendar_date"] == "2025-03-09"]
    around = read_surroundings(panel, known_of(calendar=few), AFTER, name_codes(known))
    assert on(panel, around.holidays, "2025-03-09") == [1, 1, 1]
    assert around.holidays.sum() == 3
    assert np.isfinite(around.signals["temperature"]).sum() == 3


@pytest.mark.parametrize(
    ("item", "place", "expected"),
    [
        ("x", None, [1, 0, 1]),
        ("x", "b", [0, 0, 1]),
        ("y", "a", [0, 1, 0]),
        ("y", "b", [0, 0, 0]),
        ("z", None, [0, 0, 0]),
    ],
    ids=["everywhere", "at a place", "another item", "not sold there", "unknown item"],
)
def test_a_promotion_is_on_the_days_at_whose_noon_it_runs(
    panel: Panel, item: str, place: str | None, expected: list[int]
) -> None:
    elsewhere = frame_of(
        item_id="z",
        location_id="a",
        starts_at=np.datetime64("2025-01-01"),
        ends_at=np.datetime64("2025-12-31"),
    )
    row = frame_of(
        item_id=item,
        location_id=place,
        starts_at=np.datetime64("2025-03-04T12:00"),
        ends_at=np.datetime64("2025-03-12T12:00"),
    )
    known = known_of(promotions=pd.concat([row, elsewhere]))
    promoted = read_surroundings(panel, known, AFTER, name_codes(known)).events["is_promoted"]
    assert on(panel, promoted, "2025-03-03") == [0, 0, 0]
    assert on(panel, promoted, "2025-03-04") == expected
    assert on(panel, promoted, "2025-03-11") == expected
    assert on(panel, promoted, "2025-03-12") == [0, 0, 0]
    assert promoted.sum() == 8 * sum(expected)


def test_promotions_may_overlap(panel: Panel) -> None:
    rows = [
        frame_of(
            item_id="x",
            location_id=place,
            starts_at=np.datetime64(f"2025-03-0{start}"),
            ends_at=np.datetime64(f"2025-03-0{start + 2}"),
        )
        for start, place in ((4, None), (5, "a"))
    ]
    known = known_of(promotions=pd.concat(rows))
    promoted = read_surroundings(panel, known, AFTER, name_codes(known)).events["is_promoted"]
    assert promoted.sum(axis=1).tolist() == [3, 0, 2]


def test_the_trend_is_of_the_newest_week_that_is_over_of_the_last_four(panel: Panel) -> None:
    weeks = [
        frame_of(region="north", item_id="x", week_start=MONDAY + 7 * week, trend_index=value)
        for week, value in ((0, 1.0), (1, 2.0), (2, np.nan))
    ]
    other = frame_of(region="east", item_id="x", week_start=MONDAY - 70, trend_index=9.0)
    known = known_of(trends=pd.concat([*weeks, other]))
    trend = read_surroundings(panel, known, AFTER, name_codes(known)).signals["trend"]
    assert trend.shape == (3, WIDTH)
    assert np.isnan(trend[1:]).all()
    found = {str(MONDAY + day): on(panel, trend, str(MONDAY + day))[0] for day in range(1, WIDTH)}
    first = [day for day, value in found.items() if value == 1]
    second = [day for day, value in found.items() if value == 2]
    # over on the Monday after it, and until the fourth week after it is
    assert first == [str(MONDAY + day) for day in range(7, 14)]
    assert second == [str(MONDAY + day) for day in range(14, 14 + 28)]
    assert np.isnan([found[day] for day in found if day not in {*first, *second}]).all()


def test_an_old_trend_is_forgotten() -> None:
    panel = panel_of(("a", "x", str(MONDAY + 50)))
    row = frame_of(region="north", item_id="x", week_start=MONDAY, trend_index=5.0)
    known = known_of(trends=row)
    trend = read_surroundings(panel, known, AFTER, name_codes(known)).signals["trend"]
    days = np.flatnonzero(trend[0] == 5) - (panel.width - 1) + 50
    assert days.tolist() == list(range(7, 7 + 28))


def test_names_are_the_codes_that_they_had_in_training(panel: Panel) -> None:
    known = known_of()
    codes = name_codes(known)
    assert codes["location"] == ("a", "b")
    assert codes["category"] == ("salad", "soup")
    places = read_surroundings(panel, known, AFTER, codes).places
    assert places["location"].tolist() == [0, 0, 1]
    assert places["item"].tolist() == [0, 1, 0]
    assert places["kind"].tolist() == [1, 1, 0]
    np.testing.assert_array_equal(places["population"], [100, 100, 300])
    np.testing.assert_array_equal(places["price"], [3, np.nan, 4])
    older = codes | {"location": ("b",), "kind": ()}
    places = read_surroundings(panel, known, AFTER, older).places
    np.testing.assert_array_equal(places["location"], [np.nan, np.nan, 0])
    assert np.isnan(places["kind"]).all()


def test_groups_are_codes_without_a_gap_from_wide_to_narrow(panel: Panel) -> None:
    known = known_of()
    groups = read_surroundings(panel, known, AFTER, name_codes(known)).groups
    assert [group.tolist() for group in groups] == [[0, 0, 1], [0, 0, 1], [0, 1, 2]]


def test_a_pair_that_nothing_is_known_of_still_has_surroundings() -> None:
    known = known_of()
    stranger = panel_of(("a", "x", "2025-03-10"), ("c", "z", "2025-03-10"))
    around = read_surroundings(stranger, known, AFTER, name_codes(known))
    assert (around.holidays == 0).all()
    assert np.isnan(around.signals["rain"][1]).all()
    assert all(np.isnan(cells[1]) for cells in around.places.values())
    assert all(len(np.unique(group)) == 2 for group in around.groups)


def test_empty_frames_are_as_good_as_none(panel: Panel) -> None:
    full = known_of()
    empty = Known(
        **{name: getattr(full, name).iloc[:0] for name in ("pairs", "calendar", "promotions")},
        trends=full.trends,
    )
    codes = name_codes(empty)
    assert set(codes.values()) == {()}
    around = read_surroundings(panel, empty, AFTER, codes)
    assert (around.holidays == 0).all()
    assert all((cells == 0).all() for cells in around.events.values())
    assert all(cells.shape == (3, WIDTH) for cells in around.signals.values())
    assert all(np.isnan(cells).all() for cells in around.signals.values())
    assert all(np.isnan(cells).all() for cells in around.places.values())


def test_nobody_has_surroundings_of_no_days(network: Any) -> None:
    known = known_of()
    nobody = read_panel(network.days.iloc[:0], network.pairs)
    around = read_surroundings(nobody, known, AFTER, name_codes(known))
    assert around.holidays.shape == (0, AFTER)
    assert around.signals["trend"].shape == around.signals["rain"].shape == (0, 0)
