"""What a learned score rests on, in words: the contributions of the model's own trees.

Contributions are Shapley values of the trees (TreeSHAP; Lundberg et al. 2020, Nature Machine
Intelligence 2), added up over features that a person would name alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from larder.learning.features import Matrix
from larder.learning.frames import Bools, Floats, Ints, Texts
from larder.learning.reasons import amount, by_when, first_three, percent, phrase, plural

SMALLEST_EFFECT: Final = 0.02
SOLD_OUT_DAYS: Final = 14
WASTED_DAYS: Final = 28
# Which features a person would name alike: by how their names begin, the first that fits.
GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "holiday": (
        "is_holiday",
        "before_holiday",
        "after_holiday",
        "days_from_holiday",
        "days_since_holiday",
        "days_to_holiday",
        "item_ratio_at",
        "ratio_at",
    ),
    "school": ("is_school_holiday",),
    "promotion": ("is_promoted",),
    "weather": ("rain", "temperature"),
    "lately": ("ratio_mean", "same_weekday", "log_level", "level_to", "trend_90", "weekdays_known"),
    "trend": ("trend", "popularity"),
    "stocked_out": ("stocked_out_share", "available_share"),
    "elsewhere": ("item_ratio", "place_ratio"),
    "calendar": ("weekday", "day_of_", "days_ahead", "ratio_52_weeks"),
    "place": ("location", "item", "region", "kind", "category", "population", "price"),
}
# The holiday itself, the day before it, the day after it.
NEAR_A_HOLIDAY: Final = {
    "tomorrow": ("holiday tomorrow", "holiday the day after tomorrow", "holiday the day before"),
    "on the day": ("holiday on the day", "holiday the day after", "holiday the day before"),
}


def grouped(names: Sequence[str], contributions: Floats) -> dict[str, Floats]:
    """Add contributions (N, F) of features up by what people call them (N,) each."""
    of = np.array([group_of(name) for name in names])
    return {group: contributions[:, of == group].sum(axis=1) for group in GROUPS}


def group_of(name: str) -> str:
    """Name the group of a feature; what nothing else fits is what the pair has done lately."""
    fitting = (group for group, begins in GROUPS.items() if name.startswith(tuple(begins)))
    return next(fitting, "lately")


def demand_phrases(
    names: Sequence[str],
    rows: Matrix,
    contributions: Floats,
    when: Literal["tomorrow", "on the day"],
    sold_out: Ints,
    looked: Ints,
) -> list[Texts]:
    """Name what moves the demand of N days away from usual, what moves it most first.

    Args:
        names: (F,) of the features. rows: (N, F). contributions: (N, F) to the logarithm of demand.
        when: what to call the day. sold_out: (N,) of the last `looked` (N,) days with records,
            those that sold out.

    Returns:
        As many arrays (N,) as there are groups; empty texts where nothing more moves it.
    """
    column = {name: rows[:, number] for number, name in enumerate(names)}
    unknown = np.full(len(rows), np.nan, dtype=np.float32)

    def value(name: str) -> Matrix:
        return column.get(name, unknown)

    def holiday(*distances: int) -> Bools:
        cells = [
            value(f"is_holiday_{days:+d}_days" if days else "is_holiday") for days in distances
        ]
        return np.asarray(np.any(np.stack(cells) > 0, axis=0))

    last = phrase("the last {} {}", amount(looked), plural(looked, "day", "days"))
    lately = value("ratio_mean_14_days")
    words = {
        "holiday": np.select(
            [holiday(0), holiday(1), holiday(-1), holiday(2, 3, -2, -3)],
            [*NEAR_A_HOLIDAY[when], "holiday within three days"],
            "no holiday near",
        ),
        "school": np.where(value("is_school_holiday") > 0, "school holidays", "school days"),
        "promotion": np.where(value("is_promoted") > 0, "on promotion", "not on promotion"),
        "weather": np.full(len(rows), "the weather of the last days"),
        "trend": np.full(len(rows), "interest in it and its popularity elsewhere"),
        "stocked_out": np.where(
            sold_out > 0,
            phrase("sold out on {} of {}", amount(sold_out), last),
            phrase("never sold out in {}", last),
        ),
        "elsewhere": np.full(len(rows), "sales of it elsewhere and of all else here"),
        "calendar": np.full(len(rows), "the weekday and the season"),
        "place": np.full(len(rows), "what this place and item are like"),
        "lately": np.select(
            [lately >= 1, lately < 1],
            [
                "sold more than usual in the last two weeks",
                "sold less than usual in the last two weeks",
            ],
            "what was sold here lately",
        ),
    }
    found = grouped(names, contributions)
    effect = np.stack([np.expm1(found[group]) for group in GROUPS])
    said = np.stack(
        [
            phrase(
                "{}: {} {} demand",
                words[group].astype(str),
                np.where(one < 0, percent(-one), phrase("{} %", amount(100 * one))),
                np.where(one < 0, "less", "more"),
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
    wasted: Ints,
    looked: Ints,
    leans: Floats,
    thin: Texts,
    moved: Sequence[Texts],
) -> Texts:
    """Explain N learned risks.

    Args:
        held: (N,) units held; expiring: (N,) of them, those that expire within `days` (N,), as
            `deciding_days` gave them; expected: (N,) demand up to then, that of tomorrow where
            nothing is held. wasted: (N,) of the last `looked` (N,) days with records, those that
            ended with waste, and `leans` (N,) what the classifier adds to the log-odds for it.
        thin, moved: as in `order_reasons`.
    """
    stock = np.where(
        held > 0,
        phrase(
            "{} of {} held {} {}",
            amount(expiring),
            amount(held),
            plural(expiring, "expires", "expire"),
            by_when(days),
        ),
        "nothing held",
    )
    past = phrase(
        "{} of the last {} {} ended with waste",
        amount(wasted),
        amount(looked),
        plural(looked, "day", "days"),
    )
    lean = np.where(np.abs(leans) >= SMALLEST_EFFECT, past, "")
    return first_three(
        [
            stock,
            phrase(
                "{} expected to be asked for {}",
                amount(expected, 1),
                np.where(held > 0, "by then", "tomorrow"),
            ),
            thin,
            lean,
            *moved,
            past,
        ]
    )
