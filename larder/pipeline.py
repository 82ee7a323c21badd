"""The main job: load, audit, compact or upload, build, test, publish; each says what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from larder.build import BuildResult, build, has_docs, write_docs
from larder.build_state import fingerprint, published_from, require_tested_build, say_published
from larder.errors import BuildError, WarehouseError
from larder.live import remember_contained
from larder.progress import Progress
from larder.serving.generations import generations
from larder.serving.lake import bring_up_to_date
from larder.serving.marts import open_marts
from larder.serving.publish import Publication
from larder.serving.status import BusState, LandingState
from larder.settings import Settings
from loaders.audit import AuditSummary, audit, list_held
from loaders.bus import BusSummary, Publisher, read_backlog
from loaders.compaction import CompactionSummary, compact
from loaders.ledger import Ledger
from loaders.load import LoadSummary, load
from loaders.upload import UploadSummary, upload
from loaders.zones import open_zone

StartStep = Callable[[str], Progress]


@dataclass
class RunReport:
    """Say what a run did; a null step was skipped, or not reached, and `skipped` says why."""

    load: LoadSummary | None = None
    audit: AuditSummary | None = None
    compaction: CompactionSummary | None = None
    upload: UploadSummary | None = None
    build: BuildResult | None = None
    publication: Publication | None = None
    bus: BusSummary | None = None
    skipped: list[str] = field(default_factory=list)


def run(
    settings: Settings, now: Callable[[], datetime], start_step: StartStep, report: RunReport
) -> None:
    """Run the main job once and fill in the report step by step; the caller holds the lock.

    `start_step` is called with the name of each step and returns what to report its progress to.

    Raises:
        LarderError: what stopped the job; readers keep the last published generation, and the
            report says how far it came.
    """
    publisher = Publisher(settings, now)
    try:
        report.load = load(settings, now, start_step("load"))
        publisher.publish()
        _run(settings, now, start_step, report)
    finally:
        report.bus = publisher.close()


def _run(
    settings: Settings, now: Callable[[], datetime], start_step: StartStep, report: RunReport
) -> None:
    """Do what follows the load."""
    assert report.load is not None
    report.audit = audit(settings, now, start_step("audit"))
    if not report.load.files:
        report.skipped.append(
            "load: nothing new in the landing zone "
            f"({report.load.skipped} files are loaded already)"
        )
    generation = generations(settings).published_generation(settings)
    if (
        generation is not None
        and published_from(settings) == {generation: fingerprint(settings)}
        and not settings.refresh_file.exists()
    ):
        newest = generations(settings).list_generations(settings)[0]
        report.skipped.append(
            f"build, test and publish: generation {generation} holds everything that is accepted"
            if generation == newest
            else f"build, test and publish: readers were taken back from {newest} to {generation}, "
            "and nothing has changed since"
        )
        fill_lake(settings)  # which the last run may not have reached
    else:
        if settings.target != "prod":
            # before the build, which then reads fewer files; never on its own: it is nothing new
            start_step("compaction")
            report.compaction = compact(settings, now)
        report.upload = upload_raw(settings, now, start_step)
        held = [segment.segment for segment in report.audit.held]
        step = start_step("build and test")
        report.build = build(settings, held, only_audited=True, progress=step)
        start_step("publish")
        report.publication = publish_build(settings, now)
    if not has_docs(settings):
        start_step("documentation")
        try:
            write_docs(settings)
        except BuildError as error:  # readers have their tables all the same
            report.skipped.append(f"documentation: {error}")


def upload_raw(
    settings: Settings, now: Callable[[], datetime], start_step: StartStep
) -> UploadSummary | None:
    """Bring the raw tables of Snowflake up to date; null on DuckDB, which reads the segments.

    Raises:
        WarehouseError: Snowflake refuses or is lost; the next upload goes on from there.
    """
    return upload(settings, now, start_step("upload")) if settings.target == "prod" else None


def train(
    settings: Settings, now: Callable[[], datetime], start_step: StartStep
) -> list[tuple[str, str]]:
    """Build with a training, publish, and say what was trained, and why it serves or not.

    The caller holds the lock.

    Returns:
        Version and decision of each new model; none where there is too little history.

    Raises:
        LarderError: what stopped it; readers keep the last published generation.
    """
    is_published = generations(settings).published_generation(settings) is not None
    before = set(_decisions(settings)) if is_published else set()
    upload_raw(settings, now, start_step)
    held = [segment.segment for segment in list_held(settings)]
    step = start_step("build and train")
    build(settings, held, only_audited=True, train=True, progress=step)
    start_step("publish")
    publish_build(settings, now)
    return [one for one in _decisions(settings) if one not in before]


def _decisions(settings: Settings) -> list[tuple[str, str]]:
    with open_marts(settings) as connection:
        return connection.execute(
            "select distinct model_version, decision from marts.ml_models order by model_version"
        ).fetchall()


def publish_build(settings: Settings, now: Callable[[], datetime]) -> Publication:
    """Publish the build, if it has passed its tests as it is; the caller holds the lock.

    Raises:
        BuildError: it failed, was killed, or somebody has written into it since.
        WarehouseError: the lake could not be written; what was published stays so.
    """
    made_from = require_tested_build(settings)
    publication = generations(settings).publish(settings, now())
    say_published(settings, publication.generation, made_from)
    remember_contained(
        settings, publication.generation, generations(settings).list_generations(settings)
    )
    fill_lake(settings)
    return publication


def fill_lake(settings: Settings) -> None:
    """Let the lake, where there is one, hold what readers of the warehouse have.

    Raises:
        WarehouseError: it could not be written; its readers keep what they had.
    """
    try:
        bring_up_to_date(settings)
    except WarehouseError as error:
        generation = generations(settings).published_generation(settings)
        raise WarehouseError(
            f"{error} Readers of the warehouse have generation {generation}, those "
            "of the lake keep theirs until a `larder run` or `larder publish` succeeds."
        ) from error


def roll_back(settings: Settings) -> Publication:
    """Point readers to the generation before; the next run leaves them there until data changes.

    Raises:
        WarehouseError: there is no earlier generation, or it is damaged.
    """
    made_from = published_from(settings)
    publication = generations(settings).rollback(settings)
    if publication.replaced in made_from:
        say_published(settings, publication.generation, made_from[publication.replaced])
    fill_lake(settings)
    return publication


def landing_state(settings: Settings) -> LandingState:
    """Say what lies in the landing zone and what of it is not loaded yet.

    Raises:
        LandingError: the landing zone in S3 cannot be listed.
    """
    is_bucket = settings.landing_bucket is not None
    if not is_bucket and not settings.landing_folder.is_dir():
        return LandingState(newest_file=None, newest_at=None, files_not_loaded=0)
    ledger = Ledger(settings.raw_folder).read()
    with open_zone(settings) as zone:
        files = list(zone.find())
    newest = max(files, key=lambda file: file.modified_ns, default=None)
    return LandingState(
        newest_file=newest.relative if newest else None,
        newest_at=datetime.fromtimestamp(newest.modified_ns / 1e9, UTC) if newest else None,
        files_not_loaded=sum(not ledger.knows(file) for file in files),
        bucket_bytes=sum(file.size for file in files) if is_bucket else None,
    )


def bus_state(settings: Settings) -> BusState:
    """Say how the event bus stands.

    Raises:
        BusError: its outbox cannot be read.
    """
    return BusState(**asdict(read_backlog(settings)))
