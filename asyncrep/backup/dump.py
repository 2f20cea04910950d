"""Dumps a table: every segment into an object of its own, a manifest for each, and one for all when they are whole."""

from __future__ import annotations

import math
import random
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec
from aiostream import stream

from asyncrep.backup.dump_job import Done, done_before
from asyncrep.backup.existing import check_objects, find_existing, read_manifests
from asyncrep.backup.export import Export
from asyncrep.backup.forms import JsonLines
from asyncrep.backup.layout import SegmentManifest, TableDescription, check_job_id, manifest_bytes
from asyncrep.backup.lines import Deflater
from asyncrep.backup.report import BackupReport
from asyncrep.cost.account import check_budget, open_account
from asyncrep.cost.prices import load_prices
from asyncrep.errors import AsyncrepError, IncompleteBackupError, JobError, PermissionDeniedError
from asyncrep.flow import stages
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.purse import Purse
from asyncrep.flow.tasks import to_its_end
from asyncrep.jobs.entries import timestamp
from asyncrep.model import Segment
from asyncrep.options import Limits
from asyncrep.progress import Advanced, BackupStarted, Note, PassEnded, PassStarted, Silent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from asyncrep.aws.table import Table
    from asyncrep.backup.forms import Form
    from asyncrep.backup.report import BackupFormat
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.model import Page, TableSettings
    from asyncrep.progress import Observer
    from asyncrep.storage import Storage, Upload

_SEGMENT_BYTES = 512 * 1024 * 1024
_SEGMENT_ITEMS = 1_000_000  # emulators tell no sizes
_FEWEST_SEGMENTS = 4
_MOST_SEGMENTS = 10_000

_FAREWELL_SECONDS = 20.0
"""How long a manifest may take to be put, of an object that is whole when the run is ended."""

_OPEN_AT_ONCE = 6
"""Segments that are dumped at the same time: what a killed run loses, and what its uploads hold in memory."""


async def backup_table(
    table: Table,
    storage: Storage,
    *,
    job_id: str | None = None,
    format: BackupFormat = "jsonl",
    limits: Limits | None = None,
    segment: Segment | None = None,
    kms_key: str | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
    job: Job | None = None,
) -> BackupReport:
    """Dump a table as eventually consistent scans see it.

    An object is there when it is whole, and its manifest follows it; with the manifest of the dump, which comes
    last, all of them are. A run that ends early leaves the whole segments it has, and nothing of others.

    Args:
        table: what is dumped.
        storage: where to; the dump is a folder in it.
        job_id: the dump's name. Runs that each dump a segment share it. By default the time tells it.
        format: JSON lines, or the layout of AWS's own exports.
        limits: how hard the run may push, and into how many segments the table is cut.
        segment: dump only this one.
        kms_key: what encrypts an export; its manifest tells.
        observer: is told how the run goes.
        clock: where time comes from.
        job: keeps the dump's name and its cut, so that another process can go on with it: segments that are
            whole are not dumped again.

    Raises:
        UsageError: there is a dump of that name already, of another table, or cut in another way. Nothing
            was written.
        ServiceError, StorageError: the destination cannot be looked at.
        IncompleteBackupError: the run ended early.
    """
    clock = clock or SystemClock()
    before = done_before(job, table)
    limits = limits or Limits()
    form: Form = JsonLines() if format == "jsonl" else Export(table.settings.table_id, kms_key)
    if job_id is None:
        job_id = before.jobid if before else form.new_job_id(clock.now())
    name = check_job_id(job_id)
    total = segment.total if segment else before.total if before else _segments(table.settings, limits)
    account = open_account(table.settings, load_prices(), Purse(limits.max_cost))
    notes = check_budget(limits.max_cost, (account,))
    await storage.check()
    place = storage.under(form.folder(name))
    description = await _described(table)
    segments = [segment] if segment else [Segment(index, total) for index in range(total)]
    whole = await find_existing(place, form, name, segments, description, is_resumed=before is not None)
    dump = _Dump(
        table=table.limited(limits, account),
        place=place,
        form=form,
        segments=segments,
        description=description,
        clock=clock,
        observer=observer or Silent(),
        job=job,
        before=before or Done(name, total),
        is_resumed=before is not None,
        whole=whole,
        report=BackupReport(
            source=table.label,
            destination=place.label,
            format=format,
            job_id=name,
            segments=total,
            segment=segment.index if segment else None,
        ),
    )
    dump.start(notes)
    async with _whole(dump), _kept(dump):
        await dump.run()
    return dump.report


