"""What a journal tells of one record: the writes to it, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrep.errors import UsageError
from asyncrep.jobs.entries import Damaged, Header, Intent, Settled
from asyncrep.jobs.history import read_journal
from asyncrep.mutation import Delete, Patch, Put

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.model import Source
    from asyncrep.options import S3Access


@dataclass(frozen=True, slots=True)
class PastWrite:
    """One write to a record that a journal tells of.

    Attributes:
        at: when it was about to be sent, ISO 8601 in UTC.
        deed: ``put``, ``patch`` or ``delete``.
        names: the attributes that a patch set or removed.
        cause: the likely cause of the discrepancy it was to mend, where that was noted.
        undoing: an undo wrote it, not a repair.
        applied: None when whether it landed is not known.
        error: why it was not applied, or why that is not known; None for a condition that did not hold.
    """

    at: str
    deed: str
    names: list[str]
    cause: str | None
    undoing: bool
    applied: bool | None
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as an object for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Past:
    """What a journal tells of one record.

    Attributes:
        writes: in the order of the journal.
        damaged: lines that cannot be read, and may tell more.
    """

    writes: list[PastWrite]
    damaged: int


async def read_past(journal: str | Path, replica: Source, key: bytes, access: S3Access | None = None) -> Past:
    """Read what a journal tells of one record of ``replica``; ``access`` is how S3 is reached.

    Raises:
        UsageError: there is no such journal, or it is of another table.
        ServiceError: it is in S3 and could not be read.
    """
    intents: dict[tuple[str, int], Intent] = {}
    settled: dict[tuple[str, int], Settled] = {}
    damaged, undoing = 0, False
    async with read_journal(journal, access=access) as records:
        async for record in records:
            match record:
                case Header():
                    _check_table(record, replica, journal)
                    undoing = record.undoes is not None
                case Intent() if record.key == key:
                    intents[record.by, record.n] = record
                case Settled() if (record.by, record.n) in intents:
                    settled[record.by, record.n] = record
                case Damaged():
                    damaged += 1
                case _:
                    pass
    return Past([_write(intent, settled.get(id), undoing=undoing) for id, intent in intents.items()], damaged)


def _check_table(header: Header, replica: Source, journal: str | Path) -> None:
    written, meant = header.replica.arn, replica.settings.arn
    if written and meant and written != meant:
        raise UsageError(
            f"The journal {journal} is about {header.replica.location}, and not about {replica.label}."
        )


def _write(intent: Intent, settled: Settled | None, *, undoing: bool) -> PastWrite:
    deed, names = "delete", list[str]()
    match intent.mutation:
        case Put():
            deed = "put"
        case Patch(_, assign, remove, _):
            deed, names = "patch", [*assign, *remove]
        case Delete():
            pass
    return PastWrite(
        at=intent.at,
        deed=deed,
        names=names,
        cause=intent.cause,
        undoing=undoing,
        applied=None if settled is None else settled.applied,
        error=None if settled is None else settled.error,
    )
