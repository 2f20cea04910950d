"""Mends what the walks find, and puts aside what is to be deleted when both are complete."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.confirm import Candidate
from asyncrep.diff.pipeline import confirmed, walks
from asyncrep.flow import stages
from asyncrep.model import Extraneous, State
from asyncrep.repair.mend import mend
from asyncrep.repair.rules import conclude_dry, conclude_harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.run import Run
    from asyncrep.diff.spool import Spool
    from asyncrep.model import Destination, Discrepancy
    from asyncrep.repair.rules import Rules

_BATCHES_AT_ONCE = 16


class Findings:
    """What the walks find: missing and different are mended at once, extraneous is put aside."""

    def __init__(self, run: Run[Destination], rules: Rules, spool: Spool) -> None:
        self._run = run
        self._rules = rules
        self._spool = spool
        self._leftovers: dict[bytes, Extraneous] = {}

    async def mend(self) -> None:
        """Walk both sides.

        A record that the primary loses while it is mended is left over as extraneous. The walk of the
        replica may tell it too, before or after, so leftovers wait until all is told.
        """
        for walk in walks(self._run):
            async with (
                aclosing(confirmed(self._run, walk)) as batches,
                stages.mapped(stream.iterate(batches), self._handle, _BATCHES_AT_ONCE).stream() as handled,
            ):
                async for _ in handled:
                    self._run.tally()
        if self._leftovers:
            told = self._spool.among(self._leftovers)
            for key, left in self._leftovers.items():
                if key in told:
                    self._run.track.put_aside(key)
                else:
                    self._put_aside(left)
        self._recall_deletions()

    async def _handle(self, batch: list[Discrepancy]) -> None:
        drift = conclude_harmless(self._run, batch)
        changes = [found for found in drift if not isinstance(found, Extraneous)]
        self._leftovers |= {left.key: left for left in await self._mend_changes(changes)}
        for found in drift:
            if isinstance(found, Extraneous):
                self._put_aside(found)

    async def _mend_changes(self, changes: Sequence[Discrepancy]) -> list[Extraneous]:
        if self._rules.dry_run:
            conclude_dry(self._run, changes)
            return []
        return await mend(self._run, changes) if changes else []

    def _recall_deletions(self) -> None:
        """Put aside what an interrupted run has deleted and not told: no walk can meet it any more."""
        track = self._run.track
        gone = track.unsaid_deletions()
        if not gone:
            return
        for key in sorted(gone - self._spool.among(gone)):
            self._spool.add(Candidate(key, track.written[key].segment, 0, "replica"))
            self._run.report.scanned_replica += 1  # it was there when the run began

    def _put_aside(self, found: Extraneous) -> None:
        self._spool.add(Candidate(found.key, found.segment, len(found.replica), "replica"))
        self._run.track.put_aside(found.key)
        if not self._rules.delete_extraneous:
            self._run.conclude(found.moved(State.SKIPPED, "Deletions are turned off."))
