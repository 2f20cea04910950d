"""A table that is read near by, page by page: a scan stays where it began, and a query need not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Key

from asyncrep import TableRef, UnreachableError, VirtualClock, open_split_table
from tests.support import engines
from tests.support.fault_proxy import FaultProxy
from tests.support.scenario import PRIMARY, REPLICA, item, session
from tests.support.split import Told, sides, split
from tests.support.tables import position_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep import SplitTable
    from tests.support.scripted import ScriptedDynamo

IDS = "abcdefgh"
OF_A = Key("id").eq("a")
LAST = (1 << 64) - 1


@pytest.fixture
def clock() -> VirtualClock:
    """Time that only passes when somebody sleeps."""
    return VirtualClock()


@pytest.fixture
def places(endpoint: ScriptedDynamo) -> tuple[str, str]:
    """A primary, and a replica that is scanned in the opposite order, each with its side in its items."""
    for region, side in ((PRIMARY, "primary"), (REPLICA, "replica")):
        endpoint.create_table("orders", region, items=[item(id, side=side) for id in IDS])
    endpoint.table("orders", REPLICA).position_of = lambda hash_key: LAST - position_of(hash_key)
    return f"{PRIMARY}/orders", f"{REPLICA}/orders"


async def first(items: AsyncIterator[dict[str, Any]], count: int = 2) -> list[dict[str, Any]]:
    return [await anext(items) for _ in range(count)]


def each_once(items: list[dict[str, Any]]) -> bool:
    return sorted(each["id"] for each in items) == list(IDS)


async def write(table: SplitTable) -> None:
    await table.put_item(Item={"id": "a", "side": "primary"})


async def test_a_scan_that_began_at_the_primary_ends_there(
    endpoint: ScriptedDynamo, places: tuple[str, str], clock: VirtualClock
) -> None:
    async with split(places, endpoint.url, read_your_writes=5.0, clock=clock) as table:
        await write(table)
        scan = table.scan_all(Limit=2)
        items = await first(scan)
        await clock.sleep(5.0)
        items += [each async for each in scan]
        assert each_once(items)
        assert sides(items) == {"primary"}
        assert sides([each async for each in table.scan_all()]) == {"replica"}


async def test_a_scan_that_began_at_the_replica_ends_there_whatever_is_written_meanwhile(
    endpoint: ScriptedDynamo, places: tuple[str, str], clock: VirtualClock
) -> None:
    async with split(places, endpoint.url, read_your_writes=5.0, clock=clock) as table:
        scan = table.scan_all(Limit=2)
        items = await first(scan)
        await write(table)
        items += [each async for each in scan]
        assert each_once(items)
        assert sides(items) == {"replica"}
        assert sides([each async for each in table.scan_all()]) == {"primary"}


async def test_a_scan_whose_replica_goes_out_of_reach_fails_and_the_next_one_reads_the_primary(
    endpoint: ScriptedDynamo, places: tuple[str, str], clock: VirtualClock
) -> None:
    told = Told()
    async with split(places, endpoint.url, fall_back=True, clock=clock, observer=told) as table:
        scan = table.scan_all(Limit=2)
        await first(scan)
        endpoint.on("Scan", region=REPLICA, times=None).error("InternalServerError", 500)
        with pytest.raises(
            UnreachableError, match="began at the replica cannot go on at the primary"
        ) as failed:
            await anext(scan)
        assert isinstance(failed.value.__cause__, Exception)
        assert len(told.notes) == 1
        items = [each async for each in table.scan_all(Limit=2)]
        assert each_once(items)
        assert sides(items) == {"primary"}


async def test_a_scan_goes_on_at_a_replica_that_failed_others_and_tells_that_it_is_back(
    endpoint: ScriptedDynamo, places: tuple[str, str], clock: VirtualClock
) -> None:
    told = Told()
    async with split(places, endpoint.url, fall_back=True, clock=clock, observer=told) as table:
        scan = table.scan_all(Limit=2)
        items = await first(scan)
        endpoint.on("BatchGetItem", region=REPLICA, times=2).error("InternalServerError", 500)
        assert sides(await table.batch_get_item(Keys=[{"id": "a"}])) == {"primary"}
        items += [each async for each in scan]
        assert each_once(items)
        assert sides(items) == {"replica"}
        assert sides(await table.batch_get_item(Keys=[{"id": "a"}])) == {"replica"}
    assert len(told.notes) == 2


async def test_a_scan_that_began_at_the_primary_for_an_outage_ends_there(
    endpoint: ScriptedDynamo, places: tuple[str, str], clock: VirtualClock
) -> None:
    async with split(places, endpoint.url, fall_back=True, clock=clock) as table:
        endpoint.on("Scan", region=REPLICA, times=2).error("InternalServerError", 500)
        scan = table.scan_all(Limit=2)
        items = await first(scan)
        await clock.sleep(10.0)
        items += [each async for each in scan]
        assert each_once(items)
        assert sides(items) == {"primary"}


async def test_a_key_that_is_handed_back_leads_on_at_its_side_and_is_a_plain_key_otherwise(
    endpoint: ScriptedDynamo, places: tuple[str, str], clock: VirtualClock
) -> None:
    async with split(places, endpoint.url, read_your_writes=5.0, clock=clock) as table:
        await write(table)
        answer = await table.scan(Limit=2)
        last = answer["LastEvaluatedKey"]
        assert last == {"id": answer["Items"][-1]["id"]}
        assert json.dumps(last) == json.dumps(dict(last))
        await clock.sleep(5.0)
        rest = await table.scan(ExclusiveStartKey=last)
        assert each_once(answer["Items"] + rest["Items"])
        assert sides(rest["Items"]) == {"primary"}
        assert sides((await table.scan(ExclusiveStartKey=dict(last)))["Items"]) == {"replica"}


def indexed(moto_url: str, name: str, side: str, region: str) -> None:
    """A table with an index of the same hash key, whose range key is alike in all items."""
    engine = engines.moto(moto_url)
    kinds = (("id", "S"), ("n", "N"), ("same", "S"))
    engine.call(
        "CreateTable",
        {
            "TableName": name,
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in kinds],
            "KeySchema": schema("n"),
            "LocalSecondaryIndexes": [
                {"IndexName": "alike", "KeySchema": schema("same"), "Projection": {"ProjectionType": "ALL"}}
            ],
            "BillingMode": "PAY_PER_REQUEST",
        },
        region,
    )
    for n in range(4):
        row = item("a", n=n, side=side, same="x")
        engine.call("PutItem", {"TableName": name, "Item": row}, region)


def schema(range_key: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": "id", "KeyType": "HASH"},
        {"AttributeName": range_key, "KeyType": "RANGE"},
    ]


@pytest.fixture
async def queried(moto_url: str, clock: VirtualClock) -> AsyncIterator[tuple[SplitTable, FaultProxy]]:
    """A table with both options, whose replica is behind a proxy."""
    for region, side in ((PRIMARY, "primary"), (REPLICA, "replica")):
        indexed(moto_url, "queried", side, region)
    async with (
        FaultProxy(moto_url, 1) as proxy,
        open_split_table(
            TableRef("queried", PRIMARY, moto_url),
            TableRef("queried", REPLICA, proxy.url),
            session=session(),
            clock=clock,
            read_your_writes=5.0,
            fall_back=True,
        ) as table,
    ):
        yield table, proxy
    for region in (PRIMARY, REPLICA):
        engines.moto(moto_url).call("DeleteTable", {"TableName": "queried"}, region)


async def test_a_query_of_the_table_goes_on_at_the_primary_in_an_outage_and_stays_there(
    queried: tuple[SplitTable, FaultProxy], clock: VirtualClock
) -> None:
    table, proxy = queried
    query = table.query_all(KeyConditionExpression=OF_A, Limit=1)
    items = await first(query, 1)
    proxy.lose(1.0, "Query")
    items += await first(query, 1)
    proxy.lose(0.0)
    await clock.sleep(10.0)
    items += [each async for each in query]
    assert [(each["n"], each["side"]) for each in items] == [
        (0, "replica"), (1, "primary"), (2, "primary"), (3, "primary"),
    ]  # fmt: skip


async def test_a_query_of_the_table_goes_on_at_the_primary_after_a_write(
    queried: tuple[SplitTable, FaultProxy],
) -> None:
    table, _ = queried
    query = table.query_all(KeyConditionExpression=OF_A, Limit=2)
    items = await first(query, 2)
    await table.put_item(Item={"id": "a", "n": 3, "side": "primary", "new": True})
    items += [each async for each in query]
    assert [each["n"] for each in items] == [0, 1, 2, 3]
    assert items[-1]["new"]


async def test_a_query_of_an_index_stays_where_it_began(queried: tuple[SplitTable, FaultProxy]) -> None:
    table, proxy = queried
    query = table.query_all(KeyConditionExpression=OF_A, IndexName="alike", Limit=1)
    items = await first(query, 1)
    await table.put_item(Item={"id": "b", "n": 0})
    items += await first(query, 1)
    assert sides(items) == {"replica"}
    proxy.lose(1.0, "Query")
    with pytest.raises(UnreachableError, match="A query that began at the replica"):
        await anext(query)
