"""Makes a table as another one was described, and waits until it can be used."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncrep.aws.capacity import Budget
from asyncrep.aws.client import WireClient
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

_EXISTS = "ResourceInUseException"
_ACTIVE = frozenset({"ACTIVE", None})  # emulators may not tell


async def create_table(
    place: Place,
    parameters: Mapping[str, Any],
    *,
    ttl_attribute: str | None = None,
    may_exist: bool = False,
    clock: Clock | None = None,
) -> list[str]:
    """Make a table and wait until it, and its indexes, can be used.

    Args:
        place: where; there must be no table yet.
        parameters: those of CreateTable, without the name.
        ttl_attribute: the attribute by which items expire; TTL is on then.
        may_exist: what a process before this one may have made already is taken for it.
        clock: where time comes from.

    Returns:
        What is not as it was described, one sentence each.

    Raises:
        UsageError: there is a table by that name.
        ServiceError: it could not be made, or is still not ready after half an hour.
    """
    clock = clock or SystemClock()
    budget = Budget(Limits(), clock)
    async with _opened(place, clock) as (client, region):
        made, notes = _of_this_region(parameters, region)
        try:
            await client.ask("CreateTable", "create_table", budget, TableName=client.name, **made)
        except ServiceError as error:
            if error.code != _EXISTS:
                raise
            if not (may_exist or error.maybe_done):
                raise _exists(client.label) from error
        await _until_active(client, budget, clock)
        if ttl_attribute is not None:
            notes += await _turn_on_ttl(client, budget, ttl_attribute, may_be_on=may_exist)
        return notes


async def check_absent(place: Place, *, clock: Clock | None = None) -> None:
    """Make sure that a table can be made: that there is none by the name.

    Raises:
        UsageError: there is one.
        ServiceError: nobody could say.
    """
    clock = clock or SystemClock()
    async with _opened(place, clock) as (client, _):
        if await _described(client, Budget(Limits(), clock)) is not None:
            raise _exists(client.label)


@asynccontextmanager
async def _opened(place: Place, clock: Clock) -> AsyncIterator[tuple[WireClient, str]]:
    async with open_client(place.ref, profile=place.profile, role_arn=place.role_arn) as opened:
        yield (
            WireClient(opened, place.ref.table, str(place.ref), RetryPolicy(), clock),
            opened.meta.region_name,
        )


def _exists(label: str) -> UsageError:
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


async def _until_active(client: WireClient, budget: Budget, clock: Clock) -> None:
    """Wait until the table and its indexes can be used; right after it was made it may not even be known.

    Raises:
        UnreachableError: they cannot for half an hour.
    """
    pause, deadline = _FIRST_LOOK_SECONDS, clock.monotonic() + _PATIENCE_SECONDS
    while not _is_active(await _described(client, budget)):
        if clock.monotonic() > deadline:
            raise UnreachableError(
                f"The table {client.label} was made and is still not ready after half an hour."
            )
        await clock.sleep(pause)
        pause = min(2 * pause, _LOOK_SECONDS)


def _is_active(table: dict[str, Any] | None) -> bool:
    if table is None or table.get("TableStatus") not in _ACTIVE:
        return False
    return all(index.get("IndexStatus") in _ACTIVE for index in table.get("GlobalSecondaryIndexes") or [])


async def _turn_on_ttl(client: WireClient, budget: Budget, attribute: str, *, may_be_on: bool) -> list[str]:
    specification = {"Enabled": True, "AttributeName": attribute}
    try:
        await client.ask(
            "UpdateTimeToLive",
            "update_time_to_live",
            budget,
            TableName=client.name,
            TimeToLiveSpecification=specification,
        )
    except ServiceError as error:  # the items matter more
        if may_be_on and "already enabled" in str(error):
            return []
        return [f"TTL by the attribute {attribute!r} could not be turned on: {error}"]
    return []
