"""What a repair may do, where it may write, and how records are concluded that it does nothing about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrep.errors import (
    BucketNotFoundError,
    BudgetExhaustedError,
    CredentialsError,
    JournalError,
    PermissionDeniedError,
    StorageError,
    TableNotFoundError,
    UsageError,
)
from asyncrep.model import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.diff.run import Run
    from asyncrep.model import Destination, Discrepancy, Source

ENDS_THE_RUN = (
    BucketNotFoundError,
    BudgetExhaustedError,
    CredentialsError,
    JournalError,
    PermissionDeniedError,
    StorageError,
    TableNotFoundError,
)
"""What fails every record alike."""

_DEED = {"missing": "put", "different": "patched", "extraneous": "deleted"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a repair may do.

    Attributes:
        delete_extraneous: delete what the primary has not; otherwise such items are only reported.
        max_delete: stop before the deletion after this many; also the explicit word that deleting more
            than half of the replica is meant.
        dry_run: write nothing and report what would be done.
        force: repair even a member of a global table, to whose other members every write is copied.
    """

    delete_extraneous: bool = True
    max_delete: int | None = None
    dry_run: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.max_delete is not None and self.max_delete < 0:
            raise UsageError(f"The most items to delete must be zero or more, not {self.max_delete}.")


async def check_writable(primary: Source, replica: Destination, *, force: bool) -> list[str]:
    """Refuse to write where writing would not do what is meant; return what could not be checked.

    Raises:
        UsageError: both are (unless forced) members of one global table.
        ServiceError: whether they are could not be found out.
    """
    if force:
        return []
    copies = await replica.copies_to(primary)
    if copies:
        raise UsageError(
            f"{replica.label} and {primary.label} are members of one global table: DynamoDB copies what is written "
            "to the one to the other itself. If that is meant, force it (--force-global-table)."
        )
    if copies is None:
        return ["The credentials may not ask for global tables of version 2017.11.29; none is assumed."]
    return []


def conclude_harmless(run: Run[Destination], batch: Sequence[Discrepancy]) -> list[Discrepancy]:
    """Conclude what is in flight or expired; return the rest, which is drift."""
    drift = []
    for found in batch:
        if found.state is State.FOUND:
            drift.append(found)
        else:
            run.conclude(found)
    return drift


def conclude_dry(run: Run[Destination], batch: Sequence[Discrepancy]) -> None:
    """Conclude drift as found, and say what would be done about it."""
    for found in batch:
        run.conclude(found.moved(State.FOUND, f"Dry run: it would be {_DEED[found.kind]}."))
