"""A table that is read near by and written at its primary: which side answers, and what is promised of it."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary

from asyncrep import (
    ConditionFailedError,
    LocationError,
    RejectedError,
    TableNotFoundError,
    UnreachableError,
    UsageError,
    VirtualClock,
    open_split_table,
)
from tests.support import engines
from tests.support.scenario import PRIMARY, REPLICA, item, session
from tests.support.split import Told, sides, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrep import SplitTable
    from tests.support.engines import Engine


@pytest.fixture
def moto(moto_url: str) -> Iterator[Engine]:
    """An engine whose tables are gone afterwards."""
    engine = engines.moto(moto_url)
    yield engine
    engine.delete_tables()


@pytest.fixture
def places(moto: Engine) -> tuple[str, str]:
    """A primary and a replica that say on which side they are."""
    return tuple(  # type: ignore[return-value]
        f"{region}/" + moto.create_table(
            hash=("id", "S"), range=("n", "N"), region=region,
            items=[item(id, n=n, side=side) for id in "abc" for n in range(3)],
        )
        for region, side in ((PRIMARY, "primary"), (REPLICA, "replica"))
    )  # fmt: skip


@pytest.fixture
def clock() -> VirtualClock:
    """Time that only passes when somebody sleeps."""
    return VirtualClock()


async def side(table: SplitTable, id: str = "a", n: int = 0, **options: Any) -> str:
    """Which side answers a read of this item."""
    found: str = (await table.get_item(Key={"id": id, "n": n}, **options))["Item"]["side"]
    return found


async def test_reads_go_to_the_replica(moto: Engine, places: tuple[str, str]) -> None:
    async with split(places, moto.url) as table:
        assert await side(table) == "replica"
        keys = [{"id": id, "n": n} for id in "abc" for n in range(3)]
        assert sides(await table.batch_get_item(Keys=keys)) == {"replica"}
        answer = await table.query(KeyConditionExpression=Key("id").eq("a"))
        assert (answer["Count"], sides(answer["Items"])) == (3, {"replica"})
        assert sides((await table.scan())["Items"]) == {"replica"}


async def test_strong_reads_go_to_the_primary(moto: Engine, places: tuple[str, str]) -> None:
    async with split(places, moto.url) as table:
        assert await side(table, ConsistentRead=True) == "primary"
        assert sides(await table.batch_get_item(Keys=[{"id": "a", "n": 0}], ConsistentRead=True)) == {
            "primary"
        }
        answer = await table.query(KeyConditionExpression=Key("id").eq("a"), ConsistentRead=True)
        assert sides(answer["Items"]) == {"primary"}
        assert sides([each async for each in table.scan_all(ConsistentRead=True, Limit=2)]) == {"primary"}


async def test_writes_go_to_the_primary_in_values_of_python(moto: Engine, places: tuple[str, str]) -> None:
    value = {
        "text": "é",
        "number": Decimal("1.5"),
        "bytes": b"\0\xff",
        "set": {"x", "y"},
        "list": [None, True],
    }
    key = {"id": "new", "n": 1}
    async with split(places, moto.url) as table:
        await table.put_item(Item=key | value)
        assert "Item" not in await table.get_item(Key=key)
        assert (await table.get_item(Key=key, ConsistentRead=True))["Item"] == key | value
        answer = await table.update_item(
            Key=key,
            UpdateExpression="SET #n = #n + :one",
            ExpressionAttributeNames={"#n": "number"},
            ExpressionAttributeValues={":one": 1},
            ReturnValues="UPDATED_NEW",
        )
        assert answer["Attributes"] == {"number": Decimal("2.5")}
        answer = await table.delete_item(Key=key, ReturnValues="ALL_OLD")
        assert answer["Attributes"]["text"] == "é"
        assert "Item" not in await table.get_item(Key=key, ConsistentRead=True)


async def test_a_condition_that_does_not_hold_says_so_and_keeps_the_service_s_answer(
    moto: Engine, places: tuple[str, str]
) -> None:
    async with split(places, moto.url) as table:
        with pytest.raises(ConditionFailedError) as refused:
            await table.put_item(Item={"id": "a", "n": 0}, ConditionExpression=Attr("id").not_exists())
        cause: Any = refused.value.__cause__
        assert cause.response["Error"]["Code"] == "ConditionalCheckFailedException"
        with pytest.raises(RejectedError):
            await table.get_item(Key={"wrong": "a"})


async def test_all_pages_are_gone_through(moto: Engine, places: tuple[str, str]) -> None:
    async with split(places, moto.url) as table:
        found = [
            each["n"] async for each in table.query_all(KeyConditionExpression=Key("id").eq("b"), Limit=1)
        ]
        assert found == [0, 1, 2]
        assert len([each async for each in table.scan_all(Limit=4)]) == 9
        assert [each async for each in table.query_all(KeyConditionExpression=Key("id").eq("none"))] == []


async def test_a_batch_of_keys_may_be_of_any_length_and_name_an_item_twice(
    moto: Engine, places: tuple[str, str]
) -> None:
    many = [{"id": f"k{number}", "n": number} for number in range(230)]
    async with split(places, moto.url) as table:
        async with table.batch_writer() as batch:
            for each in many:
                await batch.put_item(Item={**each, "v": 1})
            await batch.put_item(Item={**many[0], "v": 2})
            await batch.delete_item(Key=many[1])
        found = await table.batch_get_item(
            Keys=[*many, *many, {"id": "none", "n": 0}], ConsistentRead=True, ProjectionExpression="id, v"
        )
        assert {each["id"]: each["v"] for each in found} == {
            each["id"]: 2 if each == many[0] else 1 for each in many if each != many[1]
        }
        assert len(found) == 229
        assert await table.batch_get_item(Keys=[]) == []


async def test_a_block_of_batched_writes_that_fails_sends_no_more(
    moto: Engine, places: tuple[str, str]
) -> None:
    async with split(places, moto.url) as table:
        async with AsyncExitStack() as stack:
            stack.enter_context(suppress(ZeroDivisionError))
            batch = await stack.enter_async_context(table.batch_writer())
            await batch.put_item(Item={"id": "new", "n": 0})
            raise ZeroDivisionError
        assert "Item" not in await table.get_item(Key={"id": "new", "n": 0}, ConsistentRead=True)


async def test_a_transaction_is_on_this_table_unless_it_names_another(
    moto: Engine, places: tuple[str, str], clock: VirtualClock
) -> None:
    other = moto.create_table(region=PRIMARY)
    async with split(places, moto.url, read_your_writes=5.0, clock=clock) as table:
        await table.transact_write_items(
            TransactItems=[
                {"Put": {"Item": {"id": "new", "n": 0, "side": "primary"}}},
                {"Delete": {"Key": {"id": "a", "n": 1}}},
                {
                    "ConditionCheck": {
                        "Key": {"id": "a", "n": 0},
                        "ConditionExpression": "attribute_exists(id)",
                    }
                },
                {"Put": {"TableName": other, "Item": {"id": "x"}}},
            ]
        )
        assert await side(table, "new") == "primary"
        assert "Item" not in await table.get_item(Key={"id": "a", "n": 1})
        assert await side(table, "a", 0) == "replica", "a check writes nothing"
    assert moto.items(other, PRIMARY) == [item("x")]


async def test_a_transaction_that_names_this_table_by_an_arn_is_a_write_of_it(
    moto: Engine, places: tuple[str, str], clock: VirtualClock
) -> None:
    arn = f"arn:aws:dynamodb:{PRIMARY}:123456789012:table/{places[0].partition('/')[2]}"
    row = {"n": 7, "side": "primary"}
    async with split(places, moto.url, read_your_writes=5.0, clock=clock) as table:
        await table.transact_write_items(
            TransactItems=[{"Put": {"TableName": arn, "Item": {"id": "x", **row}}}]
        )
        assert await side(table, "x", 7) == "primary"
    async with split((arn, places[1]), moto.url, read_your_writes=5.0, clock=clock) as table:
        named = arn.rpartition("/")[2]
        await table.transact_write_items(
            TransactItems=[{"Put": {"TableName": named, "Item": {"id": "y", **row}}}]
        )
        assert await side(table, "y", 7) == "primary"


async def test_own_writes_are_read_for_as_long_as_asked(
    moto: Engine, places: tuple[str, str], clock: VirtualClock
) -> None:
    async with split(places, moto.url, read_your_writes=5.0, clock=clock) as table:
        assert await side(table) == "replica"
        await table.put_item(Item={"id": "a", "n": 0, "side": "primary"})
        assert await side(table, "a", 0) == "primary"
        assert await side(table, "a", 1) == "replica"
        assert await side(table, "b", 0) == "replica"
        keys = [{"id": "a", "n": Decimal(0)}, {"id": "a", "n": 1}, {"id": "b", "n": 0}]
        batch = await table.batch_get_item(Keys=keys)
        assert sorted((each["id"], int(each["n"]), each["side"]) for each in batch) == [
            ("a", 0, "primary"), ("a", 1, "replica"), ("b", 0, "replica"),
        ]  # fmt: skip
        for condition, expected in (("a", "primary"), ("b", "replica")):
            answer = await table.query(KeyConditionExpression=Key("id").eq(condition))
            assert sides(answer["Items"]) == {expected}
        assert sides((await table.scan())["Items"]) == {"primary"}
        await clock.sleep(5.0)
        assert await side(table) == "replica"
        assert sides((await table.scan())["Items"]) == {"replica"}


async def test_a_write_that_failed_may_have_been_carried_out(
    moto: Engine, places: tuple[str, str], clock: VirtualClock
) -> None:
    async with split(places, moto.url, read_your_writes=5.0, clock=clock) as table:
        with pytest.raises(ConditionFailedError):
            await table.delete_item(Key={"id": "a", "n": 0}, ConditionExpression=Attr("id").not_exists())
        assert await side(table) == "primary"
        async with table.batch_writer() as batch:
            await batch.delete_item(Key={"id": "b", "n": 0})
        assert "Item" not in await table.get_item(Key={"id": "b", "n": 0})


async def test_without_the_option_the_replica_is_read_even_after_a_write(
    moto: Engine, places: tuple[str, str]
) -> None:
    async with split(places, moto.url) as table:
        await table.update_item(Key={"id": "a", "n": 0}, UpdateExpression="REMOVE v")
        assert await side(table) == "replica"


async def test_binary_keys_are_found_again_in_each_of_their_spellings(
    moto: Engine, clock: VirtualClock
) -> None:
    names = [moto.create_table(hash=("id", "B"), region=region) for region in (PRIMARY, REPLICA)]
    places = (f"{PRIMARY}/{names[0]}", f"{REPLICA}/{names[1]}")
    async with split(places, moto.url, read_your_writes=5.0, clock=clock) as table:
        await table.put_item(Item={"id": bytearray(b"\xff")})
        for spelled in (b"\xff", bytearray(b"\xff"), Binary(b"\xff")):
            assert "Item" in await table.get_item(Key={"id": spelled})


async def test_a_replica_that_is_out_of_reach_from_the_start_can_be_done_without(
    moto: Engine, places: tuple[str, str], unused_tcp_port: int, clock: VirtualClock
) -> None:
    nowhere = f"127.0.0.1:{unused_tcp_port}/orders"
    told = Told()
    async with split((places[0], nowhere), moto.url, clock=clock, fall_back=True, observer=told) as table:
        assert await side(table) == "primary"
    assert len(told.notes) == 1
    with pytest.raises(UnreachableError):
        async with split((places[0], nowhere), moto.url, clock=clock):
            pass


async def test_tables_with_other_keys_and_tables_that_are_not_there_are_refused_at_once(
    moto: Engine, places: tuple[str, str]
) -> None:
    other = moto.create_table(region=REPLICA)
    with pytest.raises(UsageError, match="are no copies: one has the key id, n, the other id"):
        async with split((places[0], f"{REPLICA}/{other}"), moto.url):
            pass
    with pytest.raises(TableNotFoundError, match="There is no table eu-west-1/not-there"):
        async with split((places[0], f"{REPLICA}/not-there"), moto.url):
            pass


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
async def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="Seconds to read one's writes in"):
        async with open_split_table("us-east-1/orders", "eu-west-1/orders", read_your_writes=seconds):
            pass
    with pytest.raises(LocationError):
        async with open_split_table("orders", "eu-west-1/orders"):
            pass


async def test_the_caller_s_session_stays_as_it_was(moto: Engine, places: tuple[str, str]) -> None:
    own = session()
    async with split(places, moto.url) as table:
        await table.put_item(Item={"id": "z", "n": 0})
    async with own.resource("dynamodb", region_name=PRIMARY, endpoint_url=moto.url) as resource:
        theirs = await resource.Table(places[0].partition("/")[2])
        assert "Item" in await theirs.get_item(Key={"id": "z", "n": 0})
        assert own is session()
