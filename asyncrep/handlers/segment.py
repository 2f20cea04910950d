"""The handler that checks or repairs one segment, and says where to go on when its time is up."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from asyncrep.aws.session import load_libraries
from asyncrep.aws.table import open_table
from asyncrep.diff.pipeline import check
from asyncrep.errors import AsyncrepError, JobError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.handlers.continuation import Documents, job_in
from asyncrep.handlers.runtime import seconds_left, the_container
from asyncrep.jobs.job import open_job
from asyncrep.jobs.journal import open_journal
from asyncrep.location import S3Place, TableRef
from asyncrep.model import Segment
from asyncrep.options import Comparison, Limits
from asyncrep.progress import Note, RunStarted
from asyncrep.repair.rules import Rules
from asyncrep.repair.runner import repair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.table import Table
    from asyncrep.flow.clock import Clock
    from asyncrep.handlers.runtime import Container, Handler
    from asyncrep.jobs.job import Job
    from asyncrep.jobs.journal import Journal
    from asyncrep.jobs.mark import Mark
    from asyncrep.progress import Event
    from asyncrep.report import Report

_encode = msgspec.json.Encoder().encode

_logger = logging.getLogger("asyncrep.handlers")

_KEPT_BACK_SHARE = 0.2
_KEPT_BACK_SECONDS = 15.0
"""What of the time is kept back to save how far the run is."""

_ANSWER = frozenset({"report", "done"})
"""What an answer adds to its event, so that the answer can be the next event."""


_PROGRESS = frozenset({"matched", "settled", "missing", "different", "extraneous", "repaired", "in_flight"})


class SegmentEvent(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What one run of a segment is to do: the options of ``asyncrep diff-tables`` in an event.

    Attributes:
        primary, replica: locations of the tables.
        segment: which, from 0 on.
        segments: of how many.
        repair: mend what is found; else nothing is written.
        strategy: ``auto``, ``batch-get`` or ``dual-scan``.
        ignore: attributes that are not compared.
        settle: seconds that the replica is given to catch up.
        delete: whether a repair deletes what only the replica has.
        max_delete: stops a repair before this segment's deletion after so many; also the word that deleting
            more than half of the segment is meant.
        force: repair even a member of the primary's global table.
        read_units, write_units: units per second and table that this run may use.
        max_cost: dollars that one invocation may cost.
        concurrency: requests under way besides the scans.
        primary_endpoint, replica_endpoint: endpoints, for locations that name none.
        primary_role_arn, replica_role_arn: roles to assume.
        job: ``s3://BUCKET/PREFIX``, under which how far each segment is is kept, and its journal.
        journal: ``s3://BUCKET/PREFIX``, under which writes are noted; false for nowhere. A repair needs one of
            these or a job.
        continuation: what the answer of the invocation before this one had under that name.
    """

    primary: str
    replica: str
    segment: int
    segments: int
    repair: bool = False
    strategy: Literal["auto", "batch-get", "dual-scan"] = "auto"
    ignore: list[str] = []
    settle: float = 1.0
    delete: bool = True
    max_delete: int | None = None
    force: bool = False
    read_units: float | None = None
    write_units: float | None = None
    max_cost: float | None = None
    concurrency: int = 32
    primary_endpoint: str | None = None
    replica_endpoint: str | None = None
    primary_role_arn: str | None = None
    replica_role_arn: str | None = None
    job: str | None = None
    journal: str | Literal[False] | None = None
    continuation: str | None = None


