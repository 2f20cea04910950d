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

    def fail(self, change: Change, before: Sequence[Change], reason: str) -> None:
        """Note a change that failed in passing, and those that only it would have made superfluous.

        They have to come again with it: when it turns out to be poison, one of them is to be written.
        """
        for each in (*before, change):
            self.add(each, Fate.FAILED, reason)

    def refuse(self, change: Change, before: Sequence[Change], error: ServiceError) -> bool:
        """Note a change that a service's error kept from being written; tell whether it is poison.

        Args:
            change: which.
            before: the changes of its item that it would have made superfluous; see ``fail``.
            error: what the service said.

        Raises:
            ServiceError: the error, when it says nothing of this change.
        """
        if isinstance(error, HOPELESS):
            raise error
        if isinstance(error, RejectedError):
            self.add(change, Fate.POISON, str(error))
            return True
        self.fail(change, before, str(error))
        return False

    def applied(self) -> Applied:
        """Return all of it, in the order of the stream.

        What is poison comes again after a failed change of its item: what refused it may be another later, and
        then the failed change must not be written after it.
        """
        ordered = sorted(self.unwritten, key=lambda each: each.change.sequence)
        failed: set[bytes] = set()
        for position, each in enumerate(ordered):
            if each.fate is Fate.FAILED:
                failed.add(each.change.key)
            elif each.fate is Fate.POISON and each.change.key in failed:
                ordered[position] = Unwritten(each.change, Fate.FAILED, each.reason)
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
