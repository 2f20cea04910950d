"""A working process: does one share after another, and tells the leading process all that happens.

Begins in ``asyncrep.parallel.start``. Orders come on stdin, news go to the descriptor that stdout had.
A worker ends when stdin does, so that none is left behind when the leading process is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from asyncrep.diff.pipeline import concluded, whole_run
from asyncrep.diff.run import Run
from asyncrep.diff.spool import Spool
from asyncrep.errors import AsyncrepError, IncompleteRunError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.loop import fast_runner
from asyncrep.jobs.journal import open_journal_if
from asyncrep.model import Extraneous, Segment
from asyncrep.parallel.messages import (
    Aside,
    Brief,
    Broken,
    Counts,
    Done,
    Frames,
    Said,
    Share,
    Told,
    decode_order,
    framed,
)
from asyncrep.progress import Advanced, Event, Found, Note
from asyncrep.repair.backfill import fill
from asyncrep.repair.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.journal import Journal
    from asyncrep.model import Destination
    from asyncrep.parallel.messages import News, Order
    from asyncrep.report import Report

_COUNTS_SECONDS = 0.1
_ASIDE_GROUP = 1000


class Channel:
    """The way to the leading process. Writing blocks while that is busy: it sets the pace."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, news: News) -> None:
        """Send one message whole."""
        left = memoryview(framed(news))
        while left:
            left = left[os.write(self._descriptor, left) :]


class Teller:
    """The observer of one share: passes on what a run tells.

    Args:
        channel: the way to the leading process.
        told: keys that are concluded already; they are counted and not told again.
        clock: spaces the counts out.
        found_copies: what is found in the replica counts as copied: it was empty before the run.
    """

    def __init__(
        self, channel: Channel, told: Collection[bytes], clock: Clock, *, found_copies: bool
    ) -> None:
        self._channel = channel
        self._told = told
        self._clock = clock
        self._found_copies = found_copies
        self._next_counts = 0.0
        self._again = 0
        self.run: Run[Destination] | None = None

    def notice(self, event: Event) -> None:
        """Pass one event on."""
        match event:
            case Found(found) if found.key in self._told:
                self._again += not isinstance(found, Extraneous)
            case Found(found):
                self._channel.tell(Told.of(found))
            case Note(message):
                self._channel.tell(Said(message))
            case Advanced() if self._clock.monotonic() >= self._next_counts:
                self._next_counts = self._clock.monotonic() + _COUNTS_SECONDS
                self.tell_counts()
            case _:
                pass

    def tell_counts(self) -> None:
        """Say how far the share is."""
        if self.run is not None:
            self.run.tally()
            counts = _counts(self.run.report, self._again)
            if self._found_copies:
                counts.copied, counts.matched = counts.copied + counts.matched, 0
            self._channel.tell(counts)


def _counts(report: Report, again: int) -> Counts:
    copies = report.strategy == "backfill"  # of which no record is told
    return Counts(
        scanned_primary=report.scanned_primary,
        scanned_replica=report.scanned_replica,
        matched=report.matched,
        settled=report.settled,
        present=report.present,
        copied=report.repaired if copies else 0,
        expired=report.expired if copies else 0,
        again=again,
        read_units=report.read_units,
        write_units=report.write_units,
        dollars=report.cost_usd,
        throttled=report.throttled,
        slowed_to=report.slowed_to,
        strategy=report.strategy,
    )


async def _serve(orders: asyncio.Queue[Order], channel: Channel) -> None:
    """Do what the orders say, until cancelled."""
    brief = await orders.get()
    assert isinstance(brief, Brief)
    async with (
        brief.primary.open() as primary,
        brief.replica.open() as replica,
        open_journal_if(brief.journal, primary, replica, brief.replica, brief.access) as journal,
    ):
        while True:
            share = await orders.get()
            assert isinstance(share, Share)
            await _do(brief, share, (primary, replica), channel, journal)


async def _do(
    brief: Brief, share: Share, tables: tuple[Table, Table], channel: Channel, journal: Journal | None
) -> None:
    """Do one share, and say that it is done."""
    clock = SystemClock()
    teller = Teller(channel, frozenset(share.told), clock, found_copies=brief.in_bulk and share.again)
    run: Run[Destination] = Run.of(
        *tables,
        limits=replace(brief.limits, max_cost=share.max_cost),
        comparison=brief.comparison,
        strategy=brief.strategy,  # type: ignore[arg-type] # checked by Run.of
        segments=[Segment(index, share.total) for index in share.segments],
        observer=teller,
        clock=clock,
    )
    run.journal = journal
    teller.run = run
    if brief.task == "backfill":
        run.report.strategy = "backfill"
    try:
        async with whole_run(run):
            await _carry_out(brief, share, run, channel)
    finally:
        teller.tell_counts()
    channel.tell(Done())


async def _carry_out(brief: Brief, share: Share, run: Run[Destination], channel: Channel) -> None:
    match brief.task:
        case "diff":
            async with aclosing(concluded(run)) as found:
                async for _ in found:
                    pass  # the observer was told
        case "repair":
            with Spool() as spool:
                await Findings(run, brief.rules, spool).mend()
                records = [(key, segment, size) for key, segment, size, *_ in spool]
                for start in range(0, len(records), _ASIDE_GROUP):
                    channel.tell(Aside(records[start : start + _ASIDE_GROUP]))
        case "backfill":
            # Whoever died over the share has written: what is in the replica now is not to be overwritten.
            await fill(run, in_bulk=brief.in_bulk and not share.again, dry_run=brief.rules.dry_run)


async def _listen(orders: asyncio.Queue[Order]) -> None:
    """Read orders from stdin until the leading process closes it or is gone."""
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    frames = Frames(stream)
    try:
        while (frame := await frames.next()) is not None:
            orders.put_nowait(decode_order(frame))
    finally:
        transport.close()


async def _work(channel: Channel) -> None:
    orders: asyncio.Queue[Order] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(_serve(orders, channel))
        listening = group.create_task(_listen(orders))
        # Either ends the other: stdin that ends, and SIGTERM, which lets a repair conclude what it began.
        listening.add_done_callback(lambda _: serving.cancel())
        serving.add_done_callback(lambda _: listening.cancel())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)


def main(news: int) -> None:
    """Work until stdin ends, and tell what happens on the descriptor ``news``."""
    for library in ("botocore", "aiobotocore"):  # else logging prints their tracebacks on stderr
        logging.getLogger(library).addHandler(logging.NullHandler())
    channel = Channel(news)
    with fast_runner() as runner:
        try:
            runner.run(_work(channel))
        except* BrokenPipeError:
            pass  # the leading process is gone, and nobody else wants to know
        except* Exception as failures:  # noqa: BLE001 - told, and raised again over there
            with suppress(BrokenPipeError):
                channel.tell(_broken(failures))


def _broken(failures: BaseExceptionGroup[Exception]) -> Broken:
    """Say what no other worker would do better."""
    first: BaseException = failures.exceptions[0]
    if isinstance(first, IncompleteRunError):
        first = first.__cause__ or first
    if isinstance(first, AsyncrepError):
        return Broken(type(first).__name__, str(first))
    return Broken(AsyncrepError.__name__, f"Unexpected {type(first).__name__} in a worker process: {first}")
