"""Makes a table as another one was described, and waits until it can be used."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.aws.capacity import Budget
from asyncrep.aws.client import WireClient
from asyncrep.aws.describe import key_schema_of
from asyncrep.aws.session import open_client
from asyncrep.errors import ServiceError, TableNotFoundError, UnreachableError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.options import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from asyncrep.aws.place import Place
    from asyncrep.flow.clock import Clock

_FIRST_LOOK_SECONDS = 0.5
_LOOK_SECONDS = 5.0
_PATIENCE_SECONDS = 1800.0
"""Tables with many indexes take minutes."""

_CLOCK_SECONDS = 300.0
"""By which the service's clock and ours may differ."""

_EXISTS = "ResourceInUseException"
_ACTIVE = frozenset({"ACTIVE", None})  # emulators may not tell


class Created(NamedTuple):
    """What became of the request for a table.

    Attributes:
        is_new: this call has made it; else it was there already, made since the moment that was told.
        notes: what is not as it was described, one sentence each.
    """

    is_new: bool
    notes: list[str]


async def create_table(
    place: Place,
    parameters: Mapping[str, Any],
    *,
    made_since: float | None = None,
    clock: Clock | None = None,
) -> Created:
    """Make a table and wait until it, and its indexes, can be used.

    Args:
        place: where; there must be no table yet.
        parameters: those of CreateTable, without the name.
        made_since: a table with this key that was made since that moment, in seconds since the epoch, may be what
            a process before this one has asked for, and is taken for it.
        clock: where time comes from.

    Raises:
        UsageError: there is a table by that name, and it is another one.
        ServiceError: it could not be made, or is still not ready after half an hour.
    """
    clock = clock or SystemClock()
    budget = Budget(Limits(), clock)
    async with _opened(place, clock) as (client, region):
        made, notes = _of_this_region(parameters, region)
        is_new = True
        try:
            await client.ask("CreateTable", "create_table", budget, TableName=client.name, **made)
        except ServiceError as error:
            if error.code != _EXISTS:
                raise
            is_new = error.maybe_done
            if not is_new and made_since is None:
                raise table_exists(client.label) from error
        described = await _active(client, budget, clock)
        if not is_new and made_since is not None and not _may_be(described, parameters, made_since):
            raise table_exists(client.label)
        return Created(is_new, notes)


def _may_be(described: Mapping[str, Any], parameters: Mapping[str, Any], since: float) -> bool:
    """Tell whether a table can be the one that was asked for at that moment."""
    made = described.get("CreationDateTime")
    return (
        key_schema_of(described) == key_schema_of(parameters)
        and made is not None
        and made.timestamp() > since - _CLOCK_SECONDS
    )


async def check_absent(place: Place, *, clock: Clock | None = None) -> None:
    """Make sure that a table can be made: that there is none by the name.

    Raises:
        UsageError: there is one.
        ServiceError: nobody could say.
    """
    clock = clock or SystemClock()
    async with _opened(place, clock) as (client, _):
        if await _described(client, Budget(Limits(), clock)) is not None:
            raise table_exists(client.label)


@asynccontextmanager
async def _opened(place: Place, clock: Clock) -> AsyncIterator[tuple[WireClient, str]]:
    async with open_client(place.ref, profile=place.profile, role_arn=place.role_arn) as opened:
        yield (
            WireClient(opened, place.ref.table, str(place.ref), RetryPolicy(), clock),
            opened.meta.region_name,
        )


def table_exists(label: str) -> UsageError:
    """Return what is raised where there is a table already, and none may be."""
    return UsageError(f"There is a table {label} already: leave out --create, or choose another name.")


def _of_this_region(parameters: Mapping[str, Any], region: str) -> tuple[dict[str, Any], list[str]]:
    """Return parameters that the Region can fulfil: a KMS key of another one cannot be used in it."""
    made = dict(parameters)
    encryption = made.get("SSESpecification") or {}
    key = str(encryption.get("KMSMasterKeyId", ""))
    if not key.startswith("arn:") or key.split(":")[3] == region:
        return made, []
    made["SSESpecification"] = {name: encryption[name] for name in encryption if name != "KMSMasterKeyId"}
    return made, [
        f"The key that encrypted the table, {key}, is of another Region: AWS's own key for DynamoDB encrypts the new one."
    ]


async def _described(client: WireClient, budget: Budget) -> dict[str, Any] | None:
    try:
        answer = await client.ask("DescribeTable", "describe_table", budget, TableName=client.name)
    except TableNotFoundError:
        return None
    table: dict[str, Any] = answer.get("Table", {})
    return table


async def _active(client: WireClient, budget: Budget, clock: Clock) -> dict[str, Any]:
    """Wait until the table and its indexes can be used, and describe it; just after it was made nobody may know it.

    Raises:
        UnreachableError: they cannot for half an hour.
    """
    pause, deadline = _FIRST_LOOK_SECONDS, clock.monotonic() + _PATIENCE_SECONDS
    while not _is_active(described := await _described(client, budget)):
        if clock.monotonic() > deadline:
            raise UnreachableError(
                f"The table {client.label} was made and is still not ready after half an hour."
            )
        await clock.sleep(pause)
        pause = min(2 * pause, _LOOK_SECONDS)
    return described or {}


def _is_active(table: dict[str, Any] | None) -> bool:
    if table is None or table.get("TableStatus") not in _ACTIVE:
        return False
    return all(index.get("IndexStatus") in _ACTIVE for index in table.get("GlobalSecondaryIndexes") or [])


async def turn_on_ttl(
    place: Place, attribute: str, *, may_be_on: bool = False, clock: Clock | None = None
) -> list[str]:
    """Let items of a table expire; return what went wrong with that, in a sentence: the items matter more.

    Args:
        place: where the table is.
        attribute: by which they expire.
        may_be_on: a process before this one may have done it.
        clock: where time comes from.
    """
    clock = clock or SystemClock()
    specification = {"Enabled": True, "AttributeName": attribute}
    async with _opened(place, clock) as (client, _):
        try:
            await client.ask(
                "UpdateTimeToLive",
                "update_time_to_live",
                Budget(Limits(), clock),
                TableName=client.name,
                TimeToLiveSpecification=specification,
            )
        except ServiceError as error:
            if may_be_on and "already enabled" in str(error):
                return []
            return [f"TTL by the attribute {attribute!r} could not be turned on: {error}"]
    return []