def segment_handler(*, container: Container | None = None, clock: Clock | None = None) -> Handler:
    """Make the function that Lambda calls to check or repair one segment of two tables.

    It answers the event with ``report``, the summary of all invocations so far, with ``done``, and with
    ``continuation``, what the next invocation has to be given when this one's time was too short. So the
    answer is the next event, until ``done`` is true.

    Args:
        container: what is kept between invocations; by default there is one for the process.
        clock: where time comes from.

    Example:
        >>> handler = segment_handler()  # in a module of one's own, named as the function's handler
    """
    opened_in, time = container or the_container(), clock or SystemClock()
    load_libraries()

    def handler(event: Any, context: Any) -> dict[str, Any]:
        asked = _asked(event)
        seconds = seconds_left(context, share=_KEPT_BACK_SHARE, most=_KEPT_BACK_SECONDS)
        try:
            answer = opened_in.run(_SegmentRun(asked, opened_in, time).work(seconds))
        except AsyncrepError as error:
            _log(logging.ERROR, asked, "failed", reason=str(error))
            raise
        return {name: value for name, value in event.items() if name not in _ANSWER} | answer

    return handler


class _Watch:
    """An observer that keeps the live report, and logs what is worth knowing."""

    def __init__(self, asked: SegmentEvent) -> None:
        self.report: Report | None = None
        self._asked = asked

    def notice(self, event: Event) -> None:
        """Take note."""
        if isinstance(event, RunStarted):
            self.report = event.report
        elif isinstance(event, Note):
            _log(logging.INFO, self._asked, "note", note=event.message)


