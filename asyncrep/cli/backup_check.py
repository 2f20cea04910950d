"""Runs a check of a backup, for ``diff-backup`` and for ``restore --dry-run``: told like one of ``diff-tables``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asyncrep.cli.checking import Checking
from asyncrep.cli.words import BACKUP_AND_TABLE, TWO_BACKUPS
from asyncrep.progress import Advanced, Note, PassEnded, PassStarted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from rich.console import Console

    from asyncrep.aws.place import Place
    from asyncrep.backup.reading import Backup
    from asyncrep.options import Comparison, Limits, S3Access
    from asyncrep.progress import Event, Observer, PassName
    from asyncrep.report import Report

_TO_TABLE: Mapping[PassName, PassName] = {"primary": "backup", "replica": "table"}
_TO_BACKUP: Mapping[PassName, PassName] = {"primary": "first", "replica": "second"}


@dataclass(frozen=True, slots=True)
class BackupPlace:
    """A backup and how to reach it.

    Attributes:
        text: where it is, as the user wrote it; ``-`` is standard input.
        access: how S3 is reached.
        at: the moment whose state of an incremental folder is meant, in seconds since the epoch; None for now.
    """

    text: str
    access: S3Access
    at: float | None = None

    def open(self, table_name: str | None = None) -> AbstractAsyncContextManager[Backup]:
        """Open it; raises what ``open_backup`` raises."""
        from asyncrep.backup.opening import open_backup  # noqa: PLC0415 - commands start without the AWS libraries

        return open_backup(self.text, self.access, table_name=table_name, at=self.at)


class BackupCheck(Checking):
    """One check of a backup against a table, or against another backup.

    Args:
        backup: what is held against the other.
        other: the table, or the other backup.
        limits: how hard the run may push.
        comparison: when two items count as the same.
        key: the names of the key's attributes, where the user gives them.
        notes: what the user should know before it begins.
    """

    def __init__(
        self,
        backup: BackupPlace,
        other: Place | BackupPlace,
        limits: Limits,
        comparison: Comparison,
        *,
        key: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(comparison.ignore)
        self._backup = backup
        self._other = other
        self._limits = limits
        self._comparison = comparison
        self._key = key
        self._notes = notes

    async def _work(self, observer: Observer) -> None:
        for note in self._notes:
            observer.notice(Note(note))
        if isinstance(self._other, BackupPlace):
            await self._between_backups(self._other, observer)
        else:
            await self._against_table(self._other, observer)

    async def _against_table(self, place: Place, observer: Observer) -> None:
        from asyncrep.backup.check import diff_backup  # noqa: PLC0415

        async with place.open() as table, self._backup.open(table.settings.name) as backup:
            await diff_backup(
                backup,
                table,
                limits=self._limits,
                comparison=self._comparison,
                observer=_Renaming(observer, _TO_TABLE),
            )

    async def _between_backups(self, place: BackupPlace, observer: Observer) -> None:
        from asyncrep.backup.check import diff_backup  # noqa: PLC0415
        from asyncrep.backup.key_finding import find_schema  # noqa: PLC0415

        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(self._backup.open())
            second = await stack.enter_async_context(place.open())
            await diff_backup(
                first,
                second,
                schema=await find_schema([first, second], self._key),
                limits=self._limits,
                comparison=self._comparison,
                observer=_Renaming(observer, _TO_BACKUP),
            )

    def _summarize(self, console: Console, report: Report) -> None:
        from asyncrep.cli.render import show_summary  # noqa: PLC0415

        words = TWO_BACKUPS if isinstance(self._other, BackupPlace) else BACKUP_AND_TABLE
        if not report.missing and not report.different:
            words = replace(words, advice=".")  # a restore deletes nothing
        show_summary(console, report, self._shown, self._ignored, repairing=False, words=words)


class _Renaming:
    """Calls the passes over both sides what they are to people."""

    def __init__(self, observer: Observer, names: Mapping[PassName, PassName]) -> None:
        self._observer = observer
        self._names = names

    def notice(self, event: Event) -> None:
        """Pass an event on."""
        if isinstance(event, PassStarted | Advanced | PassEnded):
            event = replace(event, name=self._names.get(event.name, event.name))
        self._observer.notice(event)