def _segments(settings: TableSettings, limits: Limits) -> int:
    """Return into how many segments a table is cut."""
    wanted = math.ceil(max(settings.size_bytes / _SEGMENT_BYTES, settings.item_count / _SEGMENT_ITEMS))
    return limits.segments or min(max(wanted, _FEWEST_SEGMENTS), _MOST_SEGMENTS)


async def _described(table: Table) -> TableDescription:
    settings = table.settings
    return TableDescription(
        name=settings.name,
        arn=settings.arn,
        create=await table.description(),
        ttl_attribute=settings.ttl_attribute,
    )


@dataclass(slots=True)
class _Dump:
    """One run: what it dumps, where to, and how far it is.

    Attributes:
        segments: what it is to dump.
        before: what runs before this one have done; with zeros for the first.
        whole: the manifests of segments that are whole, those of a run before this one first.
    """

    table: Table
    place: Storage
    form: Form
    segments: list[Segment]
    description: TableDescription
    clock: Clock
    observer: Observer
    job: Job | None
    before: Done
    is_resumed: bool
    whole: list[SegmentManifest]
    report: BackupReport
    _skipped: int = 0
    _started: float = 0.0

    def start(self, notes: Sequence[str]) -> None:
        """Tell the observer that the run begins."""
        self._started = self.clock.monotonic() - self.before.seconds
        self._skipped = len(self.whole)
        self.report.skipped = sum(each.items for each in self.whole)
        self.report.skipped_bytes = sum(each.stored_bytes for each in self.whole)
        self.observer.notice(BackupStarted(self.report))
        for note in notes:
            self._note(note)
        if not self.table.settings.ttl_known:
            self._note(
                "The credentials may not read the table's TTL settings: the backup does not tell them."
            )

    async def run(self) -> None:
        """Dump the segments that are not there yet, and write what says that the dump is whole."""
        there = {each.segment for each in self.whole}
        waiting = [each for each in self.segments if each.index not in there]
        share = len(self.segments) / self.before.total
        self.observer.notice(PassStarted("backup", round(self.table.settings.item_count * share) or None))
        if self.report.skipped:
            self._advance(self.report.skipped)
        if self.is_resumed:
            await self._forget_uploads(waiting)
        await self.form.begin(self.place)
        if len(waiting) > _OPEN_AT_ONCE:  # neighbours are likely to lie in one partition
            random.Random(len(waiting)).shuffle(waiting)
        async with stages.mapped(stream.iterate(waiting), self._dump, _OPEN_AT_ONCE).stream() as dumped:
            async for _ in dumped:
                await self.save()
        await self._conclude()
        self.observer.notice(PassEnded("backup"))

    async def _forget_uploads(self, segments: Sequence[Segment]) -> None:
        """Take back what a process that was killed has sent of these segments, and nobody sees."""
        names = [self.form.object_name(each.index) for each in segments]
        try:
            forgotten = await self.place.forget_uploads(names)
        except PermissionDeniedError as error:
            self._note(f"What a run before this one left unfinished is left to the bucket's rules: {error}")
            return
        if forgotten:
            self._note(f"What a run before this one left unfinished was removed: {forgotten:,} uploads.")

    async def _dump(self, segment: Segment) -> None:
        """Dump one segment; its object is whole before its manifest is there."""
        begun = timestamp(self.clock.now())
        deflater = Deflater(md5=self.form.needs_md5)
        name = self.form.object_name(segment.index)
        async with self.place.upload(name, if_absent=not self.is_resumed) as upload:
            items = await self._write(upload, segment, deflater)
        manifest = SegmentManifest(
            job=self.before.jobid,
            segment=segment.index,
            segments=segment.total,
            items=items,
            bytes=deflater.bytes,
            stored_bytes=deflater.stored_bytes,
            sha256=deflater.sha256,
            md5=deflater.md5 or msgspec.UNSET,
            begun=begun,
            ended=timestamp(self.clock.now()),
            table=self.description,
        )
        await to_its_end(self._finish(manifest), _FAREWELL_SECONDS)

    async def _finish(self, manifest: SegmentManifest) -> None:
        """Say that a segment is whole, now that it is."""
        # Without a condition: only one process has made the object, and this one knows what it holds.
        await self.place.put(self.form.manifest_name(manifest.segment), manifest_bytes(manifest))
        self.whole.append(manifest)
        self.report.objects += 1

    async def _write(self, upload: Upload, segment: Segment, deflater: Deflater) -> int:
        """Write the items of a segment and return how many they are."""
        items = 0
        async with aclosing(cast("AsyncGenerator[Page, None]", self.table.pages(segment))) as pages:
            async for page in pages:
                number, data = len(page.images), self._deflated(page, deflater)
                del page  # large, and not needed while the next one is waited for
                items += number
                self._advance(number)
                await self._store(upload, data)
        await self._store(upload, deflater.finish())
        return items

    def _deflated(self, page: Page, deflater: Deflater) -> bytes:
        lines = self.form.lines(page.images)
        self.report.items += len(page.images)
        self.report.bytes += len(lines)
        return deflater.add(lines)

    async def _store(self, upload: Upload, data: bytes) -> None:
        if data:
            await upload.write(data)
            self.report.stored_bytes += len(data)

    async def _conclude(self) -> None:
        """Write the manifest of the dump once all of its segments are whole, whoever has dumped them."""
        total, whole = self.before.total, self.whole
        sizes = {entry.name: entry.size async for entry in self.place.entries()}
        if len(whole) < total:
            there = {index for name in sizes if (index := self.form.segment_of(name)) is not None}
            if len(there) < total:
                self._note(
                    f"So far the dump has {len(there):,} of its {total:,} segments; the last adds its manifest."
                )
                return
            whole = await read_manifests(self.place, self.form, there)
        await check_objects(self.place, self.form, whole, sizes)
        await self.form.conclude(self.place, whole, self.table.label)

    def _note(self, message: str) -> None:
        self.observer.notice(Note(message))

    def _advance(self, items: int) -> None:
        self._tally()
        self.observer.notice(Advanced("backup", items))

    def _tally(self) -> None:
        report, meter, before = self.report, self.table.meter, self.before
        report.read_units = before.read_units + meter.read_units
        report.cost_usd = before.cost_usd + meter.dollars
        report.throttled = before.throttled + meter.throttled
        report.slowed_to = meter.slowed_to
        report.seconds = self.clock.monotonic() - self._started

    def close(self) -> None:
        """Bring the report up to date for good: what it counts are whole segments."""
        self._tally()
        dumped = self.whole[self._skipped :]
        self.report.items = sum(each.items for each in dumped)
        self.report.bytes = sum(each.bytes for each in dumped)
        self.report.stored_bytes = sum(each.stored_bytes for each in dumped)

    async def save(self, *, done: bool = False, last: bool = False) -> None:
        """Save how far the run is, if a job is kept of it."""
        if self.job is None:
            return
        self._tally()
        report = self.report
        work = Done(
            jobid=self.before.jobid,
            total=self.before.total,
            segments=len(self.segments),
            segments_done=len(self.whole),
            items=sum(each.items for each in self.whole),
            table_id=self.table.settings.table_id,
            read_units=report.read_units,
            cost_usd=report.cost_usd,
            throttled=report.throttled,
            seconds=report.seconds,
        )
        await self.job.save_work(msgspec.to_builtins(work), done=done, last=last)


@asynccontextmanager
async def _whole(dump: _Dump) -> AsyncIterator[None]:
    """Mark the report complete if the block ends well; carry it in the error if it does not."""
    try:
        yield
        dump.report.complete = True
    except AsyncrepError as error:
        raise IncompleteBackupError(str(error), dump.report) from error
    finally:
        dump.close()


@asynccontextmanager
async def _kept(dump: _Dump) -> AsyncIterator[None]:
    """Keep a job up to date with a run: from its beginning, and however it ends."""
    await dump.save()
    try:
        yield
    except BaseException as ended_by:
        try:
            await dump.save(last=True)
        except AsyncrepError as error:
            if not isinstance(ended_by, JobError):  # that says it already
                dump.observer.notice(Note(f"How far the run came could not be saved: {error}"))
        raise
    await dump.save(done=True, last=True)
