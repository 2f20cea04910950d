"""Brings an incremental folder up to date with its table while a stream may be writing to it as well.

Where there is no object, one is put. One that is there and differs is confirmed, as a difference of tables is:
the stream gets a moment to bring what it has. What still differs is put as the table has it now, in place of
exactly the object that was read, which keeps the mark of the change it held. So nothing that the stream has
written is turned back; a record that comes later still finds its place.

A scan is older than what it reads. An item that was deleted after it was scanned, and before its object was
put, would stay in the folder for ever: the stream has seen to the deletion by then. So where the table has a
stream, the items whose objects were put are read again, strongly and after that; those that are gone or differ
are confirmed like the others. What happens later the stream finds an object for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.diff.confirm import Candidate, read_strongly, same_side
from asyncrep.diff.pipeline import confirmations
from asyncrep.flow import stages
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import KeyedImage, State
from asyncrep.options import Comparison
from asyncrep.progress import PassEnded
from asyncrep.repair.filling import Copied, Filling
from asyncrep.repair.mend import mend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.confirm import Verdict
    from asyncrep.diff.pipeline import Judged
    from asyncrep.diff.run import Run
    from asyncrep.model import Destination, Discrepancy, Source

_MENDED_AT_ONCE = 8
"""Groups of up to 100 items that are brought up to date at the same time."""


def until_settled(primary: Source) -> Comparison:
    """Return how a table is compared with its folder: where no stream is on, there is nothing to wait for."""
    return Comparison() if primary.settings.stream_view is not None else Comparison(settle=0)


async def fill_folder(run: Run[Destination], *, dry_run: bool) -> None:
    """Copy the items of a run's segments to a folder; what is there already is compared, and brought up to date."""
    filling = _Filling(run, dry_run=dry_run)
    doubtful = confirmations(run, filling.batches())
    async with stages.mapped(doubtful, filling.mend, _MENDED_AT_ONCE).stream() as mended:
        async for _ in mended:
            run.tally()
    run.observer.notice(PassEnded("backfill"))


class _Filling(Filling):
    """Copies items to a folder; what is there already and differs is confirmed, and mended."""

    def __init__(self, run: Run[Destination], *, dry_run: bool) -> None:
        super().__init__(run, dry_run=dry_run)
        # Where most is there already, reading is less than a put that is refused.
        self._looks_first = not run.track.filled_empty

    async def mend(self, judged: Judged) -> None:
        """Bring what was confirmed to differ to the table's present state."""
        try:
            drift = [found for verdict in judged.verdicts if (found := self._drift(verdict)) is not None]
            if drift:
                await mend(self._run, drift, deleting=True)
        finally:
            judged.memory.release()

    def _drift(self, verdict: Verdict) -> Discrepancy | None:
        """Return what is to be mended; count and conclude everything else."""
        candidate, found = verdict.candidate, verdict.discrepancy
        if found is None:
            self._run.report.settled += 1
            self._run.track.close(candidate.key, candidate.met_on)
            return None
        self._run.track.hand_over(candidate)
        if found.state is State.FOUND:
            return found
        self._run.conclude(found)
        return None

    async def _write(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> None:
        if self._looks_first:
            items = await self._lacking(segment, items, copied)
        await self._put_all(segment, items, copied)

    def _gone(self, segment: int, keys: Sequence[bytes]) -> list[Candidate]:
        return [Candidate(key, segment, 0, "primary") for key in keys]

    async def _lacking(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> list[KeyedImage]:
        """Return the items that the folder has not; see to those that it has."""
        there = await read_strongly(self._run.replica, [item.key for item in items])
        lacking = []
        for item in items:
            if item.key not in there:
                lacking.append(item)
            elif same_side(self._run, bytes(item.image), there[item.key]):
                copied.matched += 1
            else:
                copied.doubtful.append(_candidate(segment, item))
        return lacking

    async def _put_all(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> None:
        """Put each item unless there is one, and see that they are still what the table has."""
        results = await side_by_side(self._put(segment, item, copied) for item in items)
        written = [item for item, put in zip(items, results, strict=True) if put is True]
        there = [item for item, put in zip(items, results, strict=True) if put is False]
        if there:  # what is not there after all is gone meanwhile, or holds no item
            lacking = await self._lacking(segment, there, copied)
            copied.doubtful += [_candidate(segment, item) for item in lacking]
        if written and self._run.primary.settings.stream_view is not None:
            written = await self._still_so(segment, written, copied)
        copied.written += len(written)

    async def _still_so(
        self, segment: int, written: Sequence[KeyedImage], copied: Copied
    ) -> list[KeyedImage]:
        """Return the items that the table still has as they were put."""
        now = await read_strongly(self._run.primary, [item.key for item in written])
        still = [item for item in written if same_side(self._run, bytes(item.image), now.get(item.key))]
        kept = {item.key for item in still}
        copied.doubtful += [_candidate(segment, item) for item in written if item.key not in kept]
        return still


def _candidate(segment: int, item: KeyedImage) -> Candidate:
    return Candidate(item.key, segment, len(item.image), "primary")
