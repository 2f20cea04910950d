"""How far a restore has come: which lines of which files are done, kept in its job."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from asyncrep.backup.folder_reading import FolderBackup
from asyncrep.backup.report import Refused
from asyncrep.errors import AsyncrepError, JobError, UsageError
from asyncrep.flow.tasks import beside
from asyncrep.progress import Note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.backup.reading import Backup, BackupFile
    from asyncrep.backup.report import RestoreReport
    from asyncrep.flow.clock import Clock
    from asyncrep.jobs.job import Job
    from asyncrep.progress import Observer

Unit = Literal["line", "file", "everything"]

_FIRST_SECONDS = 1.0
_SECONDS = 10.0
"""Between two saves, once the restore has gone on for a while."""

_COUNTS_OF_LINES = ("items", "bytes", "written", "deleted", "present", "failed")
_COUNTS = (*_COUNTS_OF_LINES, "read_units", "write_units", "cost_usd", "throttled", "seconds")


CREATING = "creating"
"""In the work of a job: since when it makes its table, in seconds since the epoch; nothing was restored yet."""


def creating_since(job: Job | None) -> float | None:
    """Return since when a job makes its table, in seconds since the epoch; None for one that does not.

    Raises:
        UsageError: the job is damaged.
    """
    work = None if job is None else job.work
    if work is None or CREATING not in work:
        return None
    since = work[CREATING]
    if not isinstance(since, int | float):
        raise UsageError("The job does not tell since when it makes its table.")
    return since


def restored(job: Job | None) -> dict[str, Any] | None:
    """Return what a job tells of the restore that it keeps; None where none was begun."""
    work = None if job is None else job.work
    return None if work is None or CREATING in work else work


class _Saved(msgspec.Struct):
    """What a job of a restore keeps.

    Attributes:
        backup: tells this backup from another one under its name.
        lines: by file, how many of its lines are done, from the first on.
        whole: files of which all are.
        counts: the report's.
        refused: the first items that were refused.
        items: told by ``jobs list``.
    """

    backup: str
    lines: dict[str, int]
    whole: list[str]
    counts: dict[str, int | float]
    refused: list[Refused]
    items: int = 0


class Done(NamedTuple):
    """What became of some lines of a file that follow each other."""

    items: int = 0
    bytes: int = 0
    written: int = 0
    deleted: int = 0
    present: int = 0
    refused: Sequence[Refused] = ()

    @property
    def failed(self) -> int:
        """How many could not be written."""
        return len(self.refused)


class Progress:
    """Knows which lines are done. Those of one file may be done in any order.

    What a run after this one will do again is not in the counts that are saved, so that nothing counts twice.

    Args:
        backup: what is restored.
        unit: what a run after this one goes on with. A line: in the middle of a file; a file: where the lines of one
            may be others next time; everything: it begins anew, and what is done shows in the table.
    """

    def __init__(self, backup: Backup, *, unit: Unit) -> None:
        self._source = backup
        self._backup = fingerprint(backup)
        self._unit = unit
        self._lines: dict[str, int] = {}
        self._ahead: dict[str, dict[int, tuple[int, Done]]] = {}
        self._held: dict[str, list[Done]] = {}
        self._ends: dict[str, int] = {}
        self._whole: set[str] = set()

    def go_on(self, work: dict[str, Any], report: RestoreReport) -> None:
        """Take over how far a run before this one came, and its counts.

        Raises:
            UsageError: the backup is another one by now, or the job is damaged.
        """
        try:
            saved = msgspec.convert(work, _Saved)
        except msgspec.ValidationError as error:
            raise UsageError(f"The job holds no restore that can be read: {error}.") from error
        if saved.backup != self._backup:
            raise UsageError(
                f"{report.source} is not what it was when the job was begun: its files are others."
            )
        self._whole = set(saved.whole)
        self._lines = {name: lines for name, lines in saved.lines.items() if name not in self._whole}
        for name in _COUNTS:
            kind = type(getattr(report, name))
            setattr(report, name, kind(saved.counts.get(name, 0)))
        report.refused = saved.refused

    def is_whole(self, file: BackupFile) -> bool:
        """Tell whether nothing of a file is left to do."""
        return file.name in self._whole

    def lines(self, file: BackupFile) -> int:
        """Return how many lines of a file are done, from the first on."""
        return self._lines.get(file.name, 0)

    def close(self, file: str, begin: int, end: int, done: Done) -> None:
        """Take note that the lines from ``begin`` to before ``end`` are done, the first being 0."""
        ahead = self._ahead.setdefault(file, {})
        ahead[begin] = end, done
        reached = self._lines.get(file, 0)
        while (further := ahead.pop(reached, None)) is not None:
            reached = further[0]
            if self._unit == "file":
                self._held.setdefault(file, []).append(further[1])
        self._lines[file] = reached
        self._settle(file)

    def read(self, file: str, lines: int) -> None:
        """Take note that a file has so many lines, and no more."""
        self._ends[file] = lines
        self._lines.setdefault(file, 0)
        self._settle(file)

    def _settle(self, file: str) -> None:
        if self._lines[file] == self._ends.get(file):
            self._whole.add(file)
            del self._lines[file], self._ends[file]
            self._ahead.pop(file, None)
            self._held.pop(file, None)

    def work(self, report: RestoreReport) -> dict[str, Any]:
        """Return what a job keeps."""
        again = [done for ahead in self._ahead.values() for _, done in ahead.values()]
        again += [done for held in self._held.values() for done in held]
        told_again = {refused for done in again for refused in done.refused}
        counts = {name: getattr(report, name) for name in _COUNTS}
        refused = [each for each in report.refused if each not in told_again]
        for name in _COUNTS_OF_LINES:
            counts[name] -= sum(getattr(done, name) for done in again)
        # Which objects of a folder do not count a run after this one would not know of the parts that it leaves out.
        begins_anew = isinstance(self._source, FolderBackup) and self._source.has_superseded
        if begins_anew or self._unit == "everything":
            counts |= dict.fromkeys(_COUNTS_OF_LINES, 0)
            refused = []
        lines = dict(self._lines) if self._unit == "line" else {}
        whole = [] if begins_anew else sorted(self._whole)
        saved = _Saved(self._backup, lines, whole, counts, refused, report.items)
        work: dict[str, Any] = msgspec.to_builtins(saved)
        return work


def fingerprint(backup: Backup) -> str:
    """Return what tells a backup from another one: its files and what they hold."""
    told = [
        [file.name]
        if backup.kind == "folder"
        else [file.name, file.size, file.sha256 or file.md5 or file.etag]
        for file in backup.files
    ]
    return hashlib.sha256(msgspec.json.encode([backup.kind, told])).hexdigest()


@asynccontextmanager
async def kept(
    progress: Progress, report: RestoreReport, job: Job | None, observer: Observer, clock: Clock
) -> AsyncIterator[None]:
    """Keep a job up to date with the restore that is made in the block; without a job do nothing.

    Raises:
        JobError: the state could not be saved; the restore ends there.
    """
    if job is None:
        yield
        return
    await job.save_work(progress.work(report))
    try:
        async with beside(_now_and_then(progress, report, job, clock)):
            yield
    except BaseException as error:
        await _save_after(error, progress, report, job, observer)
        raise
    await job.save_work(progress.work(report), done=True, last=True)


async def _save_after(
    ended_by: BaseException, progress: Progress, report: RestoreReport, job: Job, observer: Observer
) -> None:
    """Save how far a restore came that an error has ended; what this one meets with must not take its place."""
    try:
        await job.save_work(progress.work(report), last=True)
    except AsyncrepError as error:
        if not isinstance(ended_by, JobError):  # that says it already
            observer.notice(Note(f"How far the restore came could not be saved: {error}"))


async def _now_and_then(progress: Progress, report: RestoreReport, job: Job, clock: Clock) -> None:
    pause = _FIRST_SECONDS
    while True:
        await clock.sleep(pause)
        await job.save_work(progress.work(report))
        pause = min(2 * pause, _SECONDS)
