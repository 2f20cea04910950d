"""The strategy ``dual-scan``: scan each segment of both sides at once and join what comes.

A scan is charged by the bytes it reads, a probe by the item, rounded up to 4 KB: of small items, reading
both tables whole takes a fraction of the units. What the join leaves unmatched is probed by key, as in
the strategy ``batch-get``, so that the order of the scans and the way tables are cut into segments
decide what a run takes and never what it finds.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aiostream import stream, streamcontext

from asyncrep.diff.confirm import Candidate
from asyncrep.diff.join import SIDES, Join
from asyncrep.diff.probe import BATCH, Met, probe_primary, probe_replica
from asyncrep.flow import stages
from asyncrep.jobs.mark import Undecided
from asyncrep.progress import Note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from aiostream.core import Stream

    from asyncrep.diff.run import Run
    from asyncrep.model import KeyedImage, Page, Segment, Side, Source

MOST_OPEN_SEGMENTS = 12
"""Segments joined at once; each has a scan of both sides open."""

WINDOW_BYTES = 8 * 1024 * 1024
"""What may wait for its partner, all segments together; beyond it the oldest are probed."""

_FEW_LANES = 8
"""Segments joined at once, up to which one side of each may be a page ahead of the other."""

_BATCH_BYTES = 256 * 1024
_LINGER_SECONDS = 1.0

_MISSES_ALLOWED = 10_000
"""Partners missed before a run may give up joining: enough to tell a trend from a bad start."""


class _Loose(NamedTuple):
    """A record that is to be looked at again; ``unequal`` when its partner was met and differs."""

    side: Side
    record: Met
    unequal: bool = False


_TICK = _Loose("primary", Met(b"", b"", 0))
"""No record: while all is joined and nothing comes loose, it keeps those moving that wait for company."""


@dataclass(slots=True)
class _Lane:
    """One segment that is being joined, and the signal that one of its sides has moved."""

    segment: Segment
    join: Join
    moved: asyncio.Event = field(default_factory=asyncio.Event)


def scan_both(run: Run[Any]) -> Stream[list[Candidate]]:
    """Scan both sides: candidates for missing, different and extraneous."""
    march = _March(run, window=WINDOW_BYTES, misses=_MISSES_ALLOWED)
    loose = stages.merged(run.segments, march.segment, MOST_OPEN_SEGMENTS)
    gathering = stages.Gathering(BATCH, _BATCH_BYTES, _weigh, _LINGER_SECONDS)
    return stages.mapped(stages.gathered(loose, gathering, run.clock), march.probe, run.limits.concurrency)


def _weigh(loose: _Loose) -> float:
    return math.inf if loose is _TICK else len(loose.record.image)


class _March:
    """Both sides' scans of all segments, the window they share, and what they leave loose."""

    def __init__(self, run: Run[Any], *, window: int, misses: int) -> None:
        self._run = run
        self._sources: dict[Side, Source] = {"primary": run.primary, "replica": run.replica}
        self._window = window
        self._lanes: dict[int, _Lane] = {}
        self._joined = 0
        self._missed = 0
        self._misses_allowed = misses
        self._given_up = False
        self._ticked_at = run.clock.monotonic()
        run.track.window, run.track.ahead = self._waiting, self._ahead

    def segment(self, segment: Segment) -> Stream[list[_Loose]]:
        """Scan one segment of both sides at once and yield what the join leaves loose."""
        lane = _Lane(segment, Join(self._run.primary.key, self._run.comparison.ignore))
        self._lanes[segment.index] = lane
        return stream.merge(self._side("primary", lane), self._side("replica", lane))

    async def _side(self, side: Side, lane: _Lane) -> AsyncIterator[list[_Loose]]:
        async with streamcontext(self._pages(side, lane.segment)) as pages:
            async for page in pages:
                lane.join.add(side, page.images)
                self._run.count_scanned(side, len(page.images))
                lane.moved.set()
                if loose := self._collect(lane) or self._tick():
                    yield loose
                while lane.join.lead(side) > self._lead_allowed(page):
                    lane.moved.clear()
                    await lane.moved.wait()
        lane.join.end(side)
        lane.moved.set()
        loose = self._collect(lane)
        if lane.join.ended:
            del self._lanes[lane.segment.index]
        if loose:
            yield loose

    async def _pages(self, side: Side, segment: Segment) -> AsyncIterator[Page]:
        """Yield the pages of one side, from where a run before this one left off."""
        place = self._run.track.at(side, segment.index)
        if place.ended:
            return
        after = None if place.key is None else place.key.encode()
        async with streamcontext(self._sources[side].pages(segment, after=after)) as pages:
            async for page in pages:
                yield page

    def _waiting(self) -> Iterator[Undecided]:
        """Yield what waits for its partner, of all segments."""
        for lane in self._lanes.values():
            for side in SIDES:
                for key, image in lane.join.waiting(side).items():
                    yield Undecided(key.decode(), side, lane.segment.index, len(image))

    def _lead_allowed(self, page: Page) -> int:
        """Return how many items one side may be ahead by, when ``page`` was the last that it delivered.

        Where few lanes are open, one page ahead keeps both scans busy; where there are many, their number
        does, and pages that wait would only fill the memory. A lead of several pages is always more than
        the last of them, however many items each of them has.
        """
        return len(page.images) if len(self._lanes) <= _FEW_LANES else 0

    def _ahead(self, side: Side) -> int:
        """Return how many items of a side have come that lie ahead of the other's."""
        return sum(lane.join.lead(side) for lane in self._lanes.values())

    def _advance(self, lane: _Lane) -> None:
        """Take note of how far the join of a segment has come."""
        track, segment = self._run.track, lane.segment.index
        for side in SIDES:
            if (last := lane.join.reached(side)) is not None:
                track.move(side, segment, last)
            if lane.join.exhausted(side):
                track.end(side, segment)

    def _collect(self, lane: _Lane) -> list[_Loose]:
        """Count what a segment's join has matched; return what it leaves loose, and what the window does."""
        matched, unequal = lane.join.collect()
        self._joined += matched + len(unequal)
        self._run.report.matched += matched
        number = lane.segment.index
        loose = [_Loose("primary", Met(key, image, number), unequal=True) for key, image in unequal]
        loose += self._let_go(lane)
        self._run.track.open(map(_candidate, loose))
        self._advance(lane)
        return loose

    def _let_go(self, lane: _Lane) -> list[_Loose]:
        """Take what can wait for its partner no longer out of a segment's join, or out of the heaviest ones."""
        join, number = lane.join, lane.segment.index
        loose = []
        for side in SIDES:
            loose += _loosened(side, join.unmatched(side), number)
        if self._given_up:
            for side, items in join.give_up().items():
                loose += _loosened(side, items, number)
            return loose
        while sum(each.join.weight for each in self._lanes.values()) > self._window:
            heaviest = max(self._lanes.values(), key=lambda each: each.join.weight)
            side, items = heaviest.join.evict()
            loose += _loosened(side, items, heaviest.segment.index)
        return loose

    def _tick(self) -> list[_Loose]:
        """Return a tick when the last one is as long ago as a record may linger."""
        now = self._run.clock.monotonic()
        if now - self._ticked_at < _LINGER_SECONDS:
            return []
        self._ticked_at = now
        return [_TICK]

    async def probe(self, group: list[_Loose]) -> list[Candidate]:
        """Ask the other side for what is loose; return what has to be confirmed."""
        group = [loose for loose in group if loose is not _TICK]
        ours = [loose.record for loose in group if loose.side == "primary" and not loose.unequal]
        theirs = [loose.record for loose in group if loose.side == "replica"]
        candidates = [_candidate(loose) for loose in group if loose.unequal]
        if ours:
            missing, found = await probe_replica(self._run, ours)
            self._run.report.matched += len(ours) - len(missing)
            self._close("primary", ours, missing)
            self._miss(found)
            candidates += missing
        if theirs:
            extraneous, _ = await probe_primary(self._run, theirs)
            self._close("replica", theirs, extraneous)
            candidates += extraneous
        return candidates

    def _close(self, side: Side, records: Sequence[Met], candidates: Sequence[Candidate]) -> None:
        """Take note that all of these records are counted but for the candidates."""
        for record in records:
            self._run.track.close(record.key, side)
        self._run.track.open(candidates)

    def _miss(self, found: int) -> None:
        """Count pairs that the join did not meet; when they are the most, stop trying."""
        self._missed += found
        if not self._given_up and self._missed > max(self._misses_allowed, self._joined):
            self._given_up = True
            self._run.report.strategy = "dual-scan, then batch-get"
            self._run.observer.notice(
                Note(
                    f"The scans of the two tables do not meet: {self._missed:,} records that both have came too far "
                    "apart. From here on they are looked up by key (batch-get)."
                )
            )


def _loosened(side: Side, items: Iterable[KeyedImage], segment: int) -> list[_Loose]:
    return [_Loose(side, Met(key, image, segment)) for key, image in items]


def _candidate(loose: _Loose) -> Candidate:
    """Return a record as a candidate; one that has met its partner is told whatever it turns out to be."""
    key, image, segment = loose.record
    return Candidate(key, segment, len(image), "both" if loose.unequal else loose.side)
