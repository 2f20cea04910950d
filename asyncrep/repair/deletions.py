"""Deletes what only the replica has, when both walks are complete and within the bounds of the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.confirm import confirm, read_strongly
from asyncrep.flow import stages
from asyncrep.model import Extraneous, State
from asyncrep.progress import Note, PassEnded, PassStarted
from asyncrep.repair.mend import mend
from asyncrep.repair.rules import conclude_dry, conclude_harmless

if TYPE_CHECKING:
    from asyncrep.diff.confirm import Candidate
    from asyncrep.diff.run import Run
    from asyncrep.diff.spool import Spool
    from asyncrep.model import Destination
    from asyncrep.repair.rules import Rules

_GROUPS_AT_ONCE = 16
_DELETE_KEYS = 100
_DELETE_BYTES = 1024 * 1024


class Deletions:
    """The deletions that waited for both walks, within the bounds of the rules."""

    def __init__(self, run: Run[Destination], rules: Rules, spool: Spool) -> None:
        self._run = run
        self._dry = rules.dry_run
        self._spool = spool
        self._allowed = spool.length if rules.max_delete is None else rules.max_delete
        self._refusal = f"The limit of {self._allowed} deletions was reached."
        if rules.max_delete is None and spool.length * 2 > run.report.scanned_replica:
            self._allowed = 0
            self._refusal = (
                f"Deleting {spool.length} of {run.report.scanned_replica} items is more than half of the replica: "
                f"if that is meant, allow it (--max-delete {spool.length})."
            )
            run.observer.notice(Note(self._refusal))

    async def carry_out(self) -> None:
        """Confirm and delete, group by group; say of the rest why it stays."""
        run = self._run
        run.observer.notice(PassStarted("delete", self._spool.length))
        groups = stream.iterate(self._spool.groups(_DELETE_KEYS, _DELETE_BYTES))
        async with stages.mapped(groups, self._handle, _GROUPS_AT_ONCE).stream() as handled:
            async for records in handled:
                run.advance("delete", records)
        run.observer.notice(PassEnded("delete"))

    async def _handle(self, group: list[Candidate]) -> int:
        if not self._allowed:
            await self._leave(group)
            return len(group)
        verdicts = await confirm(self._run, group)
        found = [verdict.discrepancy for verdict in verdicts if verdict.discrepancy is not None]
        self._run.report.settled += len(group) - len(found)
        drift = conclude_harmless(self._run, found)
        chosen, rest = drift[: self._allowed], drift[self._allowed :]
        self._allowed -= len(chosen)
        for record in rest:
            self._run.conclude(record.moved(State.SKIPPED, self._refusal))
        if self._dry:
            conclude_dry(self._run, chosen)
        elif chosen:
            await mend(self._run, chosen, deleting=True)
        return len(group)

    async def _leave(self, group: list[Candidate]) -> None:
        """Report what may not be deleted; it was confirmed when it was put aside."""
        images = await read_strongly(self._run.replica, [candidate.key for candidate in group])
        for key, segment, *_ in group:
            if key in images:
                found = Extraneous(key=key, replica=images[key], segment=segment)
                self._run.conclude(found.moved(State.SKIPPED, self._refusal))
