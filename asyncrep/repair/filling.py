"""What every backfill does: copies the items of a scan, batch by batch, after those that a run before it had begun."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from aiostream import stream

from asyncrep.diff.batch_get import batches
from asyncrep.diff.expiry import is_expired
from asyncrep.diff.resume import in_groups
from asyncrep.errors import RejectedError
from asyncrep.flow import stages
from asyncrep.model import KeyedImage, Missing, Page, State
from asyncrep.mutation import ItemAbsent, Put
from asyncrep.progress import PassStarted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostream.core import Stream

    from asyncrep.diff.confirm import Candidate
    from asyncrep.diff.run import Run
    from asyncrep.jobs.mark import Undecided
    from asyncrep.model import Destination

_BATCH = 25
"""Items that are written together; a BatchWriteItem takes no more."""


@dataclass(slots=True)
class Copied:
    """What became of one batch; counted when all of it is known, together with its place in the scan.

    Attributes:
        expired: left out, as TTL has given them up.
        written: put where there was nothing.
        matched: there already, and equal.
        present: there already, and different; left alone.
        refused: what the replica refuses for good.
        doubtful: there already, and to be confirmed.
    """

    expired: int = 0
    written: int = 0
    matched: int = 0
    present: int = 0
    refused: list[Missing] = field(default_factory=list)
    doubtful: list[Candidate] = field(default_factory=list)


class Filling(ABC):
    """Writes the batches of one backfill.

    Args:
        run: the run.
        dry_run: write nothing.
    """

    def __init__(self, run: Run[Destination], *, dry_run: bool) -> None:
        self._run = run
        self._dry_run = dry_run

    def batches(self) -> Stream[list[Candidate]]:
        """Begin the pass and return what has to be confirmed of each batch, as they are written."""
        run = self._run
        run.observer.notice(PassStarted("backfill", run.estimate(run.primary.settings)))
        if run.report.scanned_primary:
            run.advance("backfill", run.report.scanned_primary)
        begun = sorted(run.track.take_up(["primary"]), key=_segment)
        groups = [group for _, entries in groupby(begun, _segment) for group in in_groups(list(entries))]
        again = stages.mapped(stream.iterate(groups), self._take_up, run.limits.concurrency)
        scan = batches(run, "primary", _BATCH, told_as="backfill")
        scanned = stages.mapped(scan, self._fill, run.limits.concurrency)
        return stream.chain(again, scanned)

    async def _fill(self, batch: Page) -> list[Candidate]:
        """Write what is to be written of a batch."""
        copied = await self._copy(batch)
        self._count(copied)
        self._run.track.close_batch(batch, copied.doubtful)
        return copied.doubtful

    async def _take_up(self, group: Sequence[Undecided]) -> list[Candidate]:
        """Write what a run before this one had begun to write; what it has written is found there."""
        segment = group[0].segment
        keys = [entry.key.encode() for entry in group]
        images = await self._run.primary.get(keys, consistent=False)
        copied = await self._copy(Page(segment, list(images.values())))
        copied.doubtful += self._gone(segment, [key for key in keys if key not in images])
        self._count(copied)
        for key in set(keys) - {candidate.key for candidate in copied.doubtful}:
            self._run.track.close(key, "primary")
        return copied.doubtful

    async def _copy(self, batch: Page) -> Copied:
        now, ttl_attribute = self._run.clock.now(), self._run.primary.settings.ttl_attribute
        living = [
            KeyedImage(self._run.primary.key(image), image)
            for image in batch.images
            if not is_expired(bytes(image), ttl_attribute, now)
        ]
        copied = Copied(expired=len(batch.images) - len(living))
        if living and not self._dry_run:
            await self._write(batch.segment, living, copied)
        return copied

    @abstractmethod
    async def _write(self, segment: int, items: Sequence[KeyedImage], copied: Copied) -> None:
        """Write items, and note in ``copied`` what became of each."""

    def _gone(self, segment: int, keys: Sequence[bytes]) -> list[Candidate]:  # noqa: ARG002 - not so everywhere
        """Return what has to be confirmed of items that the primary has lost while they were copied."""
        return []

    @property
    def _finds_own(self) -> bool:
        """Whether what is there already was copied by this backfill, before it was interrupted."""
        return self._run.track.filled_empty

    async def _put(self, segment: int, item: KeyedImage, copied: Copied) -> bool | None:
        """Put one item if it is absent; None when it is refused for good."""
        image = bytes(item.image)
        try:
            outcome = await self._run.replica.apply(Put(item.key, image, ItemAbsent()))
        except RejectedError as error:
            missing = Missing(key=item.key, primary=image, segment=segment)
            copied.refused.append(missing.moved(State.FAILED, str(error)))
            return None
        return outcome.applied

    def _count(self, copied: Copied) -> None:
        report = self._run.report
        if self._finds_own:
            copied.written, copied.matched = copied.written + copied.matched, 0
        report.expired += copied.expired
        report.missing += copied.written
        report.repaired += copied.written
        report.matched += copied.matched
        report.present += copied.present
        for missing in copied.refused:
            self._run.conclude(missing)


def _segment(entry: Undecided) -> int:
    return entry.segment
