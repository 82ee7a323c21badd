"""A place never seen: forecasts that make sense, from what its kin and its items do elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from larder.learning.features import Surroundings
from larder.learning.forecasts import days_ahead, features_ahead
from larder.learning.frames import Floats
from larder.learning.panel import Panel, read_panel
from larder.learning.registry import Champion
from larder.learning.surroundings import Known, read_surroundings

OPENED = ("new_large", "new_small", "new_twin", "new_unknown")
POPULATION = (9_000.0, 90.0, 90.0, np.nan)
AHEAD = 5
NEW = slice(-len(OPENED) * 4, None)
SOLD_DAYS = 28


@pytest.fixture(scope="module")
def opened(grown: Any, champion: Champion) -> tuple[Panel, Surroundings]:
    """Open places on the last day of a network that a model knows; nothing was on sale yet."""
    pairs, days = grown.pairs, grown.days
    items = pairs[pairs["location_id"] == "location_00000"]
    size = len(pairs)
    new = pd.concat(
        [
            items.assign(
                location_id=name,
                population=population,
                pair_number=size + number * len(items) + np.arange(len(items)),
            )
            for number, (name, population) in enumerate(zip(OPENED, POPULATION, strict=True))
        ]
    )
    first = (
        days[days["days_ago"] == 0].iloc[: len(new)].assign(pair_number=new["pair_number"].array)
    )
    units = [name for name in days if str(name).endswith("_units")]
    first[units] = 0
    first["stocked_out_minutes"], first["is_stocked_out"] = first["open_minutes"], False
    known = known_of(grown, pd.concat([pairs, new]))
    panel = read_panel(pd.concat([days, first]), known.pairs)
    return panel, read_surroundings(panel, known, AHEAD, champion.learned.codes)


def known_of(network: Any, pairs: pd.DataFrame) -> Known:
    """Return what is known around some pairs in a network."""
    return Known(pairs, network.calendar, network.promotions, network.trends)


def forecast(champion: Champion, panel: Panel, surroundings: Surroundings) -> tuple[Floats, Floats]:
    """Return units expected (S, H) and quantiles (S, H, Q) of the days ahead."""
    last = panel.width - 1
    ahead = list(days_ahead(champion.learned.demand, panel, surroundings, last, last, AHEAD))
    return (
        np.concatenate([one.expected for one in ahead], axis=1),
        np.concatenate([one.quantiles for one in ahead], axis=1),
    )


def test_it_gets_a_whole_forecast(opened: tuple[Panel, Surroundings], champion: Champion) -> None:
    expected, quantiles = forecast(champion, *opened)
    assert set(opened[0].location_ids[NEW]) == set(OPENED)
    assert np.isfinite(expected).all()
    assert (expected > 0).all()
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=2) >= 0).all()
    assert (quantiles[NEW, :, -1] > 0).all()


def test_an_item_that_sells_more_elsewhere_is_expected_more_of(
    opened: tuple[Panel, Surroundings],
) -> None:
    panel, surroundings = opened
    level = features_ahead(panel, surroundings, 1).level[:, 0]
    old = slice(0, NEW.start)
    sold, there = (
        np.bincount(panel.item_codes[old], cells[old, -SOLD_DAYS:].sum(axis=1))
        for cells in (panel.sold, panel.available)
    )
    of_place = panel.location_ids == OPENED[0]
    assert of_place.sum() == len(sold)
    assert np.argsort(level[of_place]).tolist() == np.argsort(sold / there).tolist()


def test_places_of_which_the_same_is_known_are_expected_the_same_of(
    opened: tuple[Panel, Surroundings], champion: Champion
) -> None:
    """Names that no model has learned say nothing; population may, and moves no usual level."""
    panel, surroundings = opened
    expected, quantiles = forecast(champion, panel, surroundings)
    small, twin = (panel.location_ids == name for name in OPENED[1:3])
    np.testing.assert_allclose(expected[small], expected[twin])
    np.testing.assert_allclose(quantiles[small], quantiles[twin])
    level = features_ahead(panel, surroundings, 1).level[NEW].reshape(len(OPENED), -1)
    np.testing.assert_allclose(level, np.broadcast_to(level[0], level.shape))


def test_it_changes_nothing_for_the_others(
    opened: tuple[Panel, Surroundings], grown: Any, champion: Champion
) -> None:
    panel = read_panel(grown.days, grown.pairs)
    alone = read_surroundings(panel, known_of(grown, grown.pairs), AHEAD, champion.learned.codes)
    for with_new, without in zip(
        forecast(champion, *opened), forecast(champion, panel, alone), strict=True
    ):
        np.testing.assert_allclose(with_new[: NEW.start], without)
