"""The strategy ``batch-get``: scan one side in parallel segments, probe the other side by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.diff.probe import BATCH, Met, probe_primary, probe_replica
from asyncrep.flow import stages
from asyncrep.model import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostream.core import Stream

    from asyncrep.diff.confirm import Candidate
    from asyncrep.diff.run import Run
    from asyncrep.model import Source, TableSettings

MOST_OPEN_SEGMENTS = 64
"""More segments than this are not scanned at once: each holds a page or two of 1 MB in memory."""

_UNKNOWN_SIZE = 1024


def walk_primary(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan the primary and probe the replica: candidates for missing and different."""

    async def probe(batch: Page) -> list[Candidate]:
        candidates, _ = await probe_replica(run, _records(run.primary, batch))
        run.report.scanned_primary += len(batch.images)
        run.report.matched += len(batch.images) - len(candidates)
        run.advance("primary", len(batch.images))
        return candidates

    return stages.mapped(_batches(run, run.primary, keys_only=False), probe, run.limits.concurrency)


def walk_replica(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan the replica's keys and probe the primary for them: candidates for extraneous.

    The scan, too, reads key attributes only: it is charged by what it reads, not by what it returns.
    """
    size = _typical_size(run.replica.settings)

    async def probe(batch: Page) -> list[Candidate]:
        candidates, _ = await probe_primary(run, _records(run.replica, batch), size)
        run.report.scanned_replica += len(batch.images)
        run.advance("replica", len(batch.images))
        return candidates

    return stages.mapped(_batches(run, run.replica, keys_only=True), probe, run.limits.concurrency)


def _records(source: Source, batch: Page) -> list[Met]:
    return [Met(source.key(image), image, batch.segment) for image in batch.images]


def _batches(run: Run[Any], source: Source, *, keys_only: bool) -> Stream[Page]:
    """Scan all of the run's segments and cut the pages into batches that one probe takes."""
    pages = stages.merged(
        run.segments, lambda segment: source.pages(segment, keys_only=keys_only), MOST_OPEN_SEGMENTS
    )
    return stages.split(pages, cut_into(BATCH))


def cut_into(size: int) -> Callable[[Page], Sequence[Page]]:
    """Return the function that cuts a page into pages of at most ``size`` items."""

    def cut(page: Page) -> Sequence[Page]:
        images = page.images
        return [Page(page.segment, images[start : start + size]) for start in range(0, len(images), size)]

    return cut


def _typical_size(settings: TableSettings) -> int:
    return settings.size_bytes // settings.item_count if settings.item_count else _UNKNOWN_SIZE
