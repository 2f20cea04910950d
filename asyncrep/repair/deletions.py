"""Deletes what only the replica has, when both walks are complete and within the bounds of the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.confirm import confirm, read_strongly, with_cause
from asyncrep.diff.owners import mended_before
from asyncrep.flow import stages
from asyncrep.model import Extraneous, State
from asyncrep.progress import Note, PassEnded, PassStarted
from asyncrep.repair.mend import mend
from asyncrep.repair.rules import conclude_dry, conclude_harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asyncrep.diff.confirm import Candidate
    from asyncrep.diff.run import Run
    from asyncrep.diff.spool import Spool
    from asyncrep.model import Destination, Discrepancy
    from asyncrep.repair.rules import Rules

_GROUPS_AT_ONCE = 16
_DELETE_KEYS = 100
_DELETE_BYTES = 1024 * 1024


class Allowance:
    """How many deletions the rules leave: deletes as many and says of the rest why it stays.

    Attributes:
        left: how many more may be deleted.
        refusal: why no more may be, one sentence.
    """

    def __init__(self, run: Run[Destination], rules: Rules, planned: int, held: int | None) -> None:
        """Bound ``planned`` deletions by the rules; ``held`` is how many items the replica has, if known."""
        self._run = run
        self._dry = rules.dry_run
        self.left = planned
        self.refusal = ""
        if rules.max_delete is not None:
            # What an interrupted run may have deleted and not told counts as deleted until it is met again.
            self.left = max(0, rules.max_delete - run.report.deleted - len(run.track.unsaid_deletions()))
            self.refusal = f"The limit of {rules.max_delete} deletions was reached."
        if rules.max_delete is None and held is not None and planned * 2 > held:
            self.left = 0
            self.refusal = (
                f"Deleting {planned} of {held} items is more than half of the replica: "
                f"if that is meant, allow it (--max-delete {planned})."
            )
            run.observer.notice(Note(self.refusal))

    async def delete(self, drift: Sequence[Discrepancy], *, as_reviewed: bool = False) -> None:
        """Delete what was just confirmed, as far as may be; see ``mend`` for ``as_reviewed``."""
        chosen, rest = drift[: self.left], drift[self.left :]
        self.left -= len(chosen)
        for record in rest:
            self._run.conclude(record.moved(State.SKIPPED, self.refusal))
        if self._dry:
            conclude_dry(self._run, chosen)
        elif chosen:
            await mend(self._run, chosen, deleting=True, as_reviewed=as_reviewed)


class Deletions:
    """The deletions that waited for both walks, within the bounds of the rules."""

    def __init__(self, run: Run[Destination], rules: Rules, spool: Spool) -> None:
        self._run = run
        self._spool = spool
        if run.track.deletions is None:
            run.track.deletions = 0
            run.track.to_delete = spool.length
        self._allowance = Allowance(run, rules, run.track.to_delete, run.report.scanned_replica)

    async def carry_out(self) -> None:
        """Confirm and delete, group by group; say of the rest why it stays."""
        run = self._run
        run.observer.notice(PassStarted("delete", self._spool.length))
        async with stages.mapped(
            stream.iterate(self._groups()), self._handle, _GROUPS_AT_ONCE
        ).stream() as handled:
            async for records in handled:
                run.advance("delete", records)
        run.observer.notice(PassEnded("delete"))

    def _groups(self) -> Iterator[list[Candidate]]:
        """Yield what no run before this one has taken up; each record of it is this one's from then on."""
        track = self._run.track
        for group in self._spool.groups(_DELETE_KEYS, _DELETE_BYTES, track.deletions or 0):
            track.deletions = (track.deletions or 0) + len(group)
            for candidate in group:
                track.hand_over(candidate)
            yield group

    async def _handle(self, group: list[Candidate]) -> int:
        unsaid = self._run.track.unsaid_deletions()
        if self._allowance.left or any(candidate.key in unsaid for candidate in group):
            await self._allowance.delete(await self._confirmed(group))
        else:
            await self._leave(group)
        return len(group)

    async def _confirmed(self, group: list[Candidate]) -> list[Discrepancy]:
        """Return what is still to be deleted; conclude or count the rest."""
        run, found = self._run, []
        unsaid = run.track.unsaid_deletions()
        for verdict in await confirm(run, group):
            told = verdict.discrepancy or mended_before(run, verdict)
            if told is None:
                run.report.settled += 1
                run.track.concluded(verdict.candidate.key)
            else:
                found.append(told)
        drift = conclude_harmless(run, found)
        # One that is still there, or there again, may have what was kept for it, and no other record may.
        again = [told for told in drift if told.key in unsaid]
        self._allowance.left += len(again)
        return again + [told for told in drift if told.key not in unsaid]

    async def _leave(self, group: list[Candidate]) -> None:
        """Report what may not be deleted; it was confirmed when it was put aside."""
        images = await read_strongly(self._run.replica, [candidate.key for candidate in group])
        for key, segment, *_ in group:
            if key in images:
                found = with_cause(self._run, Extraneous(key=key, replica=images[key], segment=segment))
                self._run.conclude(found.moved(State.SKIPPED, self._allowance.refusal))
            else:
                self._run.track.concluded(key)
