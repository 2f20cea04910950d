"""The guard table: what a mirror knows of keys beside the items themselves, so that nothing old is written.

One table may serve many destinations of its Region and account. Its hash key ``id`` (S) is the name of the
destination and a SHA-256; ``table`` and ``key`` say for people what that stands for. For two-way mirrors a
row is the tombstone of a deleted item: ``version`` is the highest that was deleted. For sequence-guarded
ones a row is what was last applied: ``sequence``, as 40 digits, because a number has 38, and ``stream``, the
label of the stream that it is of. Rows of deleted items have ``expires``, by which the table's TTL takes them away; a stream can repeat 24 hours.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from asyncrep.aws.guard import Expressions
from asyncrep.aws.transact import Action
from asyncrep.errors import TableNotFoundError, UsageError
from asyncrep.location import TableRef
from asyncrep.model import KeyAttribute, KeySchema

if TYPE_CHECKING:
    from asyncrep.aws.beside import Neighbour
    from asyncrep.aws.table import Table
    from asyncrep.change import Change
    from asyncrep.flow.clock import Clock
    from asyncrep.model import TableSettings, WireValue

KEEP_SECONDS = 7 * 24 * 3600.0
"""How long the row of a deleted item is kept: far longer than the 24 hours that a stream can repeat."""

EXPIRES = "expires"
SCHEMA = KeySchema(KeyAttribute("id", "S"))

_SEQUENCE_DIGITS = 40
_encode = msgspec.json.Encoder().encode


class _Row(msgspec.Struct):
    sequence: dict[str, str] = {}
    stream: dict[str, str] = {}


_decode_row = msgspec.json.Decoder(_Row).decode


@dataclass(frozen=True, slots=True)
class GuardTable:
    """A guard table that has been checked; it is written in one transaction with the destination's items.

    Attributes:
        name: as requests name it, a name or an ARN.
        label: as its user named it.
        destination: the name of the table whose keys its rows stand for.
        clock: tells when rows expire.
        keep: for how many seconds the row of a deleted item is kept.
    """

    name: str
    label: str
    destination: str
    clock: Clock
    keep: float = KEEP_SECONDS

    def check_version(self, key: bytes, version: WireValue) -> Action:
        """Return the check that the item was not deleted at this version or a higher one."""
        made = Expressions()
        made.condition = _absent_or_lower(made, "version", version)
        return Action("ConditionCheck", self.name, self._row_key(key), made)

    def bury(self, key: bytes, version: WireValue) -> Action:
        """Return the update that notes a deletion, unless one of this version or a higher one is noted."""
        made = Expressions()
        made.condition = _absent_or_lower(made, "version", version)
        made.update = "SET " + _assignments(
            made, self._about(key) | {"version": version, EXPIRES: self._expiry()}
        )
        return Action("Update", self.name, self._row_key(key), made)

    def advance(self, change: Change, *, deleted: bool) -> Action:
        """Return the update that notes what is applied, unless the same or something later is noted.

        Numbers have an order within one stream. Of a table's streams the later one tells of what happened
        later; its label is the time at which it was made. A table that is made anew begins to count anew.

        Args:
            change: what is applied; other tables than the one it happened in have rows of their own.
            deleted: whether the item is deleted by it, so that the row may go in time.
        """
        made = Expressions()
        sequence = {"S": str(change.sequence).zfill(_SEQUENCE_DIGITS)}
        values = self._about(change.key) | {"sequence": sequence}
        label = change.stream.rpartition("/stream/")[2]
        if not label:
            made.condition = _absent_or_lower(made, "sequence", sequence)
        else:
            values["stream"] = {"S": label}
            name, stream, value = made.name("sequence"), made.name("stream"), made.value({"S": label})
            same_stream = f"(attribute_not_exists({stream}) OR {stream}={value})"
            made.condition = f"attribute_not_exists({name}) OR {stream}<{value} OR {same_stream} AND {name}<{made.value(sequence)}"
        if deleted:
            made.update = "SET " + _assignments(made, values | {EXPIRES: self._expiry()})
        else:
            made.update = f"SET {_assignments(made, values)} REMOVE {made.name(EXPIRES)}"
        return Action("Update", self.name, self._row_key(change.origin.encode() + b"\n" + change.key), made)

    def _about(self, key: bytes) -> dict[str, WireValue]:
        return {"table": {"S": self.destination}, "key": {"S": key.decode()}}

    def _expiry(self) -> WireValue:
        return {"N": str(int(self.clock.now() + self.keep))}

    def _row_key(self, subject: bytes) -> bytes:
        row = f"{self.destination}/{hashlib.sha256(subject).hexdigest()}"
        return _encode({SCHEMA.hash.name: {"S": row}})


def is_of(row: bytes, change: Change) -> bool:
    """Tell whether a row of a guard table notes this very change."""
    read = _decode_row(row)
    sequence, label = read.sequence.get("S", ""), read.stream.get("S", "")
    same_stream = not label or not change.stream or change.stream.endswith(f"/stream/{label}")
    return same_stream and sequence == str(change.sequence).zfill(_SEQUENCE_DIGITS)


def _absent_or_lower(made: Expressions, attribute: str, value: WireValue) -> str:
    name = made.name(attribute)
    return f"attribute_not_exists({name}) OR {name}<{made.value(value)}"


def _assignments(made: Expressions, values: dict[str, WireValue]) -> str:
    return ",".join(f"{made.name(name)}={made.value(value)}" for name, value in values.items())


# ── Finding and making one ──────────────────────────────────────────────────────────────────────────


async def open_guard_table(
    destination: Table, location: str, *, create: bool = False, keep: float = KEEP_SECONDS
) -> GuardTable:
    """Find a guard table, with the connection of the table that it guards, and check it.

    Args:
        destination: the open table that is written to.
        location: the guard table: its name alone, or a location in the destination's Region and account.
        create: make it (on demand, with TTL) when there is none, and switch its TTL on where it is off.
        keep: for how many seconds the row of a deleted item is kept.

    Raises:
        UsageError: it is elsewhere, its key is another, it has no TTL, or it is the destination itself.
        TableNotFoundError: there is none.
        ServiceError: it could not be looked at or made.
    """
    ref = guard_location(destination.ref, destination.region, location)
    neighbour = destination.beside(ref)
    settings = await _settings(neighbour, create=create)
    _check(destination, settings, ref)
    if create and settings.ttl_known and settings.ttl_attribute is None:
        await neighbour.expire_by(EXPIRES)
        settings = replace(settings, ttl_attribute=EXPIRES)
    if settings.ttl_known and settings.ttl_attribute is None:
        raise _without_ttl(ref)
    return GuardTable(ref.arn or ref.table, str(ref), destination.settings.name, destination.clock, keep)


async def check_guard_table(destination: Table, location: str) -> None:
    """See that a guard table, if there is one, is fit or can be made so. Nothing is written.

    One whose TTL is off may just be in the making by another worker.

    Raises:
        UsageError: it is elsewhere, its key or TTL is another, or it is the destination itself.
        ServiceError: it could not be looked at.
    """
    ref = guard_location(destination.ref, destination.region, location)
    with suppress(TableNotFoundError):
        _check(destination, await destination.beside(ref).settings(), ref)


def _check(destination: Table, settings: TableSettings, ref: TableRef) -> None:
    _refuse_elsewhere(destination, settings, ref)
    if settings.schema != SCHEMA:
        raise UsageError(
            f"The guard table {ref} must have the key {SCHEMA} and nothing else, not {settings.schema}."
        )
    if settings.ttl_known and settings.ttl_attribute not in {None, EXPIRES}:
        raise _without_ttl(ref)


def _without_ttl(ref: TableRef) -> UsageError:
    return UsageError(
        f'The guard table {ref} must have TTL on the attribute "{EXPIRES}", or it would only ever grow.'
    )


def guard_location(here: TableRef, region: str, location: str) -> TableRef:
    """Read the location of a guard table; a name alone is beside the destination.

    Args:
        here: where the destination is.
        region: the Region that its requests are signed for.
        location: what the user says.

    Raises:
        LocationError: it is of no known form.
        UsageError: it is elsewhere.
    """
    if "/" not in location and ":" not in location:
        location = f"{here.region or region}/{location}"
        return replace(TableRef.parse(location), region=here.region, endpoint_url=here.endpoint_url)
    ref = TableRef.parse(location)
    region_differs = ref.region is not None and ref.region != region
    endpoint_differs = ref.endpoint_url is not None and ref.endpoint_url != here.endpoint_url
    if region_differs or endpoint_differs:
        raise _elsewhere(str(here), ref)
    return replace(ref, endpoint_url=here.endpoint_url)


async def _settings(neighbour: Neighbour, *, create: bool) -> TableSettings:
    try:
        return await neighbour.settings()
    except TableNotFoundError:
        if not create:
            raise
    await neighbour.create(SCHEMA.hash)
    return await neighbour.settings()


def _refuse_elsewhere(destination: Table, settings: TableSettings, ref: TableRef) -> None:
    mine, its = destination.settings.arn, settings.arn
    if mine and mine == its:
        raise UsageError(f"The guard table of {destination.label} cannot be that table itself.")
    if mine and its and mine.split(":")[3:5] != its.split(":")[3:5]:
        raise _elsewhere(destination.label, ref)


def _elsewhere(destination: str, ref: TableRef) -> UsageError:
    return UsageError(
        f"The guard table {ref} must be in the Region and account of {destination}: both are written "
        "in one transaction, because no order of two separate writes is safe."
    )
