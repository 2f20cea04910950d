"""Applies some records of a stream at one destination, as far as the time allows, and says what is left."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.change import Change, Fate, Unreadable, Unwritten
from asyncrep.errors import ServiceError, UsageError
from asyncrep.flow.tasks import side_by_side
from asyncrep.replicate.records import read_decoded_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asyncrep.change import Applied, Applier
    from asyncrep.items.keys import KeyReader
    from asyncrep.replicate.dead_letters import DeadLetters

_FIRST_GROUP = 25
_LARGEST_GROUP = 1000
_QUICK_SECONDS = 1.0
"""A group that takes less is followed by a larger one. What a slow destination has taken is then known early."""

_LETTERS_AT_ONCE = 16

OUT_OF_TIME = "The time was up before it was applied."
_NOT_TRIED = "It was not tried, as a record before it failed."

_NOTHING = b"{}"
"""The record of what could not even be written as JSON."""


class Failure(NamedTuple):
    """A record that was not applied and has to come again.

    Attributes:
        identifier: its SequenceNumber as it came, None when it has none.
        sequence: the same as a number.
        reason: one sentence.
    """

    identifier: str | None
    sequence: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Replicated:
    """What became of some records.

    Attributes:
        records: how many there were.
        written: items that were written or deleted.
        squashed: records that a later one of the same item made superfluous, or that are not to be replicated.
        superseded: records whose state, or a newer one, the destination had already.
        conflicts: two different items of one version met; settled as the reason says.
        dead_letters: records that can never be applied, and are kept for people to look at.
        failed: records that have to come again.
        out_of_time: some failed only because the time was up.
    """

    records: int = 0
    written: int = 0
    squashed: int = 0
    superseded: int = 0
    conflicts: Sequence[Unwritten] = ()
    dead_letters: int = 0
    failed: Sequence[Failure] = ()
    out_of_time: bool = False

    def __add__(self, other: Replicated) -> Replicated:
        """Add up what became of the records of two destinations."""
        return Replicated(
            self.records + other.records,
            self.written + other.written,
            self.squashed + other.squashed,
            self.superseded + other.superseded,
            (*self.conflicts, *other.conflicts),
            self.dead_letters + other.dead_letters,
            (*self.failed, *other.failed),
            self.out_of_time or other.out_of_time,
        )

    @property
    def first_failed(self) -> Failure | None:
        """The failed record that comes first in the stream; one without a place in it comes before all others."""
        return min(
            self.failed,
            key=lambda failure: -1 if failure.sequence is None else failure.sequence,
            default=None,
        )


async def replicate_records(
    records: Sequence[Mapping[str, Any]],
    applier: Applier,
    keys: KeyReader,
    *,
    dead_letters: DeadLetters | None = None,
    seconds: float | None = None,
) -> Replicated:
    """Apply the records of one stream, in their order, as ``asyncrep.handlers.replicate_handler`` does.

    They are applied in groups, one after the other. A group with a record that failed is the last one that
    is tried, so that no item gets a later change before an earlier one. When the time is up what is under
    way is cancelled and waited for: nothing goes on when this returns, and all of its group has failed.

    Args:
        records: as Lambda hands them on, or as boto's ``get_records`` answers them.
        applier: the destination, under one of the policies.
        keys: reads keys by the destination's schema (``Table.keys``), which must be the source's.
        dead_letters: where records go that can never be applied; without it, they have failed.
        seconds: how long this may take, None for as long as it takes.

    Raises:
        UsageError: the records have another key than the destination.
        ServiceError: nothing can be applied at all: the destination is gone, or may not be written to.

    Example:
        >>> async with open_table("eu-west-1/orders") as replica:
        ...     done = await replicate_records(event["Records"], OneWay(replica), replica.keys)
        ...     print(done.written, "written,", len(done.failed), "to be tried again")
    """
    read = [_read(record, keys) for record in records]
    _check_keys(read, keys, applier.label)
    until = None if seconds is None else asyncio.get_running_loop().time() + seconds
    work = _Work(applier, dead_letters, until)
    for group in work.groups(read):
        await work.apply(group)
    return work.done


class _Read(NamedTuple):
    """A record, and what could be read of it."""

    identifier: str | None
    record: Change | Unreadable
    key_names: frozenset[str] | None

    def failed(self, reason: str) -> Failure:
        return Failure(self.identifier, self.record.sequence, reason)


def _read(record: Mapping[str, Any], keys: KeyReader) -> _Read:
    read = read_decoded_record(record, keys)
    if isinstance(read, Unreadable) and read.record == _NOTHING:
        # Half a surrogate pair, which DynamoDB never stores: whoever reads the letter is to see it.
        read = replace(read, record=json.dumps(record, default=str).encode())
    members = _members(record)
    key = members.get("Keys")
    identifier = None if read.sequence is None else str(members.get("SequenceNumber"))
    return _Read(identifier, read, frozenset(key) if isinstance(key, dict) else None)


def unread_failure(record: Any, reason: str) -> Failure:
    """Return the failure of a record that there was no time, or no way, to read."""
    given = _members(record).get("SequenceNumber")
    text = "" if given is None else str(given)
    sequence = int(text) if text.isascii() and text.isdigit() else None
    return Failure(None if sequence is None else text, sequence, reason)


def _members(record: Any) -> dict[str, Any]:
    images = record.get("dynamodb") if isinstance(record, dict) else None
    return images if isinstance(images, dict) else {}


def _check_keys(read: Sequence[_Read], keys: KeyReader, label: str) -> None:
    """Refuse to take all records for odd ones when it is the destination that does not fit.

    Raises:
        UsageError: no record has the destination's key, and some have another one.
    """
    wanted = frozenset(attribute.name for attribute in keys.schema.attributes)
    others = [each.key_names for each in read if each.key_names is not None and each.key_names != wanted]
    if others and not any(each.key_names == wanted for each in read):
        raise UsageError(
            f"{label} has the key {keys.schema}, and the records have another: {', '.join(sorted(others[0]))}."
        )


@dataclass(slots=True)
class _Work:
    """What was done so far, and until when more may be begun."""

    applier: Applier
    dead_letters: DeadLetters | None
    until: float | None
    done: Replicated = field(default_factory=Replicated)
    stopped: str = ""
    size: int = _FIRST_GROUP

    def groups(self, read: Sequence[_Read]) -> Iterator[Sequence[_Read]]:
        """Cut the records into groups, as large as the last one was quick."""
        start = 0
        while start < len(read):
            group = read[start : start + self.size]
            start += len(group)
            yield group

    async def apply(self, group: Sequence[_Read]) -> None:
        """Apply a group, or say why it was not."""
        if self.stopped:
            self._add(group, Replicated(failed=[each.failed(self.stopped) for each in group]))
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        limit = asyncio.timeout_at(self.until)
        try:
            async with limit:
                done = await self._applied(group)
        except TimeoutError:
            if not limit.expired():
                raise
            self.stopped = OUT_OF_TIME
            done = Replicated(failed=[each.failed(OUT_OF_TIME) for each in group], out_of_time=True)
        self._add(group, done)
        if loop.time() - begun < _QUICK_SECONDS:
            self.size = min(2 * self.size, _LARGEST_GROUP)

    def _add(self, group: Sequence[_Read], done: Replicated) -> None:
        self.done += replace(done, records=len(group))

    async def _applied(self, group: Sequence[_Read]) -> Replicated:
        by_record = {id(each.record): each for each in group}
        changes = [each.record for each in group if isinstance(each.record, Change)]
        odd = [(each, each.record.reason) for each in group if isinstance(each.record, Unreadable)]
        applied = await self.applier.apply(changes)
        poison = odd + [(by_record[id(each.change)], each.reason) for each in applied.of(Fate.POISON)]
        failed = [by_record[id(each.change)].failed(each.reason) for each in applied.of(Fate.FAILED)]
        if failed:
            self.stopped = _NOT_TRIED
        kept = await self._put_aside(poison)
        return replace(
            _counted(applied),
            dead_letters=len(poison) - len(kept),
            failed=failed + kept,
        )

    async def _put_aside(self, poison: Sequence[tuple[_Read, str]]) -> list[Failure]:
        """Keep records that can never be applied; return those for which there is no place."""
        slots = asyncio.Semaphore(_LETTERS_AT_ONCE)

        async def keep(read: _Read, reason: str) -> Failure | None:
            if self.dead_letters is None:
                return read.failed(reason)
            try:
                async with slots:
                    await self.dead_letters.keep(read.record, destination=self.applier.label, reason=reason)
            except ServiceError as error:
                return read.failed(f"{reason.rstrip('.')}. It could not be put aside: {error}")
            return None

        results = await side_by_side(keep(*each) for each in poison)
        return [failure for failure in results if failure is not None]


def _counted(applied: Applied) -> Replicated:
    return Replicated(
        written=applied.written,
        squashed=applied.squashed,
        superseded=len(applied.of(Fate.SUPERSEDED)),
        conflicts=applied.of(Fate.CONFLICT),
    )
