"""Learn demand and risk together, keep them as text, and tell whether a new model may serve."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np

from larder.learning import quantiles, risk, trees
from larder.learning.features import Surroundings
from larder.learning.forecasts import WARM_UP_DAYS, observed_demand, training_features
from larder.learning.frames import Bools, Floats, Ints
from larder.learning.outlook import MOST_ROWS, NAMES, Outlook, outlook
from larder.learning.panel import Panel
from larder.learning.quantiles import QuantileFit, QuantileModel, fit_quantiles
from larder.learning.risk import Calibration, RiskModel, fit_risk
from larder.learning.stability import Reference, reference
from larder.learning.surroundings import Codes
from larder.learning.trees import FOLD_DAYS, FOLDS
from larder.learning.waste import held_outcomes, horizon_count

LEAST_DAYS: Final = 84
LEAST_CELLS: Final = 2_000
DAYS_A_WEEK: Final = 7


@dataclass(frozen=True)
class Learned:
    """Hold the model of demand and that of the risk, and what both must be told again.

    `horizon` days ahead they were trained for; `codes` are the names of places, items and their
    kinds in the order of the codes that the trees know them by. `reference` tells how the features
    were spread over the days learned from.
    """

    demand: QuantileModel
    risk: RiskModel
    horizon: int
    codes: Codes
    reference: Reference = field(default_factory=Reference)

    def to_parts(self) -> tuple[str, str]:
        """Write the risk and the demand as JSON texts, the same for the same models."""
        risk = {"risk": asdict(self.risk)}
        demand = {
            "demand": asdict(self.demand),
            "horizon": self.horizon,
            "codes": dict(self.codes),
            "reference": asdict(self.reference),
        }
        return json.dumps(risk, sort_keys=True), json.dumps(demand, sort_keys=True)

    @classmethod
    def from_parts(cls, risk: str, demand: str) -> Learned:
        """Read what `to_parts` wrote.

        Raises:
            ValueError: the texts are none of a model.
        """
        try:
            of_risk = _frozen(json.loads(risk)["risk"])
            parts = json.loads(demand)
            of_demand = _frozen(parts["demand"])
            return cls(
                # a model of before names were kept apart had the same for both
                QuantileModel(**{"scatter_names": of_demand["names"]} | of_demand),
                RiskModel(
                    **of_risk | {"calibration": Calibration(**_frozen(of_risk["calibration"]))}
                ),
                int(parts["horizon"]),
                _frozen(parts["codes"]),
                Reference(**_frozen(parts.get("reference", {}))),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the text is none of a model of this version of Larder") from error


def _frozen(parts: dict[str, Any]) -> dict[str, Any]:
    """Make tuples of the lists that JSON has made of them, lists in lists included."""

    def frozen(part: Any) -> Any:
        return tuple(frozen(one) for one in part) if isinstance(part, list) else part

    return {name: frozen(part) for name, part in parts.items()}


def artefact_hash(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def parameters() -> dict[str, Any]:
    """List what training was told, beside the data."""
    return {
        "mean": trees.PARAMETERS | trees.MEAN,
        "most_rounds": quantiles.MOST_ROUNDS,
        "scatter": trees.PARAMETERS | trees.SCATTER,
        "scatter_rounds": quantiles.SCATTER_ROUNDS,
        "levels": list(quantiles.QUANTILE_LEVELS),
        "risk": risk.PARAMETERS,
        "calibrators": list(risk.CALIBRATORS),
        "warm_up_days": WARM_UP_DAYS,
    }


def enough_history(panel: Panel) -> bool:
    """Say whether there is enough to learn from: 12 weeks, and 2,000 days of pairs with stock."""
    seen = panel.observed & (panel.available > 0)
    return panel.width >= LEAST_DAYS and int(seen[:, WARM_UP_DAYS:].sum()) >= LEAST_CELLS


def learn(
    panel: Panel,
    surroundings: Surroundings,
    shelf_life_days: Ints,
    horizon: int,
    codes: Codes,
    seed: int = 0,
) -> Learned:
    """Learn from all days of the panel: demand, and the risk by means that had not seen its days.

    Args:
        shelf_life_days: (S,). horizon: days ahead that both are for. codes: of the names in
        the surroundings. seed: of everything random.
    """
    last = panel.width - 1
    fit = fit_quantiles(
        training_features(panel, surroundings, WARM_UP_DAYS, last, horizon, seed),
        observed_demand(panel, WARM_UP_DAYS, last),
        seed=seed,
    )
    found = _learn_risk(fit, panel, surroundings, shelf_life_days, horizon, seed)
    spread = reference(panel, surroundings, WARM_UP_DAYS, seed)
    return Learned(fit.model, found, horizon, codes, spread)


def _learn_risk(
    fit: QuantileFit,
    panel: Panel,
    surroundings: Surroundings,
    shelf_life_days: Ints,
    horizon: int,
    seed: int,
) -> RiskModel:
    """Learn the risk from one week of every four, each forecast by a model that left it out.

    Weeks that are months apart differ as those to come will; of four weeks in a row only one thing
    can be learned: what they had in common.
    """
    ahead = min(horizon, horizon_count(shelf_life_days))
    blocks = range(WARM_UP_DAYS, panel.width - DAYS_A_WEEK - 1, FOLD_DAYS)
    rows = [np.zeros((0, len(NAMES)), dtype=np.float32)]
    probability, units, wasted = ([np.zeros(0)] for _ in range(3))
    day = [np.zeros(0, dtype=np.int64)]
    for number, first in enumerate(blocks):
        if number % FOLDS not in fit.unseen:
            continue
        # the second week: what was held then is gone before the block ends
        start = first + DAYS_A_WEEK
        held = outlook(
            fit.unseen[number % FOLDS],
            panel,
            surroundings,
            shelf_life_days,
            start,
            min(start + DAYS_A_WEEK - 1, panel.width - 2),
            ahead,
            most_rows=MOST_ROWS // len(blocks),
            seed=seed,
        )
        gone, known = outcomes(held, panel, shelf_life_days)
        rows.append(held.rows[known])
        probability.append(held.probability[known])
        units.append(held.units[known])
        wasted.append(gone[known])
        day.append(np.broadcast_to(held.column[:, None], known.shape)[known])
    return fit_risk(
        NAMES,
        np.concatenate(rows),
        np.concatenate(probability),
        np.concatenate(units),
        np.concatenate(wasted),
        np.concatenate(day),
        seed,
    )


def refit(learned: Learned, panel: Panel, surroundings: Surroundings, seed: int = 0) -> Learned:
    """Grow the trees of demand anew from all days of the panel, with the risk as it was.

    For a model that was tested on days it had not seen, and shall now learn from these, too.
    """
    last = panel.width - 1
    demand = learned.demand.refit(
        training_features(panel, surroundings, WARM_UP_DAYS, last, learned.horizon, seed),
        observed_demand(panel, WARM_UP_DAYS, last),
        seed=seed,
    )
    spread = reference(panel, surroundings, WARM_UP_DAYS, seed)
    return replace(learned, demand=demand, reference=spread)


def outcomes(held: Outlook, panel: Panel, shelf_life_days: Ints) -> tuple[Floats, Bools]:
    """Tell what became of what was held: units wasted, and whether that is known (N, H).

    A horizon beyond the shelf life says nothing and counts as not known.
    """
    shape = held.probability.shape
    wasted, known = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    for horizon, gone, seen in held_outcomes(panel, shape[1]):
        over = held.column < gone.shape[1]
        over &= shelf_life_days[held.pair] >= horizon
        pair, column = held.pair[over], held.column[over]
        wasted[over, horizon - 1] = gone[pair, column]
        known[over, horizon - 1] = seen[pair, column]
    return wasted, known
