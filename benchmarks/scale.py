"""Count what each order of magnitude of events would cost: the tables of docs/scale.md.

    python -m benchmarks.scale            # print them
    python -m benchmarks.scale --write    # ... and put them into docs/scale.md

Nothing is measured here. Measured figures come from benchmarks/scale_measured.json, which
`python -m benchmarks.scale_measured` writes; everything else is an assumption named below. Put your
own prices there and run it again.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder.settings import PROJECT_ROOT
from loaders.follow import RELIST_SECONDS

FIGURES = PROJECT_ROOT / "benchmarks" / "scale_measured.json"
PAGE = PROJECT_ROOT / "docs" / "scale.md"
EVENTS_A_DAY = tuple(10**power for power in range(4, 10))
DAYS_A_MONTH = 30
DAY_SECONDS = 86_400
HOST_STEPS = ("load", "upload", "audit")
LAYERS = ("staging", "anonymised", "intermediate", "facts", "dimensions", "reports")
# a day closes once, whatever the number of builds
SCORES = ("scores", "learned")
SETTING_UP = ("seed", "snapshot", "operation")
LISTINGS_A_DAY = DAY_SECONDS / RELIST_SECONDS
NAMES_A_LISTING = 1_000
LEAST_COPY_BYTES = 128 * 1024
GIGA, TERA = 1e9, 1e12


@dataclass(frozen=True)
class Assumption:
    """Name a figure that was not measured, and where it is from."""

    value: float
    unit: str
    why: str


ASSUMED = {
    "kept_days": Assumption(365, "days", "how long events are kept; nothing expires by itself"),
    "peak": Assumption(3, "times", "the busiest minute beside the mean one"),
    "collector_rate": Assumption(
        9_200,
        "events/s",
        "one event a request, the lower figure of [collector.md](collector.md#how-fast-it-is)",
    ),
    "file_seconds": Assumption(
        2, "s", "`LARDER_COLLECTOR_HOLD_SECONDS`: from a file's first event on"
    ),
    "host_cores": Assumption(2, "cores", "of the host that loads, and builds on DuckDB"),
    "host_memory": Assumption(16, "GB", "of that host, and of what Snowflake gives a Python model"),
    "warehouse_cores": Assumption(
        8, "cores", "**not proven**: an XS warehouse does the work of so many cores measured here"
    ),
    "statement_seconds": Assumption(0.5, "s", "**not proven**: least time of a statement there"),
    "suspend_seconds": Assumption(60, "s", "`auto_suspend` in deploy/snowflake/40_warehouses.sql"),
    "dbt_threads": Assumption(8, "threads", "target `prod` in profiles/profiles.yml"),
    "credit": Assumption(3.00, "USD", "a credit, Enterprise edition, AWS in the US, on demand"),
    "snowflake_storage": Assumption(23.00, "USD/TB/month", "the same, compressed bytes"),
    "kept_versions": Assumption(
        2,
        "times",
        "**not proven**: blocks that only the generations before still hold, beside the tables",
    ),
    "snowpipe": Assumption(0.0037, "credits/GB", "the same; Parquet by its size"),
    "s3_storage": Assumption(23.00, "USD/TB/month", "S3 Standard"),
    "s3_copy": Assumption(
        12.50, "USD/TB/month", "Standard-IA in the second region, 128 KB at least"
    ),
    "s3_transfer": Assumption(20.00, "USD/TB", "from region to region, once"),
    "s3_put": Assumption(5.00, "USD/million", "PUT and LIST"),
    "s3_put_copy": Assumption(10.00, "USD/million", "PUT into Standard-IA"),
    "s3_get": Assumption(0.40, "USD/million", "GET, and each of three SQS requests a file"),
    "collector_hour": Assumption(0.10, "USD/hour", "an instance with two cores"),
}
# What the documentation of each Python model says that it needs, in GB a million stock days read;
# of learning, `features_bytes` is measured.
SCORED_DAYS = 180
MONITORING_GB, SCORING_GB = 0.6, 0.2
# `python -m benchmarks.waste --only cost`, by the wall on two cores, which are counted as both busy
# (pairs, seconds). The networks above are too young for a training.
LEARNING = ((672, 48.3), (6_720, 194.7))
SCORING = ((672, 2.9), (6_720, 31.3))
BUSY_CORES = 2
# `python -m benchmarks.lake`: a lake of what Snowflake has published (events stored, seconds of the
# host's processors).
LAKE = ((48_820, 1.72), (396_824, 4.89))
RETRAIN_DAYS = 28


def assumed(name: str) -> float:
    """Return the value of an assumption."""
    return ASSUMED[name].value


@dataclass(frozen=True)
class Cost:
    """Seconds of processors: of a run, of each new event, of each event that is stored."""

    fixed: float
    event: float
    stored: float

    def of(self, events: float, stored: float) -> float:
        """Return the seconds of a run with so many new events, after so many stored ones."""
        return self.fixed + self.event * events + self.stored * stored


@dataclass(frozen=True)
class Measured:
    """Hold what was measured, ready to count with."""

    machine: str
    measured_on: str
    homes: list[dict[str, Any]]
    steps: dict[str, Cost]
    nodes: dict[str, Cost]
    node_count: int
    # bytes an event
    size: dict[str, float]
    events_a_place: float
    events_a_pair: float
    segment_seconds: float
    person_seconds: float
    features_bytes: float

    def pairs(self, events: float) -> float:
        """Return how many pairs (location, item) send so many events a day."""
        return events / self.events_a_pair

    def stock_days(self, events: float) -> float:
        """Return how many stock days the scores read, in millions."""
        return self.pairs(events) * SCORED_DAYS / 1e6


def read_figures(path: Path = FIGURES) -> Measured:
    """Read what `benchmarks.scale_measured` has written, and tell slopes from fixed costs.

    Of three networks the second has more places than the first, the third more history than the
    second: what a run costs is taken as fixed + event x new events + stored x stored events.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    homes = found["homes"]
    places, history = (homes[0], homes[1]), (homes[1], homes[2])
    nodes = {
        name: _fit([home["day_seconds"].get(name, 0.0) for home in homes], homes)
        for name in homes[1]["day_seconds"]
        if "/" in name
    }
    grouped: list[dict[str, float]] = [_grouped(home["day_seconds"]) for home in homes]
    steps = {name: _fit([one.get(name, 0.0) for one in grouped], homes) for name in grouped[1]}
    # all of the history is loaded at once: the rate of that says more than a day does
    steps["load"] = Cost(
        steps["load"].fixed, _slope(*(_of(home, "load_seconds") for home in places)), 0.0
    )
    steps["upload"] = Cost(0.0, _slope(*(_of(home, "upload_seconds") for home in places)), 0.0)
    last = homes[2]
    events_a_pair = last["history_events"] / last["days"] / last["pairs"]
    by_stored = _slope(*LAKE)
    steps["lake"] = Cost(LAKE[0][1] - by_stored * LAKE[0][0], 0.0, by_stored)
    steps["learned"] = Cost(0.0, _learned_seconds() / events_a_pair, 0.0)
    return Measured(
        machine=found["machine"],
        measured_on=found["measured_on"],
        homes=homes,
        steps=steps,
        nodes=nodes,
        node_count=last["nodes"],
        size={
            name: _slope(*(_of(home, f"{name}_bytes") for home in history))
            for name in ("landing", "gzip", "segment", "upload", "build", "published")
        },
        events_a_place=last["history_events"] / last["days"] / last["places"],
        events_a_pair=events_a_pair,
        segment_seconds=found["per_segment_seconds"],
        person_seconds=found["per_person_seconds"],
        features_bytes=found["features_bytes_per_stock_day"],
    )


