from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from larder import charts
from larder.cli.answers import frame_of
from larder.errors import WarehouseError
from larder.serving.drawing import (
    BAR_WIDTH,
    SHOWN_BARS,
    Bars,
    Chart,
    as_bars,
    bars_of,
    chart_of,
    cut_to,
)
from larder.serving.reading import (
    QueryResult,
    list_analyses,
    run_query,
    saved_analysis,
)
from larder.settings import Settings


def printed(bars: Bars) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(as_bars(bars))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("line", "chart"),
    [
        ("-- chart: units by day", Chart(("units",), ("day",))),
        ("-- chart: a, b by day, place", Chart(("a", "b"), ("day", "place"))),
        ("select 1", None),
        ("", None),
    ],
)
def test_the_second_line_says_what_is_drawn(tmp_path: Path, line: str, chart: Chart | None) -> None:
    analysis = tmp_path / "how.sql"
    analysis.write_text(f"-- How?\n{line}\nselect 1\n", encoding="utf-8")
    assert chart_of(analysis) == chart


def test_a_line_that_declares_badly_is_refused(tmp_path: Path) -> None:
    analysis = tmp_path / "how.sql"
    analysis.write_text("-- How?\n-- chart: units\nselect 1\n", encoding="utf-8")
    with pytest.raises(WarehouseError, match="Write: -- chart: <measure>"):
        chart_of(analysis)
    with pytest.raises(WarehouseError, match=r"needs the column day, .*It gives: units"):
        bars_of(Chart(("units",), ("day",)), QueryResult(("units",), []))


def test_bars_are_as_long_as_their_values() -> None:
    result = QueryResult(("day", "units"), [("mon", 4), ("tue", 2), (None, None), ("wed", -1)])
    lines = printed(bars_of(Chart(("units",), ("day",)), result)).splitlines()
    assert [line.count("█") for line in lines] == [0, BAR_WIDTH, BAR_WIDTH // 2, 0, 0]
    assert [line.split()[0] for line in lines[1:]] == ["mon", "tue", "none", "wed"]
    assert [line.split()[-1] for line in lines[1:]] == ["4", "2", "none", "-1"]


def test_what_is_cut_is_told() -> None:
    rows = [(str(number), (1.0, 2.0)) for number in range(SHOWN_BARS)]
    said = printed(Bars(("a", "b"), rows))
    assert f"the first {SHOWN_BARS // 2} of {SHOWN_BARS} rows" in said
    assert len(said.splitlines()) == 1 + SHOWN_BARS
    assert len(cut_to(Bars(("a", "b"), rows), 10).rows) == 5


def test_a_picture_has_every_name_and_measure_even_where_names_repeat() -> None:
    bars = Bars(("seen", "told"), [("a 'quoted'", (1.0, None)), ("a 'quoted'", (2.0, 3.0))])
    picture = charts.bars(frame_of(bars), bars.measures, "What was seen, and what was told?")
    assert picture.startswith("<svg")
    assert ">What was seen, and what was told?<" in picture
    assert picture.count(">a 'quoted'<") == 2
    assert picture.count('aria-roledescription="bar"') == 3  # nothing for nobody knows
    assert ">seen<" in picture
    assert ">told<" in picture


def test_a_longer_name_has_more_room_than_it_was_laid_out_with() -> None:
    """A browser without the font that it was measured with must not cut it off."""

    def room(name: str) -> float:
        bars = Bars(("seen",), [(name, (1.0,))])
        picture = charts.bars(frame_of(bars), bars.measures)
        return float(picture.partition('transform="translate(')[2].partition(",")[0])

    assert room("w" * 30) - room("w") > 29 * charts.SPARE_PIXELS + 29 * 6


@pytest.mark.parametrize("name", sorted(list_analyses()))
def test_every_shipped_analysis_draws_columns_that_it_has(built_home: Settings, name: str) -> None:
    chart = chart_of(list_analyses()[name])
    assert chart is not None
    bars = bars_of(chart, run_query(built_home, saved_analysis(built_home, name)))
    if bars.rows:
        assert any(value for _, values in bars.rows for value in values)
