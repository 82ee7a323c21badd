"""Audit what arrived before a build may see it.

`audit` judges every segment that has no verdict yet, `list_held` says what is kept out, `release`
lets a person accept it with a reason.
"""

from __future__ import annotations

from loaders.audit.batch import AuditSummary, audit
from loaders.audit.verdicts import HeldSegment, list_held, release

__all__ = ["AuditSummary", "HeldSegment", "audit", "list_held", "release"]
