"""Fills a new replica: scans the primary and writes what the replica has not, at full batch speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.diff.batch_get import MOST_OPEN_SEGMENTS, cut_into
from asyncrep.diff.confirm import read_strongly, same_side
from asyncrep.diff.expiry import is_expired
from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.errors import RejectedError
from asyncrep.flow import stages
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import ItemAbsent, KeyedImage, Missing, Put, State
from asyncrep.progress import Note, PassEnded, PassStarted
from asyncrep.repair.rules import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.flow.clock import Clock
    from asyncrep.model import Destination, Page, Segment, Source
    from asyncrep.options import Limits
    from asyncrep.progress import Observer
    from asyncrep.report import Report

_BATCH = 25


async def backfill(
    primary: Source,
    replica: Destination,
    *,
    limits: Limits | None = None,
    dry_run: bool = False,
    force: bool = False,
    segment: Segment | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> Report:
    """Copy the primary's items into the replica.

    Into a replica that a strong read finds empty, items are written in bulk. Into any other, each is
    put only if there is none under its key yet: what is there stays and counts as ``matched`` if it is
    equal, as ``present`` if not. What the primary's TTL has given up is not copied. Items are copied as
    an eventually consistent scan sees them, so that on a primary in use a ``repair`` afterwards is what
    makes the replica right.

    Args:
        primary: what is copied; it is only read.
        replica: what is filled.
        limits: how hard the run may push.
        dry_run: only count; ``scanned_primary`` is how many items there are.
        force: fill even a member of a global table.
        segment: copy only this segment.
        observer: is told how the run goes.
        clock: where time comes from.

    Returns:
        The report: ``repaired`` items were written, ``matched`` and ``present`` were there, ``failed``
        the replica refuses, ``expired`` were left out.

    Raises:
        UsageError: as for ``repair``. Nothing was written.
        IncompleteRunError: the run ended early; run it again to go on.
    """
    check_comparable(primary, replica)
    notes = await check_writable(primary, replica, force=force)
    run = Run.of(
        primary,
        replica,
        limits=limits,
        segments=[segment] if segment else None,
        observer=observer,
        clock=clock,
    )
    run.report.strategy = "backfill"
    run.start(notes)
    async with whole_run(run):
        empty = await run.replica.is_empty()
        if not empty:
            run.observer.notice(Note("The replica is not empty: what it has already is left alone."))
        await fill(run, in_bulk=empty, dry_run=dry_run)
    return run.report


async def fill(run: Run[Destination], *, in_bulk: bool, dry_run: bool) -> None:
    """Copy the items of a run's segments; ``in_bulk`` where a strong read found the replica empty."""
    filling = _Filling(run, in_bulk=in_bulk, dry_run=dry_run)
    pages = stages.merged(run.segments, run.primary.pages, MOST_OPEN_SEGMENTS)
    run.observer.notice(PassStarted("backfill", run.estimate(run.primary.settings)))
    batches = stages.split(pages, cut_into(_BATCH))
    async with stages.mapped(batches, filling.fill, run.limits.concurrency).stream() as filled:
        async for items in filled:
            run.report.scanned_primary += items
            run.advance("backfill", items)
    run.observer.notice(PassEnded("backfill"))


class _Filling:
    """Writes the batches of one backfill."""

    def __init__(self, run: Run[Destination], *, in_bulk: bool, dry_run: bool) -> None:
        self._run = run
        self._in_bulk = in_bulk
        self._dry_run = dry_run
        self._ttl_attribute = run.primary.settings.ttl_attribute

    async def fill(self, batch: Page) -> int:
        """Write what is to be written of a batch; return how many items it had."""
        now = self._run.clock.now()
        living = [
            KeyedImage(self._run.primary.key(image), image)
            for image in batch.images
            if not is_expired(bytes(image), self._ttl_attribute, now)
        ]
        self._run.report.expired += len(batch.images) - len(living)
        if living and not self._dry_run:
            if self._in_bulk:
                await self._put_in_bulk(batch.segment, living)
            else:
                await self._put_if_absent(batch.segment, living)
        return len(batch.images)

    async def _put_in_bulk(self, segment: int, items: Sequence[KeyedImage]) -> None:
        try:
            await self._run.replica.put_all(items)
        except RejectedError:
            # One item that the replica refuses takes its whole batch along: one by one, then.
            await self._put_if_absent(segment, items)
            return
        self._run.report.missing += len(items)
        self._run.report.repaired += len(items)

    async def _put_if_absent(self, segment: int, items: Sequence[KeyedImage]) -> None:
        """Put each item unless there is one; an equal one may be our own, if the answer to a put got lost."""
        results = await side_by_side(self._put(segment, item) for item in items)
        refused = [item for item, written in zip(items, results, strict=True) if written is False]
        if not refused:
            return
        there = await read_strongly(self._run.replica, [item.key for item in refused])
        for key, image in refused:
            equal = same_side(self._run, bytes(image), there.get(key))
            self._run.report.matched += equal
            self._run.report.present += not equal

    async def _put(self, segment: int, item: KeyedImage) -> bool | None:
        """Put one item if it is absent; None when the replica refuses it for good, which is concluded."""
        image = bytes(item.image)
        try:
            outcome = await self._run.replica.apply(Put(item.key, image, ItemAbsent()))
        except RejectedError as error:
            missing = Missing(key=item.key, primary=image, segment=segment)
            self._run.conclude(missing.moved(State.FAILED, str(error)))
            return None
        self._run.report.missing += outcome.applied
        self._run.report.repaired += outcome.applied
        return outcome.applied
