"""The strategy ``batch-get``: scan one side in parallel segments, probe the other side by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.diff.confirm import Candidate
from asyncrep.flow import stages
from asyncrep.items.equality import same_item
from asyncrep.model import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostream.core import Stream
    from msgspec import Raw

    from asyncrep.diff.run import Run
    from asyncrep.model import TableSettings

BATCH = 100
"""Keys in one probe: what a BatchGetItem takes."""

MOST_OPEN_SEGMENTS = 64
"""More segments than this are not scanned at once: each holds a page or two of 1 MB in memory."""

_UNKNOWN_SIZE = 1024


def walk_primary(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan the primary and probe the replica: candidates for missing and different."""

    async def probe(batch: Page) -> list[Candidate]:
        others = await run.replica.get([item.key for item in batch.items], consistent=False)
        return _unequal(run, batch, others)

    return stages.mapped(_batches(run, run.primary, keys_only=False), probe, run.limits.concurrency)


def walk_replica(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan the replica's keys and probe the primary for them: candidates for extraneous.

    Both read key attributes only. That takes the same units as whole items and far less of everything
    else: a scan is charged by what it reads, not by what it returns.
    """
    size = _typical_size(run.replica.settings)

    async def probe(batch: Page) -> list[Candidate]:
        keys = [item.key for item in batch.items]
        others = await run.primary.get(keys, consistent=False, keys_only=True)
        run.report.scanned_replica += len(keys)
        run.advance("replica", len(keys))
        return [Candidate(key, batch.segment, size) for key in keys if key not in others]

    return stages.mapped(_batches(run, run.replica, keys_only=True), probe, run.limits.concurrency)


def _unequal(run: Run[Any], batch: Page, others: dict[bytes, Raw]) -> list[Candidate]:
    """Return the records of a batch that the replica has not, or has otherwise; count the rest."""
    candidates = []
    ignored = run.comparison.ignore
    for key, image in batch.items:
        other = others.get(key)
        # Byte for byte equal is by far the most common; only what is not is decoded.
        if other is None or not (other == image or same_item(bytes(image), bytes(other), ignored)):
            candidates.append(Candidate(key, batch.segment, len(bytes(image))))
    run.report.scanned_primary += len(batch.items)
    run.report.matched += len(batch.items) - len(candidates)
    run.advance("primary", len(batch.items))
    return candidates


def _batches(run: Run[Any], source: Any, *, keys_only: bool) -> Stream[Page]:
    """Scan all of the run's segments and cut the pages into batches that one probe takes."""
    pages = stages.merged(
        run.segments, lambda segment: source.pages(segment, keys_only=keys_only), MOST_OPEN_SEGMENTS
    )
    return stages.split(pages, cut_into(BATCH))


def cut_into(size: int) -> Callable[[Page], Sequence[Page]]:
    """Return the function that cuts a page into pages of at most ``size`` items."""

    def cut(page: Page) -> Sequence[Page]:
        items = page.items
        return [Page(page.segment, items[start : start + size]) for start in range(0, len(items), size)]

    return cut


def _typical_size(settings: TableSettings) -> int:
    return settings.size_bytes // settings.item_count if settings.item_count else _UNKNOWN_SIZE
