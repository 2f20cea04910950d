"""Decides whose walk tells a discrepancy, so that each is told once, whichever walks have met it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.diff.confirm import Candidate
from asyncrep.model import Extraneous, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.confirm import Verdict
    from asyncrep.diff.pipeline import Walk
    from asyncrep.diff.run import Run
    from asyncrep.model import Discrepancy


_MENDED_BEFORE = "It was about to be written when the run was interrupted; both sides agree on it now."


class Owners:
    """The owners of what one walk confirms.

    The primary's scan tells missing and different, the replica's extraneous. One case is left: a record
    that the primary had when it was scanned, and lost before it was confirmed. When the replica is walked
    later, that walk tells it. When both are walked at once, the replica's may have asked for the record
    before the primary lost it: such *late* ones are told at the end, unless it told them all the same.

    What a run before this one has written and not told is told here, once both sides agree on it.
    """

    def __init__(self, run: Run[Any], walk: Walk) -> None:
        self._run = run
        self._both_at_once = len(walk.sides) > 1
        self._late: dict[bytes, tuple[Candidate, Discrepancy]] = {}
        self._told = run.track.spool("told")

    def told_by(self, verdicts: Sequence[Verdict]) -> list[Discrepancy]:
        """Return the discrepancies that are told now; count what has settled.

        What both sides have, or neither has any more, is the primary's to count: its scan has met it.
        """
        owned = []
        for verdict in verdicts:
            found, candidate = verdict.discrepancy or mended_before(self._run, verdict), verdict.candidate
            if found is None:
                self._run.report.settled += candidate.met_on != "replica"
                self._run.track.close(candidate.key, candidate.met_on)
            elif self._owns(found, candidate):
                owned.append(found)
                self._run.track.hand_over(candidate)
                self._remember(found)
            elif candidate.met_on == "primary" and self._both_at_once:
                self._late[found.key] = candidate, found
            else:
                self._run.track.close(candidate.key, candidate.met_on)
        return owned

    def _owns(self, found: Discrepancy, candidate: Candidate) -> bool:
        met_on = candidate.met_on
        return met_on == "both" or isinstance(found, Extraneous) == (met_on == "replica")

    def _remember(self, found: Discrepancy) -> None:
        if self._both_at_once and isinstance(found, Extraneous):
            self._told.add(Candidate(found.key, found.segment, 0, "replica"))

    def late(self) -> list[Discrepancy]:
        """Return, when all is confirmed, what no walk has told."""
        if not self._late:
            return []
        told = self._told.among(self._late)
        untold = []
        for key, (candidate, found) in self._late.items():
            if key in told:
                self._run.track.close(key, candidate.met_on)
            else:
                self._run.track.hand_over(candidate)
                untold.append(found)
        return untold


def mended_before(run: Run[Any], verdict: Verdict) -> Discrepancy | None:
    """Return what a run before this one has mended, if both sides agree and its journal tells of a write."""
    written = run.track.written.get(verdict.candidate.key)
    mended = None if written is None else written.mended(verdict.primary)
    return None if mended is None else mended.moved(State.REPAIRED, _MENDED_BEFORE)
