"""What a summary calls the two sides: tables are a primary and its replica, a backup is held against a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncrep.model import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping


# In each the last is what the kind itself says, in other words.
_CAUSES_OF_DIFFERENT = {
    Cause.OLDER_VERSION: "older version of the primary's item",
    Cause.NEWER_VERSION: "newer than the primary's item: somebody writes to the replica",
    Cause.ATTRIBUTE_CHANGE: "nothing tells which side is the older one",
}
_CAUSES_OF_EXTRANEOUS = {
    Cause.MISSED_TTL_DELETE: "expired by the primary's TTL: that delete was missed",
    Cause.MISSED_DELETE: "deleted in the primary, or written to the replica alone",
}


@dataclass(frozen=True, slots=True)
class Words:
    """How the counts of a check are told.

    Attributes:
        missing, extraneous, in_flight, expired: what is counted.
        settled: what it took until so many were found equal.
        different: the causes of different items.
        only_replica: the causes of extraneous items.
        right, wrong: how the conclusion begins.
        advice: how it ends where discrepancies remain.
    """

    missing: str = "missing from the replica"
    extraneous: str = "extraneous in the replica"
    in_flight: str = "in flight: the primary's item kept changing"
    expired: str = "expired: TTL is about to delete them"
    settled: str = "only after the replica had settled"
    different: Mapping[Cause, str] = field(default_factory=lambda: _CAUSES_OF_DIFFERENT)
    only_replica: Mapping[Cause, str] = field(default_factory=lambda: _CAUSES_OF_EXTRANEOUS)
    right: str = "The replica is right"
    wrong: str = "The replica is not right"
    advice: str = "; add --repair to bring the replica in line."


TABLES = Words()

BACKUP_AND_TABLE = Words(
    missing="missing from the table",
    extraneous="only in the table",
    in_flight="in flight: the table's item kept changing",
    expired="expired: TTL has deleted them, or is about to",
    settled="only when they were read once more",
    different={
        Cause.OLDER_VERSION: "older in the table than in the backup",
        Cause.NEWER_VERSION: "newer in the table than in the backup",
        Cause.ATTRIBUTE_CHANGE: "nothing tells which side is the older one",
    },
    only_replica={},
    right="The table is as the backup has it",
    wrong="The table is not as the backup has it",
    advice="; asyncrep restore --overwrite puts back what the backup has.",
)

TWO_BACKUPS = Words(
    missing="only in the first",
    extraneous="only in the second",
    expired="expired by TTL",
    settled="only when they were read once more",
    different={
        Cause.OLDER_VERSION: "older in the second",
        Cause.NEWER_VERSION: "newer in the second",
        Cause.ATTRIBUTE_CHANGE: "nothing tells which is the older one",
    },
    only_replica={},
    right="The backups hold the same",
    wrong="The backups do not hold the same",
    advice=".",
)
