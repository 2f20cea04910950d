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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncrep.diff.confirm import Candidate, read_strongly, same_side
from asyncrep.diff.expiry import is_expired
from asyncrep.diff.pipeline import confirmations
from asyncrep.errors import RejectedError
from asyncrep.flow import stages
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import KeyedImage, Missing, Page, State
from asyncrep.mutation import ItemAbsent, Put
from asyncrep.options import Comparison
from asyncrep.progress import PassEnded
from asyncrep.repair.filling import filled
from asyncrep.repair.mend import mend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.confirm import Verdict
    from asyncrep.diff.pipeline import Judged
    from asyncrep.diff.run import Run
    from asyncrep.jobs.mark import Undecided
    from asyncrep.model import Destination, Discrepancy, Source

_BATCH = 25
_MENDED_AT_ONCE = 8
"""Groups of up to 100 items that are brought up to date at the same time."""


def until_settled(primary: Source) -> Comparison:
    """Return how a table is compared with its folder: where no stream is on, there is nothing to wait for."""
    return Comparison() if primary.settings.stream_view is not None else Comparison(settle=0)


async def fill_folder(run: Run[Destination], *, dry_run: bool) -> None:
    """Copy the items of a run's segments to a folder; what is there already is compared, and brought up to date."""
    filling = _Filling(run, dry_run=dry_run)
    doubtful = confirmations(run, filled(run, _BATCH, take_up=filling.take_up, fill=filling.fill))
    async with stages.mapped(doubtful, filling.mend, _MENDED_AT_ONCE).stream() as mended:
        async for _ in mended:
            run.tally()
    run.observer.notice(PassEnded("backfill"))


@dataclass(slots=True)
class _Copied:
    """What became of one batch; counted when all of it is known, together with its place in the scan."""

    expired: int = 0
    written: int = 0
    matched: int = 0
    refused: list[Missing] = field(default_factory=list)
    doubtful: list[Candidate] = field(default_factory=list)


class _Filling:
    """Writes the batches of one backfill to a folder."""

    def __init__(self, run: Run[Destination], *, dry_run: bool) -> None:
        self._run = run
        self._dry_run = dry_run
        self._settings = run.primary.settings
        # Where most is there already, reading is less than a put that is refused.
        self._looks_first = not run.track.filled_empty

    async def fill(self, batch: Page) -> list[Candidate]:
        """Write what is to be written of a batch; return what has to be confirmed."""
        copied = await self._copy(batch)
        self._count(copied)
        self._run.track.close_batch(batch, copied.doubtful)
        return copied.doubtful

    async def take_up(self, group: Sequence[Undecided]) -> list[Candidate]:
        """Write what a run before this one had begun to write; what it has written is found there."""
        keys = [entry.key.encode() for entry in group]
        images = await self._run.primary.get(keys, consistent=False)
        segment = group[0].segment
        copied = await self._copy(Page(segment, list(images.values())))
        copied.doubtful += [Candidate(key, segment, 0, "primary") for key in keys if key not in images]
        self._count(copied)
        for key in set(keys) - {candidate.key for candidate in copied.doubtful}:
            self._run.track.close(key, "primary")
        return copied.doubtful

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

    async def _copy(self, batch: Page) -> _Copied:
        now = self._run.clock.now()
        living = [
            KeyedImage(self._run.primary.key(image), image)
            for image in batch.images
            if not is_expired(bytes(image), self._settings.ttl_attribute, now)
        ]
        copied = _Copied(expired=len(batch.images) - len(living))
        if living and not self._dry_run:
            if self._looks_first:
                living = await self._lacking(batch.segment, living, copied)
            await self._put_all(batch.segment, living, copied)
        return copied

    async def _lacking(self, segment: int, items: Sequence[KeyedImage], copied: _Copied) -> list[KeyedImage]:
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

    async def _put_all(self, segment: int, items: Sequence[KeyedImage], copied: _Copied) -> None:
        """Put each item unless there is one, and see that they are still what the table has."""
        results = await side_by_side(self._put(segment, item, copied) for item in items)
        written = [item for item, put in zip(items, results, strict=True) if put is True]
        there = [item for item, put in zip(items, results, strict=True) if put is False]
        if there:  # what is not there after all is gone meanwhile, or holds no item
            lacking = await self._lacking(segment, there, copied)
            copied.doubtful += [_candidate(segment, item) for item in lacking]
        if written and self._settings.stream_view is not None:
            written = await self._still_so(segment, written, copied)
        copied.written += len(written)

    async def _still_so(
        self, segment: int, written: Sequence[KeyedImage], copied: _Copied
    ) -> list[KeyedImage]:
        """Return the items that the table still has as they were put."""
        now = await read_strongly(self._run.primary, [item.key for item in written])
        still = [item for item in written if same_side(self._run, bytes(item.image), now.get(item.key))]
        kept = {item.key for item in still}
        copied.doubtful += [_candidate(segment, item) for item in written if item.key not in kept]
        return still

    async def _put(self, segment: int, item: KeyedImage, copied: _Copied) -> bool | None:
        """Put one item if it is absent; None when it is refused for good."""
        image = bytes(item.image)
        try:
            outcome = await self._run.replica.apply(Put(item.key, image, ItemAbsent()))
        except RejectedError as error:
            missing = Missing(key=item.key, primary=image, segment=segment)
            copied.refused.append(missing.moved(State.FAILED, str(error)))
            return None
        return outcome.applied

    def _count(self, copied: _Copied) -> None:
        report = self._run.report
        if self._run.track.filled_empty:  # what is there was copied before an interruption
            copied.written, copied.matched = copied.written + copied.matched, 0
        report.expired += copied.expired
        report.missing += copied.written
        report.repaired += copied.written
        report.matched += copied.matched
        for missing in copied.refused:
            self._run.conclude(missing)


def _candidate(segment: int, item: KeyedImage) -> Candidate:
    return Candidate(item.key, segment, len(item.image), "primary")