def _grouped(seconds: dict[str, float]) -> dict[str, float]:
    """Add nodes up to their step: a layer, `scores`, `tests`, or what a run does besides dbt."""
    found: dict[str, float] = {}
    for name, value in seconds.items():
        layer = name.partition("/")[0]
        step = "set up" if layer in SETTING_UP else "tests" if layer == "test" else layer
        found[step] = found.get(step, 0.0) + value
    return found


def _fit(seconds: Sequence[float], homes: Sequence[dict[str, Any]]) -> Cost:
    new = [home["day_events"] for home in homes]
    stored = [home["history_events"] for home in homes]
    by_stored = max((seconds[2] - seconds[1]) / (stored[2] - stored[1]), 0.0)
    by_event = max(
        (seconds[1] - seconds[0] - by_stored * (stored[1] - stored[0])) / (new[1] - new[0]), 0.0
    )
    fixed = max(seconds[1] - by_event * new[1] - by_stored * stored[1], 0.0)
    return Cost(fixed, by_event, by_stored)


def _learned_seconds() -> float:
    """Return the seconds a day of a pair: scored each day, learned from every `RETRAIN_DAYS`."""
    return BUSY_CORES * (_slope(*SCORING) + _slope(*LEARNING) / RETRAIN_DAYS)


def _of(home: dict[str, Any], name: str) -> tuple[float, float]:
    return home["history_events"], home[name]


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table of Markdown, with all but its first column to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(value: float) -> str:
    """Write a number with the two digits that mean something."""
    if value == 0:
        return "0"
    if value < 0.01:
        return "< 0.01"
    rounded = float(f"{value:.1e}")
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if rounded >= size:
            return f"{rounded / size:g}{unit}"
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def power(events: int) -> str:
    """Write a power of ten."""
    return "10" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(round(math.log10(events))))


