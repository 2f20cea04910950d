"""A guard table is found or made beside the destination, and anything unfit is refused with one sentence."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import RetryPolicy, Table, VirtualClock, open_table
from asyncrep.errors import PermissionDeniedError, TableNotFoundError, UnreachableError, UsageError
from asyncrep.replicate.guard import GuardTable, open_guard_table
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.scripted import ScriptedDynamo

ARN = "arn:aws:dynamodb:{}:{}:table/{}"


@pytest.fixture(autouse=True)
def destination(endpoint: ScriptedDynamo) -> Any:
    return endpoint.create_table("orders", "eu-west-1")


@asynccontextmanager
async def opened(endpoint: ScriptedDynamo, location: str = "eu-west-1/orders") -> AsyncIterator[Table]:
    options: dict[str, Any] = {"clock": VirtualClock(), "retry": RetryPolicy(attempts=3)}
    async with open_table(location, session=session(), endpoint_url=endpoint.url, **options) as table:
        yield table


async def guard_of(endpoint: ScriptedDynamo, location: str = "guard", **options: Any) -> GuardTable:
    async with opened(endpoint) as table:
        return await open_guard_table(table, location, **options)


def make(endpoint: ScriptedDynamo, **options: Any) -> Any:
    return endpoint.create_table("guard", "eu-west-1", **{"ttl": "expires", **options})


@pytest.mark.parametrize(
    "location", ["guard", "eu-west-1/guard", ARN.format("eu-west-1", "123456789012", "guard")]
)
async def test_it_is_found_beside_the_destination(endpoint: ScriptedDynamo, location: str) -> None:
    name = location if location.startswith("arn:") else "guard"
    table = make(endpoint)
    if name != "guard":
        endpoint._tables["eu-west-1", name] = table  # the double knows tables by what requests call them
    guard = await guard_of(endpoint, location)
    assert (guard.name, guard.destination) == (name, "orders")
    assert "guard" in guard.label


@pytest.mark.parametrize(
    "location", ["us-east-1/guard", "localhost:1/guard", ARN.format("us-east-1", "123456789012", "guard")]
)
async def test_elsewhere_it_is_refused_unasked(endpoint: ScriptedDynamo, location: str) -> None:
    with pytest.raises(UsageError, match="must be in the Region and account of"):
        await guard_of(endpoint, location)
    assert endpoint.count("DescribeTable") == 1


async def test_another_account_s_is_refused(endpoint: ScriptedDynamo) -> None:
    arn = ARN.format("eu-west-1", "210987654321", "guard")
    table = make(endpoint)
    table.description = {"TableArn": arn}
    endpoint._tables["eu-west-1", arn] = table
    with pytest.raises(UsageError, match="must be in the Region and account of"):
        await guard_of(endpoint, arn)


async def test_the_destination_is_not_its_own_guard(endpoint: ScriptedDynamo) -> None:
    with pytest.raises(UsageError, match="cannot be that table itself"):
        await guard_of(endpoint, "orders")


@pytest.mark.parametrize(
    "options",
    [{"hash": ("id", "N")}, {"hash": ("key", "S")}, {"range": ("r", "S")}, {"ttl": None}, {"ttl": "other"}],
)
async def test_another_key_and_a_missing_ttl_are_refused(
    endpoint: ScriptedDynamo, options: dict[str, Any]
) -> None:
    make(endpoint, **options)
    with pytest.raises(UsageError, match=r'must have (the key id \(S\)|TTL on the attribute "expires")'):
        await guard_of(endpoint)


async def test_a_ttl_that_may_not_be_asked_for_is_taken_on_trust(endpoint: ScriptedDynamo) -> None:
    make(endpoint, ttl=None)
    endpoint.on("DescribeTimeToLive", table="guard").error("AccessDeniedException")
    assert (await guard_of(endpoint)).name == "guard"


async def test_a_missing_one_is_made_only_on_demand(endpoint: ScriptedDynamo) -> None:
    with pytest.raises(TableNotFoundError, match="eu-west-1/guard"):
        await guard_of(endpoint)
    assert (await guard_of(endpoint, create=True)).name == "guard"
    made = endpoint.table("guard", "eu-west-1")
    assert (made.keys, made.ttl) == ([("id", "S")], "expires")
    assert endpoint.requests("CreateTable")[0].body["BillingMode"] == "PAY_PER_REQUEST"
    await guard_of(endpoint, create=True)
    assert endpoint.count("CreateTable") == 1
    assert endpoint.count("UpdateTimeToLive") == 1


async def test_it_may_take_time_and_others_may_be_faster(endpoint: ScriptedDynamo) -> None:
    def other(_: object) -> None:
        make(endpoint, ttl=None).description = {"TableStatus": "CREATING"}

    def active(_: object) -> None:
        endpoint.table("guard", "eu-west-1").description = {}

    endpoint.before("CreateTable", other)
    endpoint.before("DescribeTable", active, table="guard", after=3)
    endpoint.before(
        "UpdateTimeToLive", lambda _: setattr(endpoint.table("guard", "eu-west-1"), "ttl", "expires")
    )
    assert (await guard_of(endpoint, create=True)).name == "guard"


async def test_one_that_never_comes_to_be_is_given_up(endpoint: ScriptedDynamo) -> None:
    endpoint.after(
        "CreateTable",
        lambda _: setattr(endpoint.table("guard", "eu-west-1"), "description", {"TableStatus": "CREATING"}),
    )
    with pytest.raises(UnreachableError, match="still not there after 300 s"):
        await guard_of(endpoint, create=True)


async def test_who_may_not_make_one_is_told(endpoint: ScriptedDynamo) -> None:
    endpoint.on("CreateTable").error("AccessDeniedException")
    with pytest.raises(PermissionDeniedError, match="CreateTable on eu-west-1/guard"):
        await guard_of(endpoint, create=True)
