"""The strategy ``batch-get``: scan one side in parallel segments, probe the other side by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.diff.probe import BATCH, Met, probe_primary, probe_replica
from asyncrep.flow import stages
from asyncrep.model import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator

    from aiostream.core import Stream

    from asyncrep.diff.confirm import Candidate
    from asyncrep.diff.run import Run
    from asyncrep.model import Segment, Side, Source, TableSettings
    from asyncrep.progress import PassName

MOST_OPEN_SEGMENTS = 64
"""More segments than this are not scanned at once: each holds a page or two of 1 MB in memory."""

_UNKNOWN_SIZE = 1024


def walk_primary(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan the primary and probe the replica: candidates for missing and different."""

    async def probe(batch: Page) -> list[Candidate]:
        candidates, _ = await probe_replica(run, _records(run.primary, batch))
        run.report.matched += len(batch.images) - len(candidates)
        run.track.close_batch(batch, candidates)
        return candidates

    return stages.mapped(batches(run, "primary", BATCH), probe, run.limits.concurrency)


def walk_replica(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan the replica's keys and probe the primary for them: candidates for extraneous.

    The scan, too, reads key attributes only: it is charged by what it reads, not by what it returns.
    """
    size = _typical_size(run.replica.settings)

    async def probe(batch: Page) -> list[Candidate]:
        candidates, _ = await probe_primary(run, _records(run.replica, batch), size)
        run.track.close_batch(batch, candidates)
        return candidates

    return stages.mapped(batches(run, "replica", BATCH, keys_only=True), probe, run.limits.concurrency)


def _records(source: Source, batch: Page) -> list[Met]:
    return [Met(source.key(image), image, batch.segment) for image in batch.images]


def batches(
    run: Run[Any], side: Side, size: int, *, keys_only: bool = False, told_as: PassName | None = None
) -> Stream[Page]:
    """Scan one side of all of the run's segments, cut into batches of at most ``size`` items.

    The run's track takes note of each; whoever has looked it up closes it there. ``told_as`` is what the
    pass is called, where it has not the name of the side.
    """
    source: Source = run.primary if side == "primary" else run.replica

    def pages(segment: Segment) -> AsyncIterable[Page]:
        place = run.track.at(side, segment.index)
        after = None if place.key is None else place.key.encode()
        return source.pages(segment, keys_only=keys_only, after=after)

    def cut(page: Page) -> Iterator[Page]:
        for start in range(0, len(page.images), size):
            batch = Page(page.segment, page.images[start : start + size])
            run.track.open_batch(side, batch, source.key)
            run.count_scanned(side, len(batch.images), told_as)
            yield batch
        if page.last:
            run.track.end(side, page.segment)

    left = [segment for segment in run.segments if not run.track.at(side, segment.index).ended]
    return stages.split(stages.merged(left, pages, MOST_OPEN_SEGMENTS), cut)


def _typical_size(settings: TableSettings) -> int:
    return settings.size_bytes // settings.item_count if settings.item_count else _UNKNOWN_SIZE