def assumptions() -> str:
    """List what was not measured."""
    rows = [[f"`{name}`", f"{one.value:,g} {one.unit}", one.why] for name, one in ASSUMED.items()]
    text = table(["assumption", "value", "what"], rows)
    return text.replace("| --- | ---: | ---: |", "| --- | ---: | --- |")


def networks(found: Measured) -> str:
    """Describe what was measured, and on what."""
    rows = []
    for home in found.homes:
        seconds = sum(value for name, value in home["day_seconds"].items() if "/" in name)
        rows.append(
            [
                f"{home['places']:,}",
                *(f"{home[name]:,}" for name in ("days", "pairs", "history_events", "day_events")),
                *(short(one) for one in (home["first_build_seconds"], seconds)),
                short(home["first_build_peak_bytes"] / 1e6),
            ]
        )
    head = ["places", "days", "pairs", "events stored", "events of one more day"]
    head += ["first build, s", "build of that day, s", "most memory, MB"]
    return (
        f"Measured on {found.measured_on}, {found.machine}.\n\n{table(head, rows)}\n\n"
        f"A pair, which is an item at a place, sends {short(found.events_a_pair)} events a day, a "
        f"place {short(found.events_a_place)}."
    )


def rows_of_steps(found: Measured) -> Iterator[tuple[str, str, Cost]]:
    """Name each step, where it works, and what it costs."""
    for name in HOST_STEPS:
        yield name, "loader's host", found.steps[name]
    for name in LAYERS:
        yield name, "warehouse", found.steps[name]
    yield "scores (simple rates)", "warehouse, Python", found.steps["scores"]
    yield "learned scores and learning", "warehouse, Python", found.steps["learned"]
    yield "tests of data", "warehouse", found.steps["tests"]
    yield "publish (a copy)", "DuckDB only", found.steps["publish"]
    yield "lake of Snowflake", "loader's host", found.steps["lake"]


def measured(found: Measured) -> str:
    """List what each step of a run was measured to cost."""
    return table(
        ["step", "where", "fixed, s", "a million new events, s", "a million stored events, s"],
        [
            [name, where, short(cost.fixed), short(cost.event * 1e6), short(cost.stored * 1e6)]
            for name, where, cost in rows_of_steps(found)
        ],
    )


def sizes(found: Measured) -> str:
    """List the bytes of an event wherever it lies."""
    names = {
        "landing": "as it lands, NDJSON",
        "gzip": "the same, gzip",
        "segment": "raw segment (Parquet, Snappy, with hash and tokens)",
        "upload": "on its way to Snowflake (Parquet, zstd)",
        "build": "`build.duckdb`, all layers",
        "published": "published marts",
    }
    return table(
        ["where an event lies", "bytes"],
        [[text, short(found.size[name])] for name, text in names.items()],
    )


