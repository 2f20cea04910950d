"""A working process: does one share after another, and tells the leading process all that happens.

Run as ``python -m asyncrep.parallel.worker`` by ``asyncrep.parallel.pool``; orders come on stdin, news go
to stdout. A worker ends when stdin does, so that none is left behind when the leading process is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from asyncrep.diff.pipeline import concluded, whole_run
from asyncrep.diff.run import Run
from asyncrep.diff.spool import Spool
from asyncrep.errors import AsyncrepError, IncompleteRunError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.loop import fast_runner
from asyncrep.model import Extraneous, Segment
from asyncrep.parallel.messages import (
    Aside,
    Broken,
    Counts,
    Done,
    Job,
    Said,
    Share,
    Told,
    decode_order,
    framed,
    next_frame,
)
from asyncrep.progress import Advanced, Event, Found, Note
from asyncrep.repair.backfill import fill
from asyncrep.repair.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
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
    """

    def __init__(self, channel: Channel, told: Collection[bytes], clock: Clock) -> None:
        self._channel = channel
        self._told = told
        self._clock = clock
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
            self._channel.tell(_counts(self.run.report, self._again))


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
        throttled=report.throttled,
        slowed_to=report.slowed_to,
        strategy=report.strategy,
    )


async def _serve(orders: asyncio.Queue[Order], channel: Channel) -> None:
    """Do what the orders say, until cancelled."""
    job = await orders.get()
    assert isinstance(job, Job)
    async with job.primary.open() as primary, job.replica.open() as replica:
        while True:
            share = await orders.get()
            assert isinstance(share, Share)
            await _do(job, share, (primary, replica), channel)


async def _do(job: Job, share: Share, tables: tuple[Table, Table], channel: Channel) -> None:
    """Do one share, and say that it is done."""
    clock = SystemClock()
    teller = Teller(channel, frozenset(share.told), clock)
    run: Run[Destination] = Run.of(
        *tables,
        limits=job.limits,
        comparison=job.comparison,
        strategy=job.strategy,  # type: ignore[arg-type] # checked by Run.of
        segments=[Segment(index, share.total) for index in share.segments],
        observer=teller,
        clock=clock,
    )
    teller.run = run
    if job.task == "backfill":
        run.report.strategy = "backfill"
    try:
        async with whole_run(run):
            await _carry_out(job, run, channel)
    finally:
        teller.tell_counts()
    channel.tell(Done())


async def _carry_out(job: Job, run: Run[Destination], channel: Channel) -> None:
    match job.task:
        case "diff":
            async with aclosing(concluded(run)) as found:
                async for _ in found:
                    pass  # the observer was told
        case "repair":
            with Spool() as spool:
                await Findings(run, job.rules, spool).mend()
                records = [(key, segment, size) for key, segment, size, _ in spool]
                for start in range(0, len(records), _ASIDE_GROUP):
                    channel.tell(Aside(records[start : start + _ASIDE_GROUP]))
        case "backfill":
            await fill(run, in_bulk=job.in_bulk, dry_run=job.rules.dry_run)


async def _listen(orders: asyncio.Queue[Order]) -> None:
    """Read orders from stdin until the leading process closes it or is gone."""
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    while (frame := await next_frame(stream)) is not None:
        orders.put_nowait(decode_order(frame))


async def _work(channel: Channel) -> None:
    orders: asyncio.Queue[Order] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(_serve(orders, channel))
        listening = group.create_task(_listen(orders))
        # Either ends the other: stdin that ends, and SIGTERM, which lets a repair conclude what it began.
        listening.add_done_callback(lambda _: serving.cancel())
        serving.add_done_callback(lambda _: listening.cancel())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)


def main() -> None:
    """Work until stdin ends. Ctrl-C reaches all processes of a terminal; the leading one decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not garble the news
    with fast_runner() as runner, suppress(BrokenPipeError):
        try:
            runner.run(_work(channel))
        except* IncompleteRunError as errors:
            cause = errors.exceptions[0].__cause__ or errors.exceptions[0]
            channel.tell(Broken(type(cause).__name__, str(cause)))
        except* AsyncrepError as errors:
            first = errors.exceptions[0]
            channel.tell(Broken(type(first).__name__, str(first)))


if __name__ == "__main__":
    main()
