"""A table that is read near by, when one side fails, throttles or is out of reach."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from asyncrep import RejectedError, RetryPolicy, ThrottledError, UnreachableError, VirtualClock
from tests.support.scenario import PRIMARY, REPLICA, item
from tests.support.split import Told, sides, split

if TYPE_CHECKING:
    from asyncrep import SplitTable
    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def clock() -> VirtualClock:
    """Time that only passes when somebody sleeps."""
    return VirtualClock()


def scripted(endpoint: ScriptedDynamo) -> tuple[str, str]:
    for region, side in ((PRIMARY, "primary"), (REPLICA, "replica")):
        endpoint.create_table("orders", region, items=[item("a", side=side), item("b", side=side)])
    return f"{PRIMARY}/orders", f"{REPLICA}/orders"


def regions(endpoint: ScriptedDynamo) -> list[str]:
    return [call.region for call in endpoint.calls if call.operation != "DescribeTable"]


async def read(table: SplitTable) -> set[str]:
    return sides(await table.batch_get_item(Keys=[{"id": "a"}]))


async def test_own_writes_are_read_strongly(endpoint: ScriptedDynamo, clock: VirtualClock) -> None:
    places = scripted(endpoint)
    async with split(places, endpoint.url, read_your_writes=5.0, clock=clock) as table:
        await table.put_item(Item={"id": "a", "side": "primary"})
        await read(table)
        await table.scan()
        await read_of_b(table)
    bodies = [call.body for call in endpoint.calls if call.operation in {"BatchGetItem", "Scan"}]
    decoded = [each if isinstance(each, dict) else json.loads(each) for each in bodies]
    assert decoded[0]["RequestItems"]["orders"]["ConsistentRead"] is True
    assert decoded[1]["ConsistentRead"] is True
    assert decoded[2]["RequestItems"]["orders"]["ConsistentRead"] is False


async def read_of_b(table: SplitTable) -> None:
    assert sides(await table.batch_get_item(Keys=[{"id": "b"}])) == {"replica"}


async def test_a_replica_out_of_reach_is_an_error_unless_falling_back_is_wanted(
    endpoint: ScriptedDynamo, clock: VirtualClock
) -> None:
    places = scripted(endpoint)
    async with split(places, endpoint.url, clock=clock) as table:
        endpoint.on("BatchGetItem", times=None).error("InternalServerError", 500)
        with pytest.raises(UnreachableError, match=f"BatchGetItem on {REPLICA}/orders"):
            await read(table)
    assert set(regions(endpoint)) == {REPLICA}


async def test_falling_back_reads_the_primary_and_leaves_the_replica_alone_for_a_while(
    endpoint: ScriptedDynamo, clock: VirtualClock
) -> None:
    places, told = scripted(endpoint), Told()
    async with split(places, endpoint.url, clock=clock, fall_back=True, observer=told) as table:
        endpoint.on("BatchGetItem", region=REPLICA, times=4).error("InternalServerError", 500)
        assert await read(table) == {"primary"}
        assert regions(endpoint) == [REPLICA, REPLICA, PRIMARY]
        assert await read(table) == {"primary"}
        assert regions(endpoint)[3:] == [PRIMARY]
        await clock.sleep(10.0)
        assert await read(table) == {"primary"}
        assert regions(endpoint)[4:] == [REPLICA, REPLICA, PRIMARY]
        assert len(told.notes) == 1
        assert "cannot be reached" in told.notes[0]
        await clock.sleep(10.0)
        assert await read(table) == {"replica"}
    assert told.notes[1:] == [f"The replica {REPLICA}/orders answers again."]


async def test_of_many_readers_one_tries_the_replica_again(
    endpoint: ScriptedDynamo, clock: VirtualClock
) -> None:
    places = scripted(endpoint)
    async with split(places, endpoint.url, clock=clock, fall_back=True) as table:
        endpoint.on("BatchGetItem", region=REPLICA, times=None).error("InternalServerError", 500)
        await read(table)
        await clock.sleep(10.0)
        endpoint.calls.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(read(table))
    assert regions(endpoint).count(REPLICA) == 2
    assert regions(endpoint).count(PRIMARY) == 10


async def test_a_refusal_or_throttling_is_no_reason_to_fall_back(
    endpoint: ScriptedDynamo, clock: VirtualClock
) -> None:
    places = scripted(endpoint)
    retry = RetryPolicy(attempts=2, patience=0.0)
    async with split(places, endpoint.url, clock=clock, fall_back=True, retry=retry) as table:
        endpoint.on("BatchGetItem", region=REPLICA).error("ValidationException")
        with pytest.raises(RejectedError):
            await read(table)
        with pytest.raises(RejectedError, match="Unknown parameter"):
            await table.get_item(Key={"id": "a"}, Nonsense=True)
        endpoint.on("BatchGetItem", region=REPLICA, times=2).throttle()
        with pytest.raises(ThrottledError):
            await read(table)
    assert set(regions(endpoint)) == {REPLICA}


async def test_unprocessed_keys_and_items_are_asked_for_again(
    endpoint: ScriptedDynamo, clock: VirtualClock
) -> None:
    places = scripted(endpoint)
    async with split(places, endpoint.url, clock=clock) as table:
        endpoint.on("BatchGetItem").unprocessed(1)
        found = await table.batch_get_item(Keys=[{"id": "a"}, {"id": "b"}])
        assert {each["id"] for each in found} == {"a", "b"}
        endpoint.on("BatchWriteItem").unprocessed(1)
        async with table.batch_writer() as batch:
            for id in "xyz":
                await batch.put_item(Item={"id": id})
        assert len((await table.scan(ConsistentRead=True))["Items"]) == 5
        assert len(clock.slept) == 2