def transforming(found: Measured) -> Cost:
    """Add up what the warehouse does in a build: models, scores and tests."""
    names = (*LAYERS, *SCORES, "tests", "set up")
    parts = [found.steps[name] for name in names]
    return Cost(
        *(sum(getattr(one, name) for one in parts) for name in ("fixed", "event", "stored"))
    )


def stored_events(events: float) -> float:
    """Return how many events are kept."""
    return events * assumed("kept_days")


def collectors(events: float) -> int:
    """Return how many collectors take the busiest minute."""
    return max(math.ceil(events / DAY_SECONDS * assumed("peak") / assumed("collector_rate")), 1)


def files(events: float, held: float | None = None) -> float:
    """Return the landing files of a day: each is open, so many seconds, from its first event on."""
    apart = collectors(events) * DAY_SECONDS / events
    held = assumed("file_seconds") if held is None else held
    return collectors(events) * DAY_SECONDS / (held + apart)


def one_host(found: Measured) -> str:
    """Count a day on one host with DuckDB."""
    rows = []
    for events in EVENTS_A_DAY:
        stored = stored_events(events)
        host = sum(found.steps[name].of(events, stored) for name in ("load", "audit"))
        build = transforming(found).of(events, stored)
        publish = found.steps["publish"].of(events, stored)
        hours = (host + build + publish) / assumed("host_cores") / 3600
        rows.append(
            [
                power(events),
                short(events / found.events_a_place),
                short(found.pairs(events)),
                *(short(seconds) for seconds in (host, build, publish)),
                short(hours),
                short(stored * found.size["segment"] / GIGA),
                short(stored * found.size["build"] / GIGA),
            ]
        )
    head = ["events a day", "places", "pairs", "load and audit, s", "build and test, s"]
    head += ["publish, s", "hours on the host", "raw a year, GB", "build a year, GB"]
    return table(head, rows)


def credits_a_day(found: Measured, events: float, runs: int) -> tuple[float, float]:
    """Return the credits of a day for loading and for building, with so many runs.

    All of a run but loading is counted as if each run had the events of a day, for most pairs sell
    something in every hour and are then computed anew from the day on: more than that it cannot be.
    """
    an_hour = assumed("warehouse_cores") * 3600
    stored = stored_events(events)
    built = transforming(found)
    once = sum(found.steps[name].of(events, stored) for name in SCORES)
    # the fixed part of a node is its statement, which costs time there, not work
    work = runs * (built.of(events, stored) - built.fixed - once) + once
    statements = found.node_count * assumed("statement_seconds") / assumed("dbt_threads")
    awake = runs * (statements + assumed("suspend_seconds")) / 3600
    copied = found.steps["upload"].of(events, 0) / an_hour
    # a resumed warehouse is paid for a minute at least
    return runs * 2 * assumed("suspend_seconds") / 3600 + copied, awake + work / an_hour


def s3(found: Measured, events: float, daily: float) -> tuple[float, float, float]:
    """Return S3 and SQS requests of a day with so many files, and what requests and storage cost.

    Both in USD a month, storage as of the last of the days that are kept.
    """
    kept = daily * assumed("kept_days")
    listed = LISTINGS_A_DAY * kept / NAMES_A_LISTING
    # each file: a PUT, a GET by the loader and one by the copy, a PUT into the copy, and 3 of SQS
    requests = daily * 7 + listed
    asked = (
        (daily + listed) * assumed("s3_put")
        + daily * assumed("s3_put_copy")
        + daily * 5 * assumed("s3_get")
    )
    terabytes = stored_events(events) * found.size["gzip"] / TERA
    copied = max(terabytes, kept * LEAST_COPY_BYTES / TERA)
    moved = events * DAYS_A_MONTH * found.size["gzip"] / TERA
    storage = (
        terabytes * assumed("s3_storage")
        + copied * assumed("s3_copy")
        + moved * assumed("s3_transfer")
    )
    return requests, asked * DAYS_A_MONTH / 1e6, storage


