"""What can be chosen about the sample network, and what is said of a choice that cannot be."""

from __future__ import annotations

from dataclasses import dataclass

from larder.errors import LarderError
from loaders.sample.bakery import HISTORY_DAYS


class SampleError(LarderError):
    """The sample network cannot be written as asked."""


class SampleOptionError(SampleError):
    """An option is out of range."""

    exit_code = 2


@dataclass(frozen=True)
class SampleOptions:
    """Say which sample network to write; the same options give the same bytes.

    Trips and menu clicks are as many as stock events, so only the newest `recent_days` have them.
    """

    days: int = 200
    locations: int = 35
    items_per_product: int = 8
    seed: int = 7
    scale: float = 1.0
    recent_days: int = 28

    def check(self) -> None:
        """Raise `SampleError` for an option out of range, naming it and its range."""
        ranges: tuple[tuple[str, float, float, float], ...] = (
            ("days", self.days, 1, HISTORY_DAYS),
            ("locations", self.locations, 1, 20_000),
            ("items-per-product", self.items_per_product, 1, 40),
            ("seed", self.seed, 0, 2**63 - 1),
            ("scale", self.scale, 0.01, 1_000),
            ("recent-days", self.recent_days, 0, HISTORY_DAYS),
        )
        for name, value, least, most in ranges:
            if not least <= value <= most:
                raise SampleOptionError(
                    f"The sample network cannot be made with {name} = {value}: it must lie between "
                    f"{least:g} and {most:g}. Choose another --{name} and run again."
                )
