"""Fills a new replica: scans the primary and writes what the replica has not, at full batch speed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from asyncrep.diff.batch_get import MOST_OPEN_SEGMENTS, cut_into
from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.flow import stages
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import ItemAbsent, KeyedImage, Page, Put
from asyncrep.progress import Note, PassEnded, PassStarted
from asyncrep.repair.runner import check_writable

if TYPE_CHECKING:
    from asyncrep.flow.clock import Clock
    from asyncrep.model import Destination, Limits, Segment, Source
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
    put only if there is none under its key yet: what is there stays and counts as ``present``. Items
    are copied as an eventually consistent scan sees them, so that on a primary in use a ``repair``
    afterwards is what makes the replica right.

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
        The report: ``repaired`` items were written, ``present`` were left alone.

    Raises:
        UsageError: as for ``repair``. Nothing was written.
        IncompleteRunError: the run ended early; run it again to go on.
    """
    check_comparable(primary, replica)
    await check_writable(primary, replica, force=force)
    run = Run.of(primary, replica, limits=limits, segment=segment, observer=observer, clock=clock)
    run.report.strategy = "backfill"
    run.start()
    async with whole_run(run):
        write = await _choose_writer(run, dry_run=dry_run)
        pages = stages.merged(run.segments, run.primary.pages, MOST_OPEN_SEGMENTS)

        async def fill(batch: Page) -> int:
            await write(batch.items)
            return len(batch.items)

        run.observer.notice(PassStarted("backfill", run.estimate(run.primary.settings)))
        async with stages.mapped(
            stages.split(pages, cut_into(_BATCH)), fill, run.limits.concurrency
        ).stream() as filled:
            async for items in filled:
                run.report.scanned_primary += items
                run.advance("backfill", items)
        run.observer.notice(PassEnded("backfill"))
    return run.report


_Writer = Callable[[Sequence[KeyedImage]], Awaitable[None]]


async def _choose_writer(run: Run[Destination], *, dry_run: bool) -> _Writer:
    """Return what writes a batch: nothing, in bulk, or each item only if it is absent."""
    empty = await run.replica.is_empty()
    if not empty:
        run.observer.notice(Note("The replica is not empty: what it has already is left alone."))

    async def count(_batch: Sequence[KeyedImage]) -> None:
        """Write nothing: this is a dry run."""

    async def put_in_bulk(batch: Sequence[KeyedImage]) -> None:
        async with run.slots:
            await run.replica.put_all(batch)
        run.report.missing += len(batch)
        run.report.repaired += len(batch)

    async def put_if_absent(batch: Sequence[KeyedImage]) -> None:
        for written in await side_by_side(_put_if_absent(run, item) for item in batch):
            run.report.missing += written
            run.report.repaired += written
            run.report.present += not written

    if dry_run:
        return count
    return put_in_bulk if empty else put_if_absent


async def _put_if_absent(run: Run[Destination], item: KeyedImage) -> bool:
    async with run.slots:
        outcome = await run.replica.apply(Put(item.key, bytes(item.image), ItemAbsent()))
    return outcome.applied
