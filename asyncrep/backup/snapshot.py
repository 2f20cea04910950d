"""Makes one file of an incremental folder: all of its items, a line each, in the order of their objects' names.

    PREFIX/NAME                   gzip, one compact wire-JSON item a line
    PREFIX/NAME.manifest.json     written when that object is whole

or the layout of AWS's own exports. Two snapshots of the same objects are the same bytes.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from asyncrep.backup.export import Export
from asyncrep.backup.layout import (
    MANIFEST,
    SEGMENT,
    DumpManifest,
    Part,
    SegmentManifest,
    TableDescription,
    manifest_bytes,
)
from asyncrep.backup.lines import Deflater, compact_lines, export_lines
from asyncrep.backup.object_naming import OBJECT_NAME
from asyncrep.backup.report import BackupReport
from asyncrep.errors import AsyncrepError, IncompleteBackupError, PermissionDeniedError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.entries import timestamp
from asyncrep.progress import Advanced, BackupStarted, Note, PassEnded, PassStarted, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.backup.folder_reading import FolderBackup, Held
    from asyncrep.backup.report import BackupFormat
    from asyncrep.flow.clock import Clock
    from asyncrep.progress import Observer
    from asyncrep.storage import Storage, Upload

NAMED = 10
"""Objects without an item that are named; all are counted."""

_TRIES = 3
"""How often the folder is read, when it turns out that a record has two objects: twice, unless others keep writing."""


async def snapshot(
    folder: FolderBackup,
    storage: Storage,
    name: str = "",
    *,
    format: BackupFormat = "jsonl",
    kms_key: str | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> BackupReport:
    """Write all items of an incremental folder into one file.

    What is there under the name is replaced, once the new one is whole; a folder that has objects without an item
    makes none. Objects that go while it runs are left out, those that come may be.

    Args:
        folder: what is read, as it is or was.
        storage: where to.
        name: of the file in it; an export has names of its own.
        format: JSON lines, or the layout of AWS's own exports.
        kms_key: what encrypts an export; its manifest tells.
        observer: is told how the run goes.
        clock: where time comes from.

    Raises:
        UsageError: the name would look like something else.
        BackupError: nothing had been recorded at the moment that the folder is read as of.
        IncompleteBackupError: it ended early, or there are objects without an item; nothing was written.
    """
    clock = clock or SystemClock()
    export = Export(None, kms_key) if format == "export" else None
    job_id = export.new_job_id(clock.now()) if export is not None else None
    if export is not None and job_id is not None:
        storage, name = storage.under(export.folder(job_id)), export.object_name(0)
    else:
        check_name(name)
    destination = storage.label if export is not None else storage.name_of(name)
    report = BackupReport(source=folder.label, destination=destination, format=format, job_id=job_id)
    run = _Run(folder, storage, name, export, report, observer or Silent(), clock)
    try:
        await run.run()
    except UsageError:
        raise
    except AsyncrepError as error:
        raise IncompleteBackupError(str(error), report) from error
    finally:
        run.tally()
    return report


def check_name(name: str) -> None:
    """Refuse a name that would make a file look like a part of another kind of backup.

    Raises:
        UsageError: with one sentence.
    """
    if not name:
        raise UsageError(
            "The destination of a snapshot is one file: it needs a name, as s3://BUCKET/PREFIX/NAME."
        )
    if SEGMENT.fullmatch(name) or OBJECT_NAME.fullmatch(name) or name.endswith(MANIFEST):
        raise UsageError(
            f'"{name}" cannot name a snapshot: it would look like a part of another backup. Give another name, as '
            f"{name}.json.gz."
        )


class _LateError(AsyncrepError):
    """An object was met that takes the place of one that is written already."""


@dataclass(slots=True)
class _Run:
    """One snapshot that is being made."""

    folder: FolderBackup
    storage: Storage
    name: str
    export: Export | None
    report: BackupReport
    observer: Observer
    clock: Clock
    _problems: list[str] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)
    _started: float = 0.0

    async def run(self) -> None:
        """Write the file, and then what says that it is whole."""
        self._started = self.clock.monotonic()
        self.observer.notice(BackupStarted(self.report))
        self._tell_notes()
        begun = timestamp(self.clock.now())
        deflater = await self._write()
        await self._conclude(deflater, begun)
        self.report.objects = 1
        self.report.complete = True
        self.observer.notice(PassEnded("snapshot"))
        self._tell_notes()

    async def _write(self) -> Deflater:
        """Write the file; again, if it turned out that an object in it does not count."""
        for _ in range(_TRIES):
            self.report.items = self.report.bytes = self.report.stored_bytes = self.report.failed = 0
            self._problems.clear()
            self.observer.notice(PassStarted("snapshot", self.folder.estimate))
            with suppress(_LateError):
                return await self._write_once()
        raise AsyncrepError(
            f"Records of {self.folder.label} have two objects, named by the key's attributes in two orders, and both "
            "keep changing: two tools write to it."
        )

    async def _write_once(self) -> Deflater:
        deflater = Deflater(md5=self.export is not None)
        async with self.storage.upload(self.name) as upload:
            async with aclosing(self.folder.everything()) as batches:
                async for batch in batches:
                    await self._store(upload, deflater.add(self._lines(batch)))
                    self.report.bytes = deflater.bytes
            await self._store(upload, deflater.finish())
            self._check()
            await self._prepare()
        return deflater

    def _lines(self, batch: Sequence[Held]) -> bytes:
        """Return the items of a batch as lines; note what is none."""
        images = []
        for held in batch:
            if held.problem is None:
                images.append(held.image)
                continue
            self.report.failed += 1
            if len(self._problems) < NAMED:
                problem = f"{self.folder.name_of(held)}: {held.problem}"
                self._problems.append(problem)
                self._note(problem)
        self.report.items += len(images)
        self.tally()
        self.observer.notice(Advanced("snapshot", len(batch)))
        return compact_lines(images) if self.export is None else export_lines(images)

    async def _store(self, upload: Upload, data: bytes) -> None:
        if data:
            await upload.write(data)
            self.report.stored_bytes += len(data)

    def _check(self) -> None:
        """Refuse to make a file of what was read.

        Raises:
            AsyncrepError: there were objects without an item.
        """
        if self.report.failed:
            are = "object is no item" if self.report.failed == 1 else "objects are no items"
            raise AsyncrepError(
                f"{self.report.failed:,} {are} of {self.folder.label}, so that nothing was written. "
                f"{'It' if self.report.failed == 1 else 'The first'} is {self._problems[0]}"
            )
        if self.folder.late:
            raise _LateError

    async def _prepare(self) -> None:
        """Write what comes before a file, and remove what would call it damaged: the manifest of the one before."""
        if self.export is not None:
            await self.export.begin(self.storage)
        elif await self.storage.head(self._manifest_name) is not None:
            with suppress(PermissionDeniedError):
                await self.storage.delete(self._manifest_name)

    async def _conclude(self, deflater: Deflater, begun: str) -> None:
        ended = timestamp(self.clock.now())
        if self.export is not None:
            await self.export.conclude(
                self.storage, [self._segment(deflater, begun, ended)], self.folder.label
            )
            return
        part = Part(
            name=self.name,
            items=self.report.items,
            bytes=deflater.bytes,
            stored_bytes=deflater.stored_bytes,
            sha256=deflater.sha256,
        )
        manifest = DumpManifest(
            job=self.name,
            parts=[part],
            items=part.items,
            bytes=part.bytes,
            stored_bytes=part.stored_bytes,
            begun=begun,
            ended=ended,
            at=self._at,
            source=self.folder.label,
        )
        await self.storage.put(self._manifest_name, manifest_bytes(manifest))

    def _segment(self, deflater: Deflater, begun: str, ended: str) -> SegmentManifest:
        """Return the only segment of an export, which describes no table: nobody has been asked for it."""
        return SegmentManifest(
            job=self.report.job_id or "",
            segment=0,
            segments=1,
            items=self.report.items,
            bytes=deflater.bytes,
            stored_bytes=deflater.stored_bytes,
            sha256=deflater.sha256,
            md5=deflater.md5 or msgspec.UNSET,
            begun=begun,
            ended=ended,
            at=self._at,
            table=TableDescription(name="", create={}),
        )

    @property
    def _at(self) -> str | msgspec.UnsetType:
        return msgspec.UNSET if self.folder.as_of is None else timestamp(self.folder.as_of)

    @property
    def _manifest_name(self) -> str:
        return f"{self.name}.{MANIFEST}"

    def _tell_notes(self) -> None:
        """Tell what is known of the folder; more of it is once it was read."""
        for note in self.folder.notes:
            if note not in self._told:
                self._told.add(note)
                self._note(note)

    def _note(self, message: str) -> None:
        self.observer.notice(Note(message))

    def tally(self) -> None:
        """Bring the report up to date."""
        self.report.seconds = self.clock.monotonic() - self._started
