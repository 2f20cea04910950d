"""Decides whose walk tells a discrepancy, so that each is told once, whichever walks have met it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from asyncrep.diff.confirm import Candidate
from asyncrep.diff.spool import Spool
from asyncrep.model import Extraneous

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.confirm import Verdict
    from asyncrep.diff.pipeline import Walk
    from asyncrep.diff.run import Run
    from asyncrep.model import Discrepancy


class Owners:
    """The owners of what one walk confirms.

    The primary's scan tells missing and different, the replica's extraneous. One case is left: a record
    that the primary had when it was scanned, and lost before it was confirmed. When the replica is walked
    later, that walk tells it. When both are walked at once, the replica's may have asked for the record
    before the primary lost it: such *late* ones are told at the end, unless it told them all the same.
    """

    def __init__(self, run: Run[Any], walk: Walk) -> None:
        self._run = run
        self._both_at_once = len(walk.sides) > 1
        self._late: dict[bytes, Discrepancy] = {}
        self._told = Spool()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._told.close()

    def told_by(self, verdicts: Sequence[Verdict]) -> list[Discrepancy]:
        """Return the discrepancies that are told now; count what has settled.

        What both sides have, or neither has any more, is the primary's to count: its scan has met it.
        """
        owned = []
        for verdict in verdicts:
            found, met_on = verdict.discrepancy, verdict.candidate.met_on
            if found is None:
                self._run.report.settled += met_on != "replica"
            elif met_on == "both" or isinstance(found, Extraneous) == (met_on == "replica"):
                owned.append(found)
                self._remember(found)
            elif met_on == "primary" and self._both_at_once:
                self._late[found.key] = found
        return owned

    def _remember(self, found: Discrepancy) -> None:
        if self._both_at_once and isinstance(found, Extraneous):
            self._told.add(Candidate(found.key, found.segment, 0, "replica"))

    def late(self) -> list[Discrepancy]:
        """Return, when all is confirmed, what no walk has told."""
        if not self._late:
            return []
        told = self._told.among(self._late)
        return [found for key, found in self._late.items() if key not in told]
