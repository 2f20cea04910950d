"""Fills a new replica: scans the primary and writes what the replica has not, at full batch speed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncrep.diff.confirm import read_strongly, same_side
from asyncrep.diff.expiry import is_expired
from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.diff.saving import resumed_from, saved
from asyncrep.errors import RejectedError
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import KeyedImage, Missing, Page, State
from asyncrep.mutation import ItemAbsent, Put
from asyncrep.progress import Note, PassEnded
from asyncrep.repair.backfill_folder import fill_folder, until_settled
from asyncrep.repair.filling import filled
from asyncrep.repair.rules import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.jobs.mark import Undecided
    from asyncrep.model import Destination, Segment, Source
    from asyncrep.options import Comparison, Limits
    from asyncrep.progress import Observer
    from asyncrep.report import Report

_BATCH = 25
_NOT_EMPTY = "The replica is not empty: what it has already is left alone."
_NOT_EMPTY_FOLDER = (
    "The folder is not empty: what it has already is read first, and brought up to date where it differs."
)


async def backfill(
    primary: Source,
    replica: Destination,
    *,
    limits: Limits | None = None,
    comparison: Comparison | None = None,
    dry_run: bool = False,
    force: bool = False,
    segment: Segment | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    job: Job | None = None,
) -> Report:
    """Copy the primary's items into the replica.

    Into a replica that a strong read finds empty, items are written in bulk. Into any other, each is
    put only if there is none under its key yet: what is there stays and counts as ``matched`` if it is
    equal, as ``present`` if not. What the primary's TTL has given up is not copied. Items are copied as
    an eventually consistent scan sees them, so that on a primary in use a ``repair`` afterwards is what
    makes the replica right. Nothing that is there is changed, so nothing goes to a journal.

    An incremental folder as the replica is brought up to date as well; see ``asyncrep.repair.backfill_folder``.

    Args:
        primary: what is copied; it is only read.
        replica: what is filled.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        dry_run: only count; ``scanned_primary`` is how many items there are.
        force: fill even a member of a global table.
        segment: copy only this segment.
        observer: is told how the run goes.
        clock: where time comes from.
        job: keeps how far the run is, so that another process can go on with it.

    Returns:
        The report: ``repaired`` items were written, ``matched`` and ``present`` were there, ``failed``
        the replica refuses, ``expired`` were left out. Of a folder those ``repaired`` that are ``missing`` were
        put, ``different`` brought up to date, ``extraneous`` deleted.

    Raises:
        UsageError: as for ``repair``. Nothing was written.
        IncompleteRunError: the run ended early; run it again to go on.
    """
    check_comparable(primary, replica)
    notes = await check_writable(primary, replica, force=force)
    resumed = await resumed_from(job)
    is_folder = replica.settings.is_folder
    run = Run.of(
        primary,
        replica,
        limits=limits,
        comparison=comparison or (until_settled(primary) if is_folder else None),
        segments=[segment] if segment else None,
        observer=observer,
        clock=clock,
        resumed=resumed,
    )
    run.report.strategy = "backfill"
    run.start(notes)
    async with whole_run(run):
        empty = resumed is None and await run.replica.is_empty()
        run.track.filled_empty |= empty  # kept from the first save on: what is found there later is our own
        if not run.track.filled_empty and resumed is None:
            run.observer.notice(Note(_NOT_EMPTY_FOLDER if is_folder else _NOT_EMPTY))
        async with saved(run, job):
            if is_folder:
                await fill_folder(run, dry_run=dry_run)
            else:
                await fill(run, in_bulk=empty, dry_run=dry_run)
    return run.report


async def fill(run: Run[Destination], *, in_bulk: bool, dry_run: bool) -> None:
    """Copy the items of a run's segments; ``in_bulk`` where a strong read found the replica empty."""
    filling = _Filling(run, in_bulk=in_bulk, dry_run=dry_run)
    batches = filled(run, _BATCH, take_up=filling.take_up, fill=filling.fill)
    async with batches.stream() as done:
        async for _ in done:
            run.tally()
    run.observer.notice(PassEnded("backfill"))


@dataclass(slots=True)
class _Copied:
    """What became of one batch; counted when all of it is known, together with its place in the scan."""

    expired: int = 0
    written: int = 0
    matched: int = 0
    present: int = 0
    refused: list[Missing] = field(default_factory=list)


class _Filling:
    """Writes the batches of one backfill."""

    def __init__(self, run: Run[Destination], *, in_bulk: bool, dry_run: bool) -> None:
        self._run = run
        self._in_bulk = in_bulk
        self._dry_run = dry_run
        self._ttl_attribute = run.primary.settings.ttl_attribute

    async def fill(self, batch: Page) -> None:
        """Write what is to be written of a batch."""
        copied = await self._copy(batch)
        self._count(copied)
        self._run.track.close_batch(batch)

    async def take_up(self, group: Sequence[Undecided]) -> None:
        """Write what a run before this one had begun to write; what it has written is found there."""
        keys = [entry.key.encode() for entry in group]
        images = await self._run.primary.get(keys, consistent=False)
        copied = await self._copy(Page(group[0].segment, list(images.values())))
        self._count(copied)
        for key in keys:
            self._run.track.close(key, "primary")

    async def _copy(self, batch: Page) -> _Copied:
        now = self._run.clock.now()
        living = [
            KeyedImage(self._run.primary.key(image), image)
            for image in batch.images
            if not is_expired(bytes(image), self._ttl_attribute, now)
        ]
        copied = _Copied(expired=len(batch.images) - len(living))
        if living and not self._dry_run:
            if self._in_bulk:
                await self._put_in_bulk(batch.segment, living, copied)
            else:
                await self._put_if_absent(batch.segment, living, copied)
        return copied

    def _count(self, copied: _Copied) -> None:
        report = self._run.report
        if (
            self._run.track.filled_empty and not self._in_bulk
        ):  # what is there was copied before an interruption
            copied.written, copied.matched = copied.written + copied.matched, 0
        report.expired += copied.expired
        report.missing += copied.written
        report.repaired += copied.written
        report.matched += copied.matched
        report.present += copied.present
        for missing in copied.refused:
            self._run.conclude(missing)

    async def _put_in_bulk(self, segment: int, items: Sequence[KeyedImage], copied: _Copied) -> None:
        try:
            await self._run.replica.write_all(items)
        except RejectedError:
            # One item that the replica refuses takes its whole batch along: one by one, then.
            await self._put_if_absent(segment, items, copied)
            return
        copied.written += len(items)

    async def _put_if_absent(self, segment: int, items: Sequence[KeyedImage], copied: _Copied) -> None:
        """Put each item unless there is one; an equal one may be our own, if the answer to a put got lost."""
        results = await side_by_side(self._put(segment, item, copied) for item in items)
        copied.written += sum(written is True for written in results)
        refused = [item for item, written in zip(items, results, strict=True) if written is False]
        if not refused:
            return
        there = await read_strongly(self._run.replica, [item.key for item in refused])
        for key, image in refused:
            equal = same_side(self._run, bytes(image), there.get(key))
            copied.matched += equal
            copied.present += not equal

    async def _put(self, segment: int, item: KeyedImage, copied: _Copied) -> bool | None:
        """Put one item if it is absent; None when the replica refuses it for good."""
        image = bytes(item.image)
        try:
            outcome = await self._run.replica.apply(Put(item.key, image, ItemAbsent()))
        except RejectedError as error:
            missing = Missing(key=item.key, primary=image, segment=segment)
            copied.refused.append(missing.moved(State.FAILED, str(error)))
            return None
        return outcome.applied