def small_files(found: Measured) -> str:
    """Count what ten million events a day cost in files of few or many events."""
    events = 10**7
    rows = []
    for size in (1, 100, 10_000, 1_000_000):
        daily = events / size
        _, asked, storage = s3(found, events, daily)
        looked = daily * DAYS_A_MONTH * found.segment_seconds
        rows.append([f"{size:,}", *(short(one) for one in (daily, asked, storage, looked))])
    head = ["events a file", "files a day", "requests, USD a month", "S3 storage, USD a month"]
    return table([*head, "each run looks at a month of segments, s"], rows)


def holds(found: Measured) -> str:
    """Count what a million events a day cost when the collector holds its files longer."""
    events = 10**6
    rows = []
    for held in (2, 10, 60, 300, 900):
        daily = files(events, held)
        _, asked, storage = s3(found, events, daily)
        rows.append([str(held), *(short(one) for one in (daily, asked, storage))])
    head = ["`LARDER_COLLECTOR_HOLD_SECONDS`", "files a day", "requests, USD a month"]
    return table([*head, "S3 storage, USD a month"], rows)


def snowflake(found: Measured) -> str:
    """Count the credits of a day and what a month of Snowflake costs."""
    rows = []
    for events in EVENTS_A_DAY:
        load, transform = credits_a_day(found, events, 1)
        hourly = sum(credits_a_day(found, events, 24))
        piped = events * found.size["upload"] / GIGA * assumed("snowpipe")
        stored = stored_events(events) * (found.size["upload"] + found.size["build"])
        storage = stored * assumed("kept_versions") / TERA * assumed("snowflake_storage")
        month = DAYS_A_MONTH * assumed("credit")
        usd = ((load + transform) * month, hourly * month, storage)
        rows.append([power(events), *map(short, (load, piped, transform, hourly, *usd))])
    head = ["events a day", "load, credits a day", "the same by Snowpipe", "build, credits a day"]
    head += ["hourly: both, credits a day", "daily, USD a month", "hourly, USD a month"]
    return table([*head, "storage, USD a month"], rows)


def amazon(found: Measured) -> str:
    """Count collectors, files, requests and bytes in S3."""
    rows = []
    for events in EVENTS_A_DAY:
        daily = files(events)
        instances = collectors(events)
        requests, asked, storage = s3(found, events, daily)
        rent = instances * 24 * DAYS_A_MONTH * assumed("collector_hour")
        counts = (events / daily, daily, requests, asked, storage, rent)
        rows.append([power(events), str(instances), *map(short, counts)])
    head = ["events a day", "collectors", "events a file", "files a day"]
    head += ["S3 and SQS requests a day", "requests, USD a month", "S3 storage, USD a month"]
    return table([*head, "collectors, USD a month"], rows)


def dearest(found: Measured) -> str:
    """List what takes most of a build at each order of magnitude."""
    names = {
        "learned scores": ("learned",),
        "simple scores": ("scores",),
        "tests of data": ("tests",),
        "anonymised": ("anonymised",),
        "intermediate": ("intermediate",),
        "facts": ("facts",),
        "the rest": ("staging", "dimensions", "reports", "set up"),
    }
    rows = []
    for events in EVENTS_A_DAY:
        stored = stored_events(events)
        seconds = [
            sum(found.steps[part].of(events, stored) for part in parts) for parts in names.values()
        ]
        total = sum(seconds)
        rows.append([power(events), *(f"{one / total:.0%}" for one in seconds)])
    return table(["events a day", *names], rows)


def models(found: Measured) -> str:
    """List the models of SQL and the tests of data that grow most."""
    events = 10**6
    grown = {
        name: cost.of(events, stored_events(events)) - cost.fixed
        for name, cost in found.nodes.items()
        if not name.startswith("scores/")
    }
    first = sorted(grown.items(), key=lambda one: -one[1])[:8]
    return table(
        ["node", "a million new events, s", "a million stored events, s", "together at 10⁶, s"],
        [
            [
                f"`{name.partition('/')[2]}`",
                short(found.nodes[name].event * 1e6),
                short(found.nodes[name].stored * 1e6),
                short(seconds),
            ]
            for name, seconds in first
        ],
    )


