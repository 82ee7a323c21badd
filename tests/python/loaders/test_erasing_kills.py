from __future__ import annotations

import pytest
from erased_people import EMAIL, GONE, NAME, contents, die_at, everything
from landing_zone import Home, now

from loaders.erasing import erase

COMMITS = tuple(
    f"loaders.{module}.commit" for module in ("erasing.segments", "zones", "erasing.databases")
)
DATABASE = ("loaders.erasing.steps.erase_from_database",)
TRUTH = ("loaders.erasing.truth_files.commit",)
PROOF = ("loaders.erasing.steps.prove",)


@pytest.mark.parametrize(
    ("places", "moment"),
    # the customers' four segments, their four landing files, those segments again, and so on
    [
        *((COMMITS, moment) for moment in (2, 4, 6, 9, 11, 14)),
        (DATABASE, 2),
        (TRUTH, 1),
        (PROOF, 1),
    ],
)
def test_an_erasure_that_was_killed_can_be_run_again(
    home: Home,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    places: tuple[str, ...],
    moment: int,
) -> None:
    before = contents(home)
    with monkeypatch.context() as patch:
        die_at(patch, places, moment)
        with pytest.raises(KeyboardInterrupt):
            erase(home.settings, GONE, now)
    assert home.load().files == 0
    report = erase(home.settings, GONE, now)
    assert (report.traces, report.unsearchable) == ([], [])
    left = everything(home)
    for trace in (GONE, EMAIL, NAME, "patient-0017", token, *(before - contents(home))):
        assert trace.encode() not in left
    assert home.load().files == 0
    assert home.rejections() == [(3, "invalid_value")]
