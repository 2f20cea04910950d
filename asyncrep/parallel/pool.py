"""The leading process: hands shares of segments to workers and makes one run of what they tell."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from asyncrep import errors
from asyncrep.diff.confirm import Candidate
from asyncrep.diff.spool import Spool
from asyncrep.errors import AsyncrepError
from asyncrep.flow.tasks import side_by_side
from asyncrep.model import Extraneous
from asyncrep.parallel.hire import FAREWELL_SECONDS, command, hired
from asyncrep.parallel.messages import (
    Aside,
    Broken,
    Counts,
    Done,
    Said,
    Share,
    Told,
    decode_news,
)
from asyncrep.progress import Note, PassEnded, PassStarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from asyncrep.diff.run import Run
    from asyncrep.model import Destination, Discrepancy, Segment
    from asyncrep.options import Limits
    from asyncrep.parallel.hire import Worker
    from asyncrep.parallel.messages import Brief, News
    from asyncrep.progress import PassName

_SHARE_ITEMS = 5_000_000
"""What a share is meant to hold. At the end of each a worker waits for what has to settle, so that a small
table has one for each worker; of a large one, the death of a worker should not undo hours."""

_MOST_SHARES_EACH = 8

_ATTEMPTS = 3
"""Workers that may die over one share before it is taken for the share's doing."""

_CONSUMED = ("read_units", "write_units", "dollars", "throttled")
_SUMS = ("scanned_primary", "scanned_replica", "matched", "settled", "present", "expired")