def limits(found: Measured) -> str:
    """List what breaks, and at how many events a day."""
    memory, cores = assumed("host_memory"), assumed("host_cores")
    pair = found.pairs(1)
    million_days = found.stock_days(1)
    year = assumed("kept_days")
    built = transforming(found)
    learned = found.steps["learned"]
    daily = built.event - learned.event + built.stored * year
    build = (3600 * cores - built.fixed) / daily
    copy = found.steps["publish"]
    publish = (3600 - copy.fixed) / (copy.event + copy.stored * year)
    lake = found.steps["lake"]
    host = sum(found.steps[name].event for name in HOST_STEPS)
    segments = 10 / found.segment_seconds
    found_at = [
        (
            "learning: features of all stock days are made before 250,000 are drawn",
            f"{short(found.features_bytes)} bytes a stock day fill {memory:g} GB",
            memory * GIGA / (found.features_bytes * million_days * 1e6),
        ),
        (
            "`ml_monitoring`: reads the features of all pairs at once",
            f"{MONITORING_GB} GB a million stock days fill {memory:g} GB",
            memory / (MONITORING_GB * million_days),
        ),
        (
            "the scores: one process holds all pairs",
            f"{SCORING_GB} GB a million stock days fill {memory:g} GB",
            memory / (SCORING_GB * million_days),
        ),
        (
            "learned scores: one process",
            f"{_slope(*SCORING) * 1e3:.1f} ms a pair by the wall take an hour",
            3600 / (_slope(*SCORING) * pair),
        ),
        (
            "a build with its tests on one host, without learned scores",
            f"an hour on {cores:g} cores, a year stored",
            build,
        ),
        (
            "publishing on DuckDB: all marts are copied each time",
            "an hour of one core, a year stored",
            publish,
        ),
        (
            "the lake of Snowflake: all marts pass the host each time",
            "an hour of one core, a year stored",
            (3600 - lake.fixed) / (lake.stored * year),
        ),
        (
            "one loader's host: load, audit, upload",
            f"{short(host * 1e6)} s a million events fill a day of {cores:g} cores",
            cores * DAY_SECONDS / host,
        ),
        (
            "the vault: one writer",
            f"{short(found.person_seconds * 1e6)} s a million new persons fill a day of one core; "
            "with every event a new person",
            DAY_SECONDS / found.person_seconds,
        ),
    ]
    lines = [[what, when, short(at)] for what, when, at in sorted(found_at, key=lambda one: one[2])]
    lines.append(
        [
            "each run looks at every segment: ledger and fingerprint",
            f"{short(found.segment_seconds * 1e6)} µs a segment take 10 s",
            f"any: {short(segments)} segments, "
            f"{short(segments * assumed('file_seconds') / DAY_SECONDS)} days of a busy collector",
        ]
    )
    return table(["what", "when", "events a day"], lines)


def tables(found: Measured) -> dict[str, str]:
    """Make every table of the page, by its name there."""
    return {
        "networks": networks(found),
        "measured": measured(found),
        "sizes": sizes(found),
        "assumptions": assumptions(),
        "one host": one_host(found),
        "snowflake": snowflake(found),
        "amazon": amazon(found),
        "dearest": dearest(found),
        "models": models(found),
        "small files": small_files(found),
        "holds": holds(found),
        "limits": limits(found),
    }


def filled(page: str, made: dict[str, str]) -> str:
    """Put each table between its marks.

    Raises:
        ValueError: the page has no marks for one.
    """
    for name, text in made.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        at = marks.search(page)
        if at is None:
            raise ValueError(f"the page has no place for the table {name}")
        page = f"{page[: at.end(1)]}{text}\n{page[at.start(2) :]}"
    return page


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into docs/scale.md")
    options = parser.parse_args()
    made = tables(read_figures())
    if options.write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    for name, text in made.items():
        print(f"{name}\n{text}\n")


if __name__ == "__main__":
    main()
