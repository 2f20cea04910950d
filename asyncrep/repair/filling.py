"""What every backfill begins with: the batches of a scan, after those that a run before it had begun."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from aiostream import stream

from asyncrep.diff.batch_get import batches
from asyncrep.diff.resume import in_groups
from asyncrep.flow import stages
from asyncrep.progress import PassStarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiostream.core import Stream

    from asyncrep.diff.run import Run
    from asyncrep.jobs.mark import Undecided
    from asyncrep.model import Destination, Page

T = TypeVar("T")


def filled(
    run: Run[Destination],
    size: int,
    *,
    take_up: Callable[[Sequence[Undecided]], Awaitable[T]],
    fill: Callable[[Page], Awaitable[T]],
) -> Stream[T]:
    """Begin the pass of a backfill and return what becomes of its batches, as they come.

    Args:
        run: the run.
        size: items of a batch, at most.
        take_up: sees to records of one segment that a run before this one had begun to write.
        fill: sees to a batch of the scan, and closes it in the run's track.
    """
    run.observer.notice(PassStarted("backfill", run.estimate(run.primary.settings)))
    if run.report.scanned_primary:
        run.advance("backfill", run.report.scanned_primary)
    begun = sorted(run.track.take_up(["primary"]), key=_segment)
    groups = [group for _, entries in groupby(begun, _segment) for group in in_groups(list(entries))]
    again = stages.mapped(stream.iterate(groups), take_up, run.limits.concurrency)
    scanned = stages.mapped(batches(run, "primary", size, told_as="backfill"), fill, run.limits.concurrency)
    return stream.chain(again, scanned)


def _segment(entry: Undecided) -> int:
    return entry.segment
