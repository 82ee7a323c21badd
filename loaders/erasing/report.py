"""What an erasure did."""

from __future__ import annotations

from dataclasses import dataclass, field

from loaders.entities import Domain


@dataclass
class Erasure:
    """Say what an erasure did, in counts and paths; it never holds anything of the person.

    `traces` are the files in which something was still found: empty is the proof. `unsearchable`
    are damaged files that could not be looked into, `copies` generations of the lake that were
    rewritten or removed, `messages` what waited for the event bus. `left` counts the others, by
    domain, who share a device with the person and stay.
    """

    was_known: bool = False
    landing_files: int = 0
    old_versions: int = 0
    segments: int = 0
    records_removed: int = 0
    records_kept_without_person: int = 0
    tables: int = 0
    table_rows: int = 0
    truth_files: int = 0
    messages: int = 0
    tokens: int = 0
    left: dict[Domain, int] = field(default_factory=dict)
    copies: list[str] = field(default_factory=list)
    searched_files: int = 0
    traces: list[str] = field(default_factory=list)
    unsearchable: list[str] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Whether nothing of the person was found any more."""
        return not self.traces
