"""Fills a new replica: scans the primary and writes what the replica has not, at full batch speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.diff.confirm import read_strongly, same_side
from asyncrep.diff.pipeline import whole_run
from asyncrep.diff.run import Run, check_comparable
from asyncrep.diff.saving import resumed_from, saved
from asyncrep.errors import RejectedError
from asyncrep.flow.tasks import side_by_side
from asyncrep.progress import Note, PassEnded
from asyncrep.repair.backfill_folder import fill_folder, until_settled
from asyncrep.repair.filling import Copied, Filling
from asyncrep.repair.rules import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.model import Destination, KeyedImage, Segment, Source
    from asyncrep.options import Comparison, Limits
    from asyncrep.progress import Observer
    from asyncrep.report import Report

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
    async with _Filling(run, in_bulk=in_bulk, dry_run=dry_run).batches().stream() as done:
        async for _ in done:
            run.tally()
    run.observer.notice(PassEnded("backfill"))


class _Filling(Filling):
    """Copies items to a table; what is there already stays as it is."""

    def __init__(self, run: Run[Destination], *, in_bulk: bool, dry_run: bool) -> None:
        super().__init__(run, dry_run=dry_run)
        self._in_bulk = in_bulk

    @property
    def _finds_own(self) -> bool:
        return super()._finds_own and not self._in_bulk

    async def _write(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> None:
        if self._in_bulk:
            await self._put_in_bulk(segment, items, copied)
        else:
            await self._put_if_absent(segment, items, copied)

    async def _put_in_bulk(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> None:
        try:
            await self._run.replica.write_all(items)
        except RejectedError:
            # One item that the replica refuses takes its whole batch along: one by one, then.
            await self._put_if_absent(segment, items, copied)
            return
        copied.written += len(items)

    async def _put_if_absent(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> None:
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
