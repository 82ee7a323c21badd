"""What lots and forecasts say of the units held at a close: what the risk is learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from larder.learning.features import Matrix, Surroundings
from larder.learning.forecasts import days_ahead
from larder.learning.frames import Floats, Ints
from larder.learning.lots import expiring_units, waste_outlook
from larder.learning.panel import Panel
from larder.learning.quantiles import QuantileModel
from larder.learning.risk import RiskModel, logit
from larder.learning.rolling import rolling_mean
from larder.learning.sampling import drawn

RECENT_DAYS: Final = 28
MOST_ROWS: Final = 300_000
NAMES: Final = (
    "outlook",
    "horizon",
    "days_left",
    "held",
    "expiring",
    "expected_demand",
    "expiring_to_demand",
    "expected_waste",
    "wasted_days",
    "wasted_share",
    "stocked_out_days",
    "weekday",
    "location",
    "item",
)


@dataclass(frozen=True)
class Outlook:
    """Hold N closes at which something was held, by H days ahead.

    `pair` (N,) and `column` (N,) of the panel; `held` (N,) units; `expiring` (N, H) of them within
    each horizon; `expected` (N, H) demand up to it; `quantiles` (N, H, Q) of each day's demand;
    `probability` and `units` (N, H) of waste, as lots and forecasts have it; `rows` (N, H, F) with
    `NAMES`.
    """

    pair: Ints
    column: Ints
    held: Floats
    expiring: Floats
    expected: Floats
    quantiles: Floats
    probability: Floats
    units: Floats
    rows: Matrix

    def risks(self, model: RiskModel) -> tuple[Floats, Floats]:
        """Return probability and expected units of waste (N, H), not falling with the horizon.

        Probability ≤ units ≤ probability · units held, for a unit is whole.
        """
        flat = self.rows.reshape(-1, self.rows.shape[2])
        learned = model.predict(flat, self.probability.reshape(-1)).reshape(self.probability.shape)
        probability = np.maximum.accumulate(np.clip(learned, 0.0, 1.0), axis=1)
        held = self.held[:, None]
        units = np.clip(
            self.units * model.units_factor, probability * np.minimum(held, 1), probability * held
        )
        return probability, np.maximum.accumulate(units, axis=1)


def outlook(
    model: QuantileModel,
    panel: Panel,
    surroundings: Surroundings,
    shelf_life_days: Ints,
    first: int,
    last: int,
    horizon: int,
    expiring: Floats | None = None,
    most_rows: int = MOST_ROWS,
    seed: int = 0,
) -> Outlook:
    """Look ahead from the closes of the columns `first` to `last`, each by what was known then.

    Args:
        shelf_life_days: (S,). horizon: days ahead. expiring: (S, 1, horizon) units held that expire
            within each horizon, if better known than from deliveries.
        most_rows: closes and horizons; seed: of the closes that are drawn where there are more.
    """
    here = slice(first, last + 1)
    due = expiring_units(panel, shelf_life_days, horizon)[:, here] if expiring is None else expiring
    held = panel.closing[:, here]
    there = panel.observed[:, here] & (held > 0)
    pair, day = np.nonzero(drawn(there, most_rows // horizon, seed))
    forecasts = list(days_ahead(model, panel, surroundings, first, last, horizon))
    quantiles = np.stack([one.quantiles[pair, day] for one in forecasts], axis=1)
    expected = np.cumsum(np.stack([one.expected[pair, day] for one in forecasts], axis=1), axis=1)
    expiring = due[pair, day]
    probability, units = waste_outlook(model.levels, quantiles, expiring)
    shape = probability.shape
    life = shelf_life_days[pair][:, None]
    ahead = np.arange(1, horizon + 1)[None]
    wasted = np.where(panel.observed, panel.discarded > 0, np.nan)
    gone, brought = (
        np.where(panel.observed, cells, np.nan) for cells in (panel.discarded, panel.restocked)
    )
    out = np.where(panel.observed, panel.stocked_out, np.nan)
    column = day + first
    dates = panel.as_of[pair].astype(np.int64) - (panel.width - 1) + column

    def recent(cells: Floats) -> Floats:
        return rolling_mean(cells, RECENT_DAYS)[pair, column][:, None]

    columns = {
        "outlook": logit(probability),
        "horizon": ahead,
        "days_left": life - ahead,
        "held": held[pair, day][:, None],
        "expiring": expiring,
        "expected_demand": expected,
        "expiring_to_demand": expiring / expected,
        "expected_waste": units,
        "wasted_days": recent(wasted),
        "wasted_share": recent(gone) / np.maximum(recent(brought), 1e-9),
        "stocked_out_days": recent(out),
        "weekday": ((dates + 3) % 7)[:, None],
        "location": surroundings.places["location"][pair][:, None],
        "item": surroundings.places["item"][pair][:, None],
    }
    rows = np.empty((*shape, len(NAMES)), dtype=np.float32)
    for number, name in enumerate(NAMES):
        rows[:, :, number] = np.broadcast_to(columns[name], shape)
    return Outlook(
        pair, column, held[pair, day], expiring, expected, quantiles, probability, units, rows
    )
