"""What a learned score rests on, in words: the contributions of the model's own trees.

Contributions are Shapley values of the trees (TreeSHAP; Lundberg et al. 2020, Nature Machine
Intelligence 2), added up over features that a person would name alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from larder.learning.features import Matrix
from larder.learning.frames import Floats, Ints, Texts
from larder.learning.reasons import amount, by_when, first_three, phrase, plural

SMALLEST_EFFECT: Final = 0.02
GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "holiday": (
        "is_holiday",
        "before_holiday",
        "after_holiday",
        "days_",
        "item_ratio_at",
        "ratio_at",
    ),
    "school": ("is_school_holiday",),
    "promotion": ("is_promoted",),
    "weather": ("rain", "temperature"),
    "trend": ("trend", "popularity"),
    "stocked_out": ("stocked_out_share", "available_share"),
    "elsewhere": ("item_ratio", "place_ratio"),
    "calendar": ("weekday", "day_of_"),
    "place": ("location", "item", "region", "kind", "category", "population", "price"),
    "lately": ("",),
}


def grouped(names: Sequence[str], contributions: Floats) -> dict[str, Floats]:
    """Add contributions (N, F) of features up by what people call them (N,) each."""
    of = np.array([_group(name) for name in names])
    return {group: contributions[:, of == group].sum(axis=1) for group in GROUPS}


def _group(name: str) -> str:
    if name == "trend_90_days":
        return "lately"
    if name == "days_ahead":
        return "calendar"
    exact = {"location", "item", "region", "kind", "category", "population", "price"}
    for group, beginnings in GROUPS.items():
        if group == "place":
            if name in exact:
                return group
        elif name.startswith(tuple(beginnings)):
            return group
    return "lately"


def demand_phrases(
    names: Sequence[str], rows: Matrix, contributions: Floats, when: str
) -> list[Texts]:
    """Name what moves the demand of N days away from usual, what moves it most first.

    Args:
        names: (F,) of the features. rows: (N, F). contributions: (N, F) to the logarithm of demand.
        when: what to call the day.

    Returns:
        As many arrays (N,) as there are groups; empty texts where nothing more moves it.
    """
    column = {name: rows[:, number] for number, name in enumerate(names)}
    unknown = np.full(len(rows), np.nan, dtype=np.float32)

    def value(name: str) -> Matrix:
        return column.get(name, unknown)

    share = np.nan_to_num(value("stocked_out_share"))
    sold_out = np.rint(14 * share)
    holiday = np.where(
        value("is_holiday") > 0,
        f"holiday {when}",
        np.where(
            value("is_holiday_+1_days") > 0,
            f"eve of a holiday {when}",
            np.where(value("is_holiday_-1_days") > 0, f"holiday before {when}", "no holiday near"),
        ),
    )
    words = {
        "holiday": holiday,
        "school": np.where(value("is_school_holiday") > 0, "school holidays", "school days"),
        "promotion": np.where(value("is_promoted") > 0, "on promotion", "not on promotion"),
        "weather": np.full(len(rows), "the weather of the last days"),
        "trend": np.full(len(rows), "interest in it and its popularity elsewhere"),
        "stocked_out": np.where(
            sold_out > 0,
            phrase(
                "sold out on {} of the last 14 days",
                amount(np.maximum(sold_out, 1)),
            ),
            "never sold out lately",
        ),
        "elsewhere": np.full(len(rows), "sales of it elsewhere and of all else here"),
        "calendar": np.full(len(rows), "the weekday and the season"),
        "place": np.full(len(rows), "what this place and item are like"),
        "lately": np.where(
            value("ratio_mean_14_days") >= 1,
            "sold more than usual in the last two weeks",
            "sold less than usual in the last two weeks",
        ),
    }
    found = grouped(names, contributions)
    effect = np.stack([np.expm1(found[group]) for group in GROUPS])
    said = np.stack(
        [
            phrase(
                "{}: {} % {} demand",
                words[group].astype(str),
                amount(100 * np.abs(one)),
                np.where(one >= 0, "more", "less"),
            )
            for group, one in zip(GROUPS, effect, strict=True)
        ]
    )
    said = np.where(np.abs(effect) >= SMALLEST_EFFECT, said, "")
    order = np.argsort(-np.abs(effect), axis=0, kind="stable")
    return list(np.take_along_axis(said, order, axis=0))


def order_reasons(
    usual: Floats,
    weekday: Texts,
    thin: Texts,
    moved: Sequence[Texts],
    low: Floats,
    high: Floats,
    stock: Floats,
) -> Texts:
    """Explain R learned orders.

    Args:
        usual: (R,) units a day that are usual on the `weekday` (R,) of the delivery. thin: (R,)
            what to say of a short history. moved: as `demand_phrases` gave them.
        low, high: (R,) 10 % and 90 % quantile of the days covered. stock: (R,) units still good.
    """
    return first_three(
        [
            phrase("usual on {}: {} a day", weekday, amount(usual, 1)),
            thin,
            *moved,
            phrase("from {} to {} expected until the next delivery", amount(low), amount(high)),
            phrase("{} {} still good at delivery", amount(stock), plural(stock, "unit", "units")),
        ]
    )


def deciding_days(expiring: Floats, expected: Floats) -> Ints:
    """Find the day up to each horizon that most stock is too much for (S, H), 1 for tomorrow.

    The one by which most units more expire than are asked for, or least fewer, the earliest of
    several; the horizon itself where nothing expires up to it.

    Args:
        expiring: (S, H) units held that expire within 1 … H days. expected: (S, H) demand up to
            then.
    """
    short = np.where(expiring > 0, expiring - expected, -np.inf)
    worst = np.maximum.accumulate(short, axis=1)
    before = np.concatenate([np.full((len(short), 1), -np.inf), worst[:, :-1]], axis=1)
    day = np.arange(1, short.shape[1] + 1)
    found = np.maximum.accumulate(np.where(short > before, day, 0), axis=1)
    return np.asarray(np.where(found > 0, found, day))


def risk_reasons(
    held: Floats,
    expiring: Floats,
    days: Ints,
    expected: Floats,
    wasted_share: Floats,
    leans: Floats,
    thin: Texts,
    moved: Sequence[Texts],
) -> Texts:
    """Explain N learned risks.

    Args:
        held: (N,) units held; expiring: (N,) of them, those that expire within `days` (N,), as
            `deciding_days` gave them; expected: (N,) demand up to then. wasted_share: (N,) of the
            last 28 days, those that ended with waste, and `leans` (N,) what the classifier adds to
            the log-odds for it.
        thin, moved: as in `order_reasons`.
    """
    stock = np.where(
        held > 0,
        phrase(
            "{} of {} held {} {}",
            amount(expiring),
            amount(held),
            np.where(expiring == 1, "expires", "expire"),
            by_when(days),
        ),
        "nothing held",
    )
    wasted = np.rint(28 * np.nan_to_num(wasted_share))
    past = phrase("{} of the last 28 days ended with waste", amount(wasted))
    lean = np.where(np.abs(leans) >= SMALLEST_EFFECT, past, "")
    return first_three(
        [
            stock,
            phrase("{} expected to be asked for by then", amount(expected, 1)),
            thin,
            lean,
            *moved,
            past,
        ]
    )
