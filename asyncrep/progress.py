"""What a run tells while it goes on: event values, and the protocol of whoever listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from asyncrep.backup.report import BackupReport, RestoreReport
    from asyncrep.model import Discrepancy
    from asyncrep.report import Report, UndoReport

PassName = Literal[
    "undo", "primary", "replica", "backfill", "repair", "delete",
    "backup", "snapshot", "check", "restore", "verify", "table", "first", "second",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins; ``report`` is the live one, its counts go on growing."""

    report: Report


@dataclass(frozen=True, slots=True)
class UndoStarted:
    """An undo begins; ``report`` is the live one."""

    report: UndoReport


@dataclass(frozen=True, slots=True)
class BackupStarted:
    """A backup, a snapshot or a restore begins; ``report`` is the live one."""

    report: BackupReport | RestoreReport


@dataclass(frozen=True, slots=True)
class PassStarted:
    """A walk over one table begins, or the repair of a stored diff, or the deletions that wait for all else.

    Attributes:
        name: the table that is walked, or what is done.
        estimate: about how many items it will see; None when nobody knows.
    """

    name: PassName
    estimate: int | None


@dataclass(frozen=True, slots=True)
class Advanced:
    """A page or batch of a pass is done with; ``items`` is how many records it held."""

    name: PassName
    items: int


@dataclass(frozen=True, slots=True)
class PassEnded:
    """A pass saw everything it was meant to see."""

    name: PassName


@dataclass(frozen=True, slots=True)
class Found:
    """A discrepancy reached its final state for this run."""

    discrepancy: Discrepancy


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know and that is no error, as one sentence."""

    message: str


Event = RunStarted | UndoStarted | BackupStarted | PassStarted | Advanced | PassEnded | Found | Note


class Observer(Protocol):
    """Listens to a run. Called synchronously on the event loop: be quick, and do not raise."""

    def notice(self, event: Event) -> None:
        """Take note of one event."""


class Silent:
    """The observer that does not care."""

    def notice(self, event: Event) -> None:
        """Do nothing."""
