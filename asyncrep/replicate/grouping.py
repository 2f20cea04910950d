"""What the appliers share: groups of changes by item, side by side but not too many, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from asyncrep.change import Applied, Fate, Unwritten
from asyncrep.errors import (
    BucketNotFoundError,
    CredentialsError,
    PermissionDeniedError,
    RejectedError,
    TableNotFoundError,
)
from asyncrep.flow.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from asyncrep.change import Change
    from asyncrep.errors import ServiceError

T = TypeVar("T")

HOPELESS = (BucketNotFoundError, CredentialsError, PermissionDeniedError, TableNotFoundError)
"""Refusals that say nothing of a change: no other would be applied either."""

_MOST_TASKS = 100  # the table's Budget bounds the requests; this bounds what waits for them


@dataclass(slots=True)
class Tally:
    """Counts what became of changes at one destination."""

    written: int = 0
    squashed: int = 0
    unwritten: list[Unwritten] = field(default_factory=list)

    def add(self, change: Change, fate: Fate, reason: str = "") -> None:
        """Note a change that was not written as it came, or not without being told of."""
        self.unwritten.append(Unwritten(change, fate, reason))

    def refuse(self, change: Change, error: ServiceError) -> bool:
        """Note a change that a service's error kept from being written; tell whether it is poison.

        Raises:
            ServiceError: the error, when it says nothing of this change.
        """
        if isinstance(error, HOPELESS):
            raise error
        poison = isinstance(error, RejectedError)
        self.add(change, Fate.POISON if poison else Fate.FAILED, str(error))
        return poison

    def applied(self) -> Applied:
        """Return all of it, in the order of the stream."""
        ordered = sorted(self.unwritten, key=lambda each: each.change.sequence)
        return Applied(self.written, self.squashed, ordered)


def by_key(changes: Sequence[Change]) -> list[list[Change]]:
    """Return the changes of each item, in order."""
    groups: dict[bytes, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.key, []).append(change)
    return list(groups.values())


async def for_each(
    things: Sequence[T], work: Callable[[T], Awaitable[None]], *, at_once: int = _MOST_TASKS
) -> None:
    """Await ``work`` for each of the things, so many at once; an error ends all of it."""
    remaining: Iterator[T] = iter(things)

    async def some() -> None:
        for thing in remaining:
            await work(thing)

    await side_by_side(some() for _ in range(min(at_once, len(things))))
