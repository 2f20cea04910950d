"""The strategy ``hash-join``: spills both sides, and joins them partition by partition.

Backups come in any order, and cannot be asked for single items at a price worth paying. So each side is read once,
from its beginning to its end, and sorted on disk by a hash of the keys (``spill.py``); then what has one hash is
looked at together. Memory holds one partition of both sides, whatever there is of items.

The join has met everything there is on both sides, so it knows of each record whether it is missing, different or
extraneous. A backup stays as it is, and what was read of it goes on with the candidate. A table goes on changing:
what looks different is read there once more, strongly consistent, by the confirmation of every other check.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from aiostream import stream, streamcontext

from asyncrep.backup.reading import Line
from asyncrep.backup.soundness import problem_of
from asyncrep.backup.spilled import SpilledSource
from asyncrep.diff.confirm import Candidate, Images
from asyncrep.diff.pipeline import Walk
from asyncrep.errors import BackupError
from asyncrep.flow import stages
from asyncrep.items.canonical import content_digest
from asyncrep.items.equality import NO_ITEM, same_item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from aiostream.core import Stream

    from asyncrep.backup.spill import Spill
    from asyncrep.diff.run import Run
    from asyncrep.model import Segment, Side, Source

_BATCH = 100
"""Candidates handed on at once: what one confirmation takes."""

_SEGMENTS_AT_ONCE = 12
"""Segments of a table that are scanned at once."""


class HashJoin:
    """Both sides of a run, on disk.

    Args:
        spills: where each side goes, both cut into the same partitions. That of a backup is its source's own.
    """

    def __init__(self, spills: Mapping[Side, Spill]) -> None:
        self._spills = spills

    @property
    def walks(self) -> tuple[Walk, Walk]:
        """The walks of the strategy: the second can join what the first has spilled."""
        return Walk(("primary",), self._walk_primary), Walk(("replica",), self._walk_replica)

    def _walk_primary(self, run: Run[Any]) -> Stream[list[Candidate]]:
        return stream.iterate(self._spilled(run, "primary"))

    def _walk_replica(self, run: Run[Any]) -> Stream[list[Candidate]]:
        return stream.chain(stream.iterate(self._spilled(run, "replica")), stream.iterate(self._joined(run)))

    async def _spilled(self, run: Run[Any], side: Side) -> AsyncIterator[list[Candidate]]:
        """Read one side to its end; nothing can be said of its items yet."""
        source: Source = run.primary if side == "primary" else run.replica
        steps = source.fill() if isinstance(source, SpilledSource) else self._scanned(run, side, source)
        async with streamcontext(steps) as filling:
            async for items in filling:
                run.count_scanned(side, items)
        return
        yield  # a generator, of nothing

    async def _scanned(self, run: Run[Any], side: Side, table: Source) -> AsyncIterator[int]:
        """Scan a table; yield how many items each page had."""
        spill, key = self._spills[side], table.key

        def pages(segment: Segment) -> AsyncIterator[Any]:
            return table.pages(segment)

        async with streamcontext(stages.merged(run.segments, pages, _SEGMENTS_AT_ONCE)) as scans:
            async for page in scans:
                # Copies, because a slice would keep its whole page.
                spill.add([(key(image), bytes(image)) for image in page.images])
                yield len(page.images)
        spill.seal()

    async def _joined(self, run: Run[Any]) -> AsyncIterator[list[Candidate]]:
        """Join what both sides have spilled."""
        for ours, theirs in self._spills["primary"].beside(self._spills["replica"]):
            unequal = _unequal(run, ours, theirs)
            while batch := list(islice(unequal, _BATCH)):
                run.track.open(batch)
                yield batch
                run.advance("replica", 0)  # nothing more is read, and there is something to be seen
            run.advance("replica", 0)


def _unequal(run: Run[Any], ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> Iterator[Candidate]:
    """Yield what differs in one part of both sides, and count what does not."""
    apart = [key for key, image in theirs.items() if ours.get(key) != image]
    run.report.matched += len(theirs) - len(apart)
    for key in apart:
        if key in ours and _same(run, key, ours[key], theirs[key]):
            run.report.matched += 1
        else:
            yield _candidate(run, key, ours.get(key), theirs[key])
    for key, image in ours.items():
        if key not in theirs:
            yield _candidate(run, key, image, None)


def _same(run: Run[Any], key: bytes, ours: bytes, theirs: bytes) -> bool:
    try:
        return same_item(ours, theirs, run.comparison.ignore)
    except NO_ITEM:
        _check_item(run.primary, key, ours)
        _check_item(run.replica, key, theirs)
        raise


def _check_item(source: Source, key: bytes, image: bytes | None, *, deeply: bool = True) -> None:
    """Make sure that a line of a backup is an item: nobody has looked further into it than to its key.

    Raises:
        BackupError: it is none.
    """
    if image is None:
        return
    problem = problem_of(Line(0, image), None)
    if problem is None and deeply:
        try:
            content_digest(image)
        except NO_ITEM:
            problem = "it is JSON, but no item: a value is not of the type that it says."
    if problem is not None:
        raise BackupError(f"{source.label}, the item {key.decode(errors='replace')}: {problem}")


def _candidate(run: Run[Any], key: bytes, primary: bytes | None, replica: bytes | None) -> Candidate:
    """Return a record that has to be confirmed; raises as ``_check_item`` does."""
    _check_item(run.primary, key, primary, deeply=False)
    _check_item(run.replica, key, replica, deeply=False)
    size = len(primary or b"") + len(replica or b"")
    return Candidate(key, 0, size, "both", Images(primary, replica))
