"""How far a run has come: what a checkpoint holds, and from where another process goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from asyncrep.model import Cause, Discrepancy, discrepancy

if TYPE_CHECKING:
    from asyncrep.model import Side

MetOn = Literal["primary", "replica", "both"]
"""Whose scan met a record; see ``asyncrep.diff.confirm.Candidate``."""


class Undecided(msgspec.Struct, frozen=True):
    """A record that was met and whose fate was open when the mark was made.

    Attributes:
        key: its canonical key.
        size: about how many bytes it has.
    """

    key: str
    met_on: MetOn
    segment: int
    size: int = 0


class Reached(msgspec.Struct):
    """How far the scan of one segment of one side has come.

    Attributes:
        key: the canonical key of the last item that is done with, or among the undecided; None before the first.
        ended: nothing of the segment is left.
    """

    key: str | None = None
    ended: bool = False


class Mark(msgspec.Struct, kw_only=True):
    """How far a run has come, at one moment.

    Every record that the scans have passed is in the counts or among the undecided: to go on from here
    is to scan on from each place reached, and to look at the undecided again.

    Attributes:
        tables: the ids of both, where the service tells them.
        strategy: how both sides are walked.
        segments: those that the run looks at, of ``total``.
        reached: by side and segment; what is not in it was not begun.
        undecided: what was met and not judged, or judged and not mended.
        counts: the report's.
        drifted: segments in which discrepancies were found.
        deletions: how many of the records put aside are among the undecided or done, None before the
            deletions began.
        to_delete: how many records were put aside when the deletions began.
        filled_empty: a backfill found the replica empty when it began.
        writes: by journal writer, the number of its last intent; see ``asyncrep.jobs.journal``.
        unsaid: keys of records that may have been written and are not told yet.
    """

    tables: list[str | None] = []
    strategy: str = ""
    segments: list[int] = []
    total: int = 0
    reached: dict[str, dict[int, Reached]] = {}
    undecided: list[Undecided] = []
    counts: dict[str, Any] = {}
    drifted: list[int] = []
    deletions: int | None = None
    to_delete: int = 0
    filled_empty: bool = False
    writes: dict[str, int] = {}
    unsaid: list[str] = []

    def at(self, side: Side, segment: int) -> Reached:
        """Return where one side's scan of a segment stood."""
        return self.reached.get(side, {}).get(segment) or Reached()


class Written(msgspec.Struct, frozen=True):
    """A write that a journal tells of and no report: whoever sent it ended before it could conclude.

    Attributes:
        kind: of the discrepancy that it was to mend.
        replica: the replica's image before, None when there was none.
        cause: what had likely led to it.
    """

    key: bytes
    kind: str
    segment: int
    replica: bytes | None
    cause: str | None = None

    def mended(self, primary: bytes | None) -> Discrepancy | None:
        """Return what it mended, now that both sides agree and the primary's image is ``primary``.

        None when that says nothing: the primary has lost or got the item since.
        """
        if (primary is None) != (self.kind == "extraneous") or (self.replica is None) != (
            self.kind == "missing"
        ):
            return None
        found = discrepancy(self.key, primary, self.replica, self.segment)
        return replace(found, cause=None if self.cause is None else Cause(self.cause))