class _SegmentRun:
    """One invocation's part of the run over a segment."""

    def __init__(self, asked: SegmentEvent, container: Container, clock: Clock) -> None:
        self._asked = asked
        self._container = container
        self._clock = clock
        self._watch = _Watch(asked)
        self._options: dict[str, Any] = {
            "limits": Limits(
                segments=asked.segments,
                concurrency=asked.concurrency,
                read_units=asked.read_units,
                write_units=asked.write_units,
                max_cost=asked.max_cost,
            ),
            "comparison": Comparison(ignore=frozenset(asked.ignore), settle=asked.settle),
            "strategy": asked.strategy,
            "segment": Segment(asked.segment, asked.segments),
            "observer": self._watch,
            "clock": clock,
        }

    async def work(self, seconds: float | None) -> dict[str, Any]:
        """Run until the segment is done or the time is up; return what the answer adds to the event.

        Raises:
            UsageError: it cannot be done as asked.
            IncompleteRunError: a read failed for good, or the budget is used up.
            JobError: nothing was done in this time, or how far the run is cannot be kept.
        """
        async with AsyncExitStack() as stack:
            documents = None if self._asked.job else _documents(self._asked)
            job = await stack.enter_async_context(self._job(documents))
            before = _place(job.mark)
            done = await self._in_time(job, seconds)
            report = self._watch.report
            if not done and (report is None or _place(job.mark) == before):
                raise JobError(
                    f"The time was up before anything was done: {seconds:.0f} seconds are too few, "
                    "give the function a longer timeout."
                )
            assert report is not None
            continuation = None if done or documents is None else documents.text()
            _log(logging.INFO, self._asked, "done" if done else "to be continued", remaining=report.remaining)
            return {"report": report.as_dict(), "done": done, "continuation": continuation}

    async def _in_time(self, job: Job, seconds: float | None) -> bool:
        """Work on the job; return whether it has come to its end before the time was up."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await job.begin()
                await self._run(job)
        except TimeoutError:
            if not limit.expired():
                raise
            return False
        return True

    async def _run(self, job: Job) -> None:
        asked = self._asked
        primary = await self._table(asked.primary, asked.primary_endpoint, asked.primary_role_arn)
        replica = await self._table(asked.replica, asked.replica_endpoint, asked.replica_role_arn)
        try:
            if not asked.repair:
                await check(primary, replica, job=job, **self._options)
                return
            rules = Rules(delete_extraneous=asked.delete, max_delete=asked.max_delete, force=asked.force)
            async with self._journal(job, primary, replica) as journal:
                await repair(primary, replica, job=job, journal=journal, rules=rules, **self._options)
        except AsyncrepError:
            await self._container.forget(
                _key(primary.ref, asked.primary_role_arn)
            )  # it may be another one now
            await self._container.forget(_key(replica.ref, asked.replica_role_arn))
            raise

    async def _table(self, location: str, endpoint: str | None, role_arn: str | None) -> Table:
        ref = TableRef.parse(location, endpoint_url=endpoint)
        return await self._container.kept(
            _key(ref, role_arn), lambda: open_table(ref, role_arn=role_arn, clock=self._clock)
        )

    @asynccontextmanager
    async def _job(self, documents: Documents | None) -> AsyncIterator[Job]:
        """Open the job of this segment, as one of ``asyncrep diff-tables`` with the same options."""
        asked = self._asked
        options = {
            "PRIMARY": f"{asked.primary} {asked.primary_endpoint or ''}".strip(),
            "REPLICA": f"{asked.replica} {asked.replica_endpoint or ''}".strip(),
            "--repair": asked.repair,
            "--no-delete": not asked.delete,
            "--max-delete": asked.max_delete,
            "--journal": asked.journal or None,
            "--segments": asked.segments,
            "--segment": asked.segment,
            "--strategy": asked.strategy,
            "--ignore-attribute": sorted(asked.ignore),
            "--settle": asked.settle,
        }
        if documents is not None:
            yield await job_in(documents, options, self._clock)
            return
        place = S3Place.parse(asked.job or "")
        async with open_job(_under(place, f"segment-{asked.segment}"), options, clock=self._clock) as job:
            yield job

    @asynccontextmanager
    async def _journal(self, job: Job, primary: Table, replica: Table) -> AsyncIterator[Journal | None]:
        """Open the journal of this segment: each has its own, from the first invocation to the last."""
        asked = self._asked
        if asked.journal is False:
            yield None
            return
        place: str | S3Place = job.journal
        if asked.journal and job.state.journal is None:
            begun = "".join(filter(str.isalnum, job.state.begun.partition(".")[0]))
            place = _under(S3Place.parse(asked.journal), f"{begun}-segment-{asked.segment}")
        async with open_journal(
            place, replica, primary=primary.label, role_arn=asked.replica_role_arn, clock=self._clock
        ) as journal:
            yield journal


def _asked(event: Any) -> SegmentEvent:
    """Read an event.

    Raises:
        UsageError: it does not say what is to be done, or contradicts itself.
    """
    if not isinstance(event, dict):
        raise UsageError("The event is no object that names a segment of two tables.")
    try:
        asked = msgspec.convert(
            {name: value for name, value in event.items() if name not in _ANSWER}, SegmentEvent
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"The event cannot be read: {error}.") from error
    Segment(asked.segment, asked.segments)
    if asked.repair and asked.job is None and asked.journal is None:
        raise UsageError(
            'A repair notes what it writes: name a place in S3 ("job" or "journal"), or say that none is wanted '
            '("journal": false).'
        )
    if asked.job is not None and asked.continuation is not None:
        raise UsageError("The event holds a job and a continuation: how far the run is, the job says.")
    for place in (asked.job, asked.journal):
        if place:
            S3Place.parse(place)
    return asked


def _documents(asked: SegmentEvent) -> Documents:
    return Documents() if asked.continuation is None else Documents.of(asked.continuation)


def _key(ref: TableRef, role_arn: str | None) -> tuple[object, ...]:
    return ("segment", ref, role_arn)


def _under(place: S3Place, name: str) -> S3Place:
    return S3Place(place.bucket, place.under(name))


def _place(mark: Mark | None) -> bytes:
    """Return what moves while a run gets on; its time and its units are no progress.

    As a text: a run goes on moving the very places that it has resumed from.
    """
    if mark is None:
        return b""
    counts = {name: count for name, count in mark.counts.items() if name in _PROGRESS}
    return _encode((mark.reached, len(mark.undecided), mark.deletions, counts))


def _log(level: int, asked: SegmentEvent, event: str, **fields: Any) -> None:
    what = {"event": event, "segment": asked.segment, "segments": asked.segments}
    _logger.log(level, "%s", json.dumps(what | fields))
