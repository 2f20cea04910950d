"""Changes: what a stream tells of one item, and what became of it at a destination."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChangeKind(StrEnum):
    """What happened to an item, in the words of DynamoDB Streams."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of one item.

    Attributes:
        key: the canonical key (``asyncrep.items.keys``).
        kind: what happened.
        sequence: its place in the order of all changes of this item: its SequenceNumber as a number.
        old: the image before; None when there was none, or when the stream's view does not hold it.
        new: the image after; None likewise.
        origin: the ARN of the table it happened in; empty where nobody told it.
        stream: the ARN of the stream that told of it, within which sequence numbers are comparable; likewise.
        created: about when, in whole seconds since the epoch: useless for order. None where untold.
        by_ttl: DynamoDB deleted the item because its TTL was past.
        overtaken: the destination may hold any state of the item by now, and ``old`` does not tell which.
        record: the whole record as it came, as JSON.
    """

    key: bytes
    kind: ChangeKind
    sequence: int
    old: bytes | None = None
    new: bytes | None = None
    origin: str = ""
    stream: str = ""
    created: float | None = None
    by_ttl: bool = False
    overtaken: bool = False
    record: bytes = field(default=b"{}", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record of a stream that no change can be made of.

    Attributes:
        sequence: its SequenceNumber, None when it has none.
        reason: one sentence.
        record: the whole record as it came, as JSON.
    """

    sequence: int | None
    reason: str
    record: bytes = field(default=b"{}", repr=False)


class Fate(StrEnum):
    """Why a change was not written."""

    SUPERSEDED = "superseded"
    """The destination holds this state or a newer one: nothing was to be written."""
    CONFLICT = "conflict"
    """Two different items of one version met, or a version was used again; settled as the reason says."""
    POISON = "poison"
    """It can never be written as it is: the destination calls it invalid."""
    FAILED = "failed"
    """It was not written this time; trying again may help."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A change that was not written to a destination as it came.

    Attributes:
        change: which.
        fate: whether that is as it should be.
        reason: one sentence; empty where the fate says it all.
    """

    change: Change
    fate: Fate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of some changes at one destination.

    Attributes:
        written: how many items were written or deleted.
        squashed: changes that a later one of the same item made superfluous, or that are not to be replicated.
            That is known only of a later one that did not fail, so no change is counted again when it comes again.
        unwritten: the others, in the order of the stream.
    """

    written: int = 0
    squashed: int = 0
    unwritten: Sequence[Unwritten] = ()

    def of(self, *fates: Fate) -> list[Unwritten]:
        """Return those of the unwritten that had one of these fates."""
        return [each for each in self.unwritten if each.fate in fates]


class Applier(Protocol):
    """Brings changes to one destination."""

    @property
    def label(self) -> str:
        """How people call the destination."""

    async def apply(self, changes: Sequence[Change]) -> Applied:
        """Apply changes that are in the order of their sequence numbers; durable when this returns.

        Changes of one item are applied in order; those of different items side by side. A change that
        cannot be applied keeps none of another item from it. After a failed change of an item its later
        ones are not applied either, and are failed as well, also those that seem to be poison. So are its
        earlier ones that were not written because of it: the failed one may yet turn out to be poison, and
        then one of them is to be written. Who applies again whatever has failed, in order, loses nothing.

        Raises:
            ServiceError: nothing can be applied at all: the destination is gone, or may not be written to.
        """