def split_limits(limits: Limits, processes: int) -> Limits:
    """Return what each of ``processes`` workers may use, so that all of them together keep the limits.

    A budget is not split among workers: each share gets its part when it is given to one.
    """

    def part(whole: float | None) -> float | None:
        return None if whole is None else whole / processes

    return replace(
        limits,
        concurrency=max(1, limits.concurrency // processes),
        read_units=part(limits.read_units),
        write_units=part(limits.write_units),
        read_percent=part(limits.read_percent),
        write_percent=part(limits.write_percent),
    )


def number_of_shares(run: Run[Destination], processes: int) -> int:
    """Return into how many shares the segments of a run are cut."""
    items = run.estimate(run.primary.settings) or 0
    each = min(1 + items // (processes * _SHARE_ITEMS), _MOST_SHARES_EACH)
    return min(processes * each, len(run.segments))


@dataclass(slots=True)
class _Assignment:
    """A share on its way: what its worker has told so far.

    Attributes:
        told: the keys that were concluded, also by workers who died over it.
        aside: what may be deleted when all is done; counts only once the share is done.
        pairs_told: how many of them were not extraneous.
        pairs_before: how many of these by workers who died over it; whoever does it again meets them as pairs.
        kept: copies of a backfill by workers who died over it; they are found in the replica and met as pairs.
        promised: the dollars that a worker may spend on it at this moment, None for no limit or no worker.
        shown: items of each side that the progress has shown, which is more than ``counts`` after a death.
    """

    segments: list[Segment]
    told: Spool = field(default_factory=Spool)
    aside: Spool = field(default_factory=Spool)
    pairs_told: int = 0
    pairs_before: int = 0
    kept: int = 0
    promised: float | None = None
    deaths: int = 0
    counts: Counts = field(default_factory=Counts)
    shown: dict[PassName, int] = field(default_factory=dict)

    def close(self) -> None:
        """Forget what is only of use while the share is on its way."""
        self.told.close()
        self.aside.close()


class Pool:
    """The workers of one run and the shares they do.

    Args:
        run: the leading process's run; its report gets what the workers tell.
        brief: what every worker is to know.
        processes: how many workers there are.
        spool: gets the records that may be deleted when all is done.
        arguments: what starts a worker.
    """

    def __init__(
        self,
        run: Run[Destination],
        brief: Brief,
        processes: int,
        spool: Spool,
        arguments: Sequence[str] | None = None,
    ) -> None:
        self._run = run
        self._brief = brief
        self._spool = spool
        self._arguments = arguments or command()
        self._processes = min(processes, len(run.segments))
        self._shares: list[_Assignment] = []
        self._waiting: deque[_Assignment] = deque()
        self._slowed: dict[int, float] = {}
        self._notes: set[str] = set()
        self._passes: tuple[PassName, ...] = (
            ("backfill",) if brief.task == "backfill" else ("primary", "replica")
        )

    async def work(self) -> None:
        """Have all segments done.

        Raises:
            AsyncrepError: a share could not be done; all workers have ended.
        """
        run = self._run
        for name in self._passes:
            settings = run.replica.settings if name == "replica" else run.primary.settings
            run.observer.notice(PassStarted(name, run.estimate(settings)))
        # Neighbouring segments are likely to lie in one partition: every share gets some of everywhere.
        number = number_of_shares(run, self._processes)
        self._shares = [_Assignment(run.segments[start::number]) for start in range(number)]
        self._waiting.extend(self._shares)
        try:
            await side_by_side(self._employ() for _ in range(self._processes))
        finally:
            for share in self._shares:
                share.close()
        for name in self._passes:
            run.observer.notice(PassEnded(name))

    async def _employ(self) -> None:
        """Keep one worker busy while shares are waiting; hire another if it dies."""
        while self._waiting:
            async with hired(self._arguments) as worker:
                worker.send(self._brief)
                while self._waiting:
                    share = self._waiting.popleft()
                    if not await self._have_done(worker, share):
                        break

    async def _have_done(self, worker: Worker, share: _Assignment) -> bool:
        """Give a worker a share and follow it; False when it died and the share waits again."""
        share.promised = self._affordable()
        worker.send(_order(share))
        try:
            ended = await self._follow(worker, share)
        except BaseException:
            await self._call_off(worker, share)
            raise
        if ended:
            self._finish(share)
        else:
            await worker.wait()
            self._take_back(worker, share)
        return ended

    def _affordable(self) -> float | None:
        """Return what the next share may cost: its part of what nobody has spent or may still spend."""
        if self._run.limits.max_cost is None:
            return None
        outstanding = sum(
            max(0.0, share.promised - share.counts.dollars) for share in self._shares if share.promised
        )
        left = self._run.limits.max_cost - self._run.elsewhere.dollars - outstanding
        return max(left / (len(self._waiting) + 1), sys.float_info.min)

    async def _follow(self, worker: Worker, share: _Assignment) -> bool:
        """Take what a worker tells until its share is done; False when it is gone before."""
        while (frame := await worker.news.next()) is not None:
            try:
                news = decode_news(frame)
            except msgspec.DecodeError as error:
                raise AsyncrepError(f"A worker process sent what is no message: {error}.") from error
            if isinstance(news, Done):
                return True
            self._take(share, news)
        return False

    async def _call_off(self, worker: Worker, share: _Assignment) -> None:
        """End a worker early and take what it still concludes, also when that cannot be passed on."""
        worker.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                while await _fails(self._follow(worker, share)):
                    pass

    def _take(self, share: _Assignment, news: News) -> None:
        """Make one message part of the run.

        Raises:
            AsyncrepError: it says that the share cannot be done.
        """
        match news:
            case Counts():
                self._count(share, news)
            case Told():
                self._conclude(share, news.discrepancy())
            case Aside(records):
                for key, segment, size in records:
                    share.aside.add(Candidate(key, segment, size, "replica"))
            case Said(message):
                self._note(message)
            case Broken(name, message):
                raise getattr(errors, name, AsyncrepError)(message)
            case Done():
                pass

    def _conclude(self, share: _Assignment, found: Discrepancy) -> None:
        share.told.add(Candidate(found.key, found.segment, 0, "replica"))
        share.pairs_told += not isinstance(found, Extraneous)
        self._run.conclude(found)

    def _note(self, message: str) -> None:
        """Say once what every worker says."""
        if message not in self._notes:
            self._notes.add(message)
            self._run.observer.notice(Note(message))

    def _count(self, share: _Assignment, counts: Counts) -> None:
        run, before = self._run, share.counts
        share.counts = counts
        for name in _SUMS:
            _add(run.report, name, getattr(counts, name) - getattr(before, name))
        for name in ("missing", "repaired"):
            _add(run.report, name, counts.copied - before.copied)
        for name in _CONSUMED:
            _add(run.elsewhere, name, getattr(counts, name) - getattr(before, name))
        run.accounts[0].purse.spend(
            counts.dollars - before.dollars
        )  # what deletions may still spend is less by that
        self._slowed[id(share)] = counts.slowed_to or 0.0
        run.elsewhere.slowed_to = sum(self._slowed.values()) or None
        if counts.strategy:
            run.report.strategy = counts.strategy
        self._show(share)

    def _show(self, share: _Assignment) -> None:
        """Move the progress on; what is done again after a death was shown before."""
        for name in self._passes:
            items = share.counts.scanned_replica if name == "replica" else share.counts.scanned_primary
            before = share.shown.get(name, 0)
            if items > before:
                share.shown[name] = items
                self._run.advance(name, items - before)

    def _finish(self, share: _Assignment) -> None:
        """Settle a share's account. A record concluded by a worker who died, and equal since, is no new pair."""
        if share.deaths:
            self._run.report.matched -= share.pairs_before - share.counts.again + share.kept
        self._slowed.pop(id(share), None)
        share.promised = None
        for candidate in share.aside:
            self._spool.add(candidate)
        share.close()

    def _take_back(self, worker: Worker, share: _Assignment) -> None:
        """Let a share wait again whose worker died; what it had counted but not told is forgotten.

        Raises:
            AsyncrepError: too many workers died over it.
        """
        share.promised = None
        share.deaths += 1
        share.pairs_before = share.pairs_told
        if share.deaths >= _ATTEMPTS:
            raise AsyncrepError(
                f"{_ATTEMPTS} worker processes died over the same segments, the last one with exit code {worker.exit_code}."
            )
        self._run.observer.notice(
            Note(f"A worker process died (exit code {worker.exit_code}); its segments are done again.")
        )
        spent = share.counts
        # What a backfill in bulk has copied is told of once more as copied by whoever does it again.
        kept = 0 if self._brief.in_bulk else spent.copied
        share.kept += kept
        self._count(
            share,
            Counts(copied=kept, **{name: getattr(spent, name) for name in _CONSUMED}),
        )
        share.counts = Counts()
        share.aside.close()
        share.aside = Spool()
        self._waiting.append(share)


def _order(share: _Assignment) -> Share:
    indexes = [segment.index for segment in share.segments]
    told = [candidate.key for candidate in share.told]
    return Share(indexes, share.segments[0].total, bool(share.deaths), share.promised, told)


async def _fails(following: Awaitable[object]) -> bool:
    try:
        await following
    except Exception:  # noqa: BLE001 - the run is failing already, and what made it fail is what counts
        return True
    return False


def _add(counts: object, name: str, amount: float) -> None:
    setattr(counts, name, getattr(counts, name) + amount)
