"""The registry of models: when to train, whether a new model may serve, which one does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from larder.learning import orders, training, waste
from larder.learning.challenge import demand_results, known_before, risk_results
from larder.learning.frames import Days, Floats, Ints, Texts, days, flags, numbers, texts
from larder.learning.metrics import Result
from larder.learning.orders import Costs
from larder.learning.panel import Panel
from larder.learning.surroundings import Known, name_codes, read_surroundings
from larder.learning.training import Learned, artefact_hash, enough_history, learn, refit
from larder.learning.waste import horizon_count

RISK_MODEL: Final = "waste_boosted"
ORDER_MODEL: Final = "order_boosted"
BASELINES: Final = {RISK_MODEL: waste.MODEL_NAME, ORDER_MODEL: orders.MODEL_NAME}
DECIDING: Final = {RISK_MODEL: "brier", ORDER_MODEL: "decision_cost"}
# what chance does to a score of four weeks
TOLERANCE: Final = 0.01


Results = Mapping[str, Sequence[Result]]


@dataclass(frozen=True)
class Champion:
    """Hold the model that serves, and its version."""

    version: str
    learned: Learned


@dataclass(frozen=True)
class Candidate:
    """Hold a newly trained model, what it was trained on and how good its like was.

    `results` are those of a model trained in the same way up to the tested block, by model name;
    `champion_results` those of the champion on the same block, empty without one.
    """

    learned: Learned
    data_until: np.datetime64
    data_snapshot: str
    results: Results
    champion_results: Results


def newest_training(models: pd.DataFrame | None) -> np.datetime64 | None:
    """Return the last day of data that a learned model was trained on, promoted or not."""
    if models is None:
        return None
    trained = days(models, "data_until")[texts(models, "model_name") == RISK_MODEL]
    return trained.max() if len(trained) else None


def is_due(models: pd.DataFrame | None, as_of: np.datetime64, retrain_days: int) -> bool:
    """Say whether so many days have passed since the last training, or there was none."""
    newest = newest_training(models)
    return newest is None or bool(as_of - newest >= np.timedelta64(retrain_days, "D"))


def champion(models: pd.DataFrame) -> Champion | None:
    """Read the learned model that was promoted last; None before there is any."""
    promoted = models[flags(models, "is_promoted") & (models["model_name"] == RISK_MODEL)]
    if promoted.empty:
        return None
    newest = promoted.sort_values(["data_until", "trained_at", "model_version"]).iloc[-1]
    version = str(newest["model_version"])
    of_orders = models[(models["model_name"] == ORDER_MODEL) & (models["model_version"] == version)]
    parts = {"risk": newest["artefact"], "demand": of_orders.iloc[-1]["artefact"]}
    return Champion(version, Learned.from_parts(parts["risk"], parts["demand"]))


def decide(candidate: Candidate) -> tuple[bool, str]:
    """Say whether the new model may serve, and why.

    It has to beat its simple baseline in what decides (Brier score of the risk, cost of the
    orders), and be no worse than the champion by more than 1 %.
    """
    reasons: list[str] = []
    promoted = True
    for name, metric in DECIDING.items():
        found = {
            result.baseline_name: result
            for result in candidate.results[name]
            if result.metric == metric
        }
        if BASELINES[name] not in found:
            return False, f"not promoted: the last weeks hold too little to compute its {metric}"
        own = found[BASELINES[name]]
        better = own.value < own.baseline_value
        promoted &= better
        reasons.append(
            f"{metric} {own.value:.4g} {'beats' if better else 'does not beat'} "
            f"{own.baseline_value:.4g} of {own.baseline_name}"
        )
        for result in candidate.champion_results.get(name, []):
            if result.metric == metric and result.baseline_name == BASELINES[name]:
                fine = own.value <= result.value * (1 + TOLERANCE)
                promoted &= fine
                reasons.append(
                    f"is {'no worse' if fine else 'worse'} than {result.value:.4g} of the champion"
                )
    return promoted, f"{'promoted' if promoted else 'not promoted'}: {'; '.join(reasons)}"


def rows(candidate: Candidate, trained_at: Days) -> dict[str, Any]:
    """Write the two rows, of risk and of orders, that register a trained model."""
    promoted, decision = decide(candidate)
    artefacts = dict(zip((RISK_MODEL, ORDER_MODEL), candidate.learned.to_parts(), strict=True))
    both = artefact_hash("".join(artefacts.values()))
    version = f"boosted-{np.datetime_as_string(candidate.data_until, 'D')}-{both[:8]}"
    told = json.dumps(training.parameters(), sort_keys=True)
    return {
        "model_name": list(artefacts),
        "model_version": [version] * 2,
        "trained_at": trained_at,
        "data_until": np.full(2, candidate.data_until),
        "parameters": [told] * 2,
        "artefact_hash": [artefact_hash(text) for text in artefacts.values()],
        "is_promoted": [promoted] * 2,
        "decision": [decision] * 2,
        "data_snapshot": [candidate.data_snapshot] * 2,
        "scores": [written(candidate.results[name]) for name in artefacts],
        "champion_scores": [
            written(candidate.champion_results.get(name, [])) for name in artefacts
        ],
        "artefact": list(artefacts.values()),
    }


def train(
    panel: Panel,
    known: Known,
    shelf_life_days: Ints,
    costs: Costs,
    serving: Champion | None,
    data_snapshot: str,
    seed: int = 0,
) -> Candidate | None:
    """Train a model on all days of the panel, and test its like on the last four weeks.

    Returns:
        None where there is too little history to learn from and to test.
    """
    horizon = horizon_count(shelf_life_days)
    before = known_before(panel, shelf_life_days)
    if before < 0 or not enough_history(panel.until(before)):
        return None

    def results(learned: Learned) -> Results:
        around = read_surroundings(panel, known, horizon, learned.codes)
        return {
            RISK_MODEL: risk_results(learned, panel, around, shelf_life_days),
            ORDER_MODEL: demand_results(learned, panel, around, costs),
        }

    codes = name_codes(known)
    around = read_surroundings(panel, known, horizon, codes)
    like = learn(panel.until(before), around, shelf_life_days, horizon, codes, seed)
    return Candidate(
        learned=refit(like, panel, around, seed),
        data_until=panel.as_of.max(),
        data_snapshot=data_snapshot,
        results=results(like),
        champion_results=results(serving.learned) if serving else {},
    )


def written(results: Sequence[Result]) -> str:
    """Write results as JSON: each metric beside that of each baseline."""
    # JSON has no word for a number that is not known: it is left out
    parts = [
        {name: value for name, value in asdict(result).items() if value == value}
        for result in results
    ]
    return json.dumps(parts, sort_keys=True, allow_nan=False)


def read(text: str) -> list[Result]:
    """Read what `written` wrote."""
    return [Result(**part) for part in json.loads(text)]


def snapshot(*frames: pd.DataFrame) -> str:
    """Return a SHA-256 over the rows of frames, whatever their order and the engine's types."""
    found = hashlib.sha256()
    for frame in frames:
        plain = pd.DataFrame({str(name): _plain(frame, str(name)) for name in frame})
        found.update(np.sort(pd.util.hash_pandas_object(plain, index=False).to_numpy()).tobytes())
    return found.hexdigest()


def _plain(frame: pd.DataFrame, name: str) -> Floats | Texts:
    """Read a column as numbers, or as texts where one of its values is none."""
    values = numbers(frame, name)
    return values if (np.isfinite(values) == frame[name].notna()).all() else texts(frame, name)
