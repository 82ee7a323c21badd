"""Judge every segment that has no verdict yet, and those that are held, entity by entity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import duckdb

from larder.lock import hold
from larder.progress import Progress
from larder.settings import Settings
from larder.warehouse import open_memory
from loaders.audit.expectations import Examiner, sample_note
from loaders.audit.measures import (
    Batch,
    create_known,
    frame,
    measure,
    measured,
    read_history,
    share_by_segment,
)
from loaders.audit.pages import pages_index
from loaders.audit.rules import REFERENCES, THRESHOLDS_SEED, Rule, read_rules
from loaders.audit.verdicts import (
    ACCEPTED,
    HeldSegment,
    Verdict,
    Verdicts,
    audit_lock,
    entity_of,
    segment_names,
)
from loaders.entities import DESCRIPTION, read_entities


@dataclass(frozen=True)
class AuditSummary:
    """Say what an audit did.

    `records` and `accepted` (segments) are of this audit, `held` is all that is kept out now;
    `failures` and `warnings` are sentences for a data owner, the warnings those of the last audit
    that looked at anything; `skipped` says why nothing was done;
    `pages` is the first page of the Data Docs, null before the first audit.
    """

    records: dict[str, int] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    held: tuple[HeldSegment, ...] = ()
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: str | None = None
    pages: Path | None = None

    @property
    def is_held(self) -> bool:
        """Whether anything is kept out of the build."""
        return bool(self.held)


@dataclass
class _Findings:
    """Collect what one audit finds."""

    records: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)
    volumes: list[tuple[str, object, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def audit(
    settings: Settings,
    now: Callable[[], datetime],
    progress: Progress | None = None,
    thresholds: Path = THRESHOLDS_SEED,
) -> AuditSummary:
    """Audit what arrived since the last audit, and what is held; write one file of verdicts.

    A batch is all new segments of an entity. A broken critical rule holds the segments that break
    it, or all of the batch where that cannot be told; a broken warning is only said. What is held
    is looked at again, together with what it was held with, whenever raw, the catalogue or the
    thresholds have changed. Killed on the way, an audit leaves no verdict and starts again.
    `progress` is called with the entity, batches done and batches to do.

    Raises:
        AuditError: the thresholds cannot be used.
        WarehouseBusyError: another audit did not end in time.
    """
    names = segment_names(settings)
    if not names:
        return AuditSummary(skipped="nothing has been loaded yet")
    settings.audit_folder.mkdir(parents=True, exist_ok=True)
    with hold(audit_lock(settings), "larder audit", settings.lock_wait_seconds, now=now):
        return _Audit(settings, now(), progress, thresholds).run()


class _Audit:
    def __init__(
        self, settings: Settings, now: datetime, progress: Progress | None, thresholds: Path
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._thresholds = thresholds
        self._verdicts = Verdicts(settings)
        self._names = segment_names(settings)
        self._decided_at = self._verdicts.instant(now)
        self._as_of = (settings.as_of or now).astimezone(UTC).replace(tzinfo=None)
        self._findings = _Findings()
        self._examiner: Examiner | None = None
        self._known: set[str] = set()

    def run(self) -> AuditSummary:
        latest = self._verdicts.latest
        new = [name for name in self._names if name not in latest]
        held = self._verdicts.held()
        pages = pages_index(self._settings)
        skipped = AuditSummary(
            held=tuple(held),
            warnings=self._verdicts.warnings,
            pages=pages if pages.exists() else None,
        )
        if not new and not held:
            return replace(skipped, skipped="nothing new since the last audit")
        if not new and self._verdicts.fingerprint == self._fingerprint():
            return replace(
                skipped, skipped="nothing new since the last audit, and nothing mends what is held"
            )
        groups = self._groups(new, held)
        rules = read_rules(self._thresholds, read_entities())
        with open_memory(self._settings) as connection:
            for done, (path, batch_id, segments) in enumerate(groups, start=1):
                self._judge(connection, path, batch_id, segments, rules.get(path, []))
                self._findings.judged += segments
                if self._progress:
                    self._progress(path, done, len(groups))
        if self._examiner:
            self._examiner.write_pages()
        accepted = self._decide(held)
        findings = self._findings
        return AuditSummary(
            records=findings.records,
            accepted=tuple(accepted),
            held=tuple(self._verdicts.held()),
            failures=tuple(findings.failures),
            warnings=tuple(findings.warnings),
            pages=pages if pages.exists() else None,
        )

    def _groups(
        self, new: Iterable[str], held: Iterable[HeldSegment]
    ) -> list[tuple[str, str | None, list[str]]]:
        """Group by entity, the catalogue first; what was held together stays together.

        Held segments are not mixed with new ones: many good records would hide a few bad ones.
        """
        groups: dict[tuple[str, str | None], list[str]] = {}
        for name in new:
            groups.setdefault((entity_of(name), None), []).append(name)
        for segment in held:
            groups.setdefault((segment.entity, segment.batch), []).append(segment.segment)
        catalogue = list(REFERENCES.values())
        return [
            (path, batch_id, sorted(segments))
            for (path, batch_id), segments in sorted(
                groups.items(),
                key=lambda item: (item[0][0] not in catalogue, item[0][0], item[0][1] or ""),
            )
        ]

    def _judge(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: str,
        batch_id: str | None,
        segments: list[str],
        rules: Sequence[Rule],
    ) -> None:
        entity = read_entities().get(path)
        if entity is None:  # files of no entity: dead letters only, there is nothing to keep out
            return
        findings = self._findings
        batch = Batch(entity, segments, self._files(segments))
        self._know(connection, rules)
        measure(connection, batch, rules)
        findings.records[path] = findings.records.get(path, 0) + batch.records
        if batch_id is None:
            findings.volumes += [
                (segment, day, records)
                for segment, days in batch.days.items()
                for day, records in days.items()
            ]
        if not batch.usable:
            if batch.records:
                findings.warnings.append(
                    f"{path}: none of the {batch.records:,} records could be used; "
                    "`larder dead-letters` says why."
                )
            return
        # What was held stays judged by every rule, however few records are left of its batch.
        asked = {
            number: rule
            for number, rule in enumerate(rules)
            if batch_id is not None or batch.records >= rule.minimum_records
        }
        history = read_history(connection, self._verdicts.volume_files(), self._accepted(path))
        numbers = measured(batch, asked, history, self._as_of)
        if any(number in numbers or rule.needs_frame for number, rule in asked.items()):
            cut = frame(connection, batch, list(asked.values()))
            note = sample_note(len(cut), sum(batch.good.values()))
            name = path.replace("/", "_") + (f"_held_{batch_id}" if batch_id else "")
            self._examiner = self._examiner or Examiner(self._settings, self._decided_at)
            broken = self._examiner.examine(name, cut, asked, numbers, note)
            self._conclude(
                connection, path, batch, {rules[n]: value for n, value in broken.items()}
            )

    def _conclude(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: str,
        batch: Batch,
        broken: Mapping[Rule, float],
    ) -> None:
        """Turn the rules that a batch breaks into held segments and sentences."""
        findings = self._findings
        critical = {
            (rule.column, rule.expectation) for rule in broken if rule.severity == "critical"
        }
        for rule, value in broken.items():
            sentence = f"{path}: {rule.found(value)}. {rule.why}"
            if rule.severity == "critical":
                guilty = self._guilty(connection, batch, rule, value)
                for segment, own in guilty.items():
                    findings.reasons.setdefault(segment, []).append(rule.found(own))
                findings.failures.append(
                    f"{sentence} Kept out of the build: {len(guilty)} of "
                    f"{len(batch.segments)} files."
                )
            elif (rule.column, rule.expectation) not in critical:
                findings.warnings.append(sentence)

    @staticmethod
    def _guilty(
        connection: duckdb.DuckDBPyConnection, batch: Batch, rule: Rule, value: float
    ) -> dict[str, float]:
        """Return the segments that break a rule by themselves, else all that hold good records.

        Each comes with its own number, or with that of the batch.
        """
        if rule.is_about_records and len(batch.usable) > 1:
            shares = share_by_segment(connection, batch, rule)
            alone = {
                name: shares[name] for name in batch.usable if shares[name] > rule.allowed_share
            }
            if alone:
                return alone
        return dict.fromkeys(batch.usable, value)

    def _know(self, connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
        columns = {rule.column for rule in rules if rule.expectation == "unknown_share"}
        for column in sorted(columns - self._known):
            create_known(connection, column, self._files(self._accepted(REFERENCES[column])))
            self._known.add(column)

    def _accepted(self, path: str) -> list[str]:
        """Return the segments of an entity that a build sees, those of this audit included."""
        findings = self._findings
        judged = {segment for segment in findings.judged if segment not in findings.reasons}
        earlier = self._verdicts.latest
        return [
            name
            for name in self._names
            if entity_of(name) == path
            and (name in judged or (name in earlier and earlier[name].verdict in ACCEPTED))
        ]

    def _decide(self, held: Iterable[HeldSegment]) -> list[str]:
        """Write the verdicts and return what was accepted."""
        findings = self._findings
        batches = {segment.segment: segment.batch for segment in held}
        verdicts = [
            Verdict(
                segment,
                "held" if segment in findings.reasons else "accepted",
                self._decided_at,
                "; ".join(findings.reasons.get(segment, [])) or None,
                batches.get(segment, f"{self._decided_at:%Y%m%dT%H%M%S}"),
            )
            for segment in findings.judged
        ]
        self._verdicts.latest |= {verdict.segment: verdict for verdict in verdicts}
        self._verdicts.write(verdicts, self._fingerprint(), findings.volumes, findings.warnings)
        return [verdict.segment for verdict in verdicts if verdict.verdict == "accepted"]

    def _fingerprint(self) -> str:
        """Return a digest of all that a verdict on a held segment rests on."""
        digest = sha256()
        for name in self._names:
            verdict = self._verdicts.latest.get(name)
            decision = verdict.verdict if verdict else None
            digest.update(f"{name} {decision}\n".encode())
            if decision == "held":  # an erasure rewrites segments under their name
                status = (self._settings.raw_folder / name).stat()
                digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        for path in (self._thresholds, DESCRIPTION):
            # a missing seed is reported by whoever reads the rules
            digest.update(path.read_bytes() if path.exists() else b"missing")
        return digest.hexdigest()

    def _files(self, segments: Iterable[str]) -> list[str]:
        return [str(self._settings.raw_folder / segment) for segment in segments]
