"""The scripted endpoint's streams tell a stock client of every write as DynamoDB Streams would."""

from __future__ import annotations

import asyncio
from typing import Any

import aioboto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from asyncrep import VirtualClock
from tests.support.scripted import ScriptedDynamo
from tests.support.streams import NEW_AND_OLD, VIEWS
from tests.support.streams_server import steered

KEY = {"id": {"S": "a"}}


def item(key: str = "a", **attributes: dict[str, Any]) -> dict[str, Any]:
    return {"id": {"S": key}, **attributes}


@pytest.fixture
def table(endpoint):
    return endpoint.create_table("t", items=[item("old")], stream=NEW_AND_OLD)


@pytest.fixture
async def reader(endpoint):
    config = Config(retries={"mode": "legacy", "total_max_attempts": 1})
    session = aioboto3.Session()
    async with session.client(
        "dynamodbstreams", region_name="us-east-1", endpoint_url=endpoint.url, config=config
    ) as reader:
        yield reader


def kinds(table) -> list[tuple[str, str]]:
    return [(record["eventName"], record["dynamodb"]["Keys"]["id"]["S"]) for record in table.stream.records]


async def read(reader, stream, shard, kind="TRIM_HORIZON", **parameters) -> list[Any]:
    """All records of a shard, to its tip or its end."""
    begun = await reader.get_shard_iterator(
        StreamArn=stream.arn, ShardId=shard.id, ShardIteratorType=kind, **parameters
    )
    iterator, records = begun["ShardIterator"], []
    while iterator:
        answer = await reader.get_records(ShardIterator=iterator)
        records += answer["Records"]
        iterator = answer.get("NextShardIterator")
        if not answer["Records"]:
            break
    return records


async def refused(call) -> str:
    with pytest.raises(ClientError) as caught:
        await call
    code: str = caught.value.response["Error"]["Code"]
    return code


# What makes a record


async def test_every_way_to_write_makes_a_record(client, table):
    await client.put_item(TableName="t", Item=item(v={"N": "1"}))
    await client.put_item(TableName="t", Item=item(v={"N": "2"}))
    names = {"#v": "v"}
    await client.update_item(
        TableName="t",
        Key=KEY,
        UpdateExpression="SET #v = :v",
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={":v": {"N": "3"}},
    )
    await client.delete_item(TableName="t", Key=KEY)
    requests = [{"PutRequest": {"Item": item("b")}}, {"DeleteRequest": {"Key": {"id": {"S": "old"}}}}]
    await client.batch_write_item(RequestItems={"t": requests})
    table.put(item("c"))
    table.delete("c")
    assert kinds(table) == [
        ("INSERT", "a"),
        ("MODIFY", "a"),
        ("MODIFY", "a"),
        ("REMOVE", "a"),
        ("INSERT", "b"),
        ("REMOVE", "old"),
        ("INSERT", "c"),
        ("REMOVE", "c"),
    ]
    images = [record["dynamodb"].get("NewImage", {}).get("v") for record in table.stream.records[:4]]
    assert images == [{"N": "1"}, {"N": "2"}, {"N": "3"}, None]


async def test_a_transaction_makes_records_only_if_it_is_carried_out(client, table):
    put = {"Put": {"TableName": "t", "Item": item("b")}}
    drop = {"Delete": {"TableName": "t", "Key": {"id": {"S": "old"}}}}
    refuse = {
        "ConditionCheck": {
            "TableName": "t",
            "Key": KEY,
            "ConditionExpression": "attribute_exists(#i)",
            "ExpressionAttributeNames": {"#i": "id"},
        }
    }
    assert await refused(client.transact_write_items(TransactItems=[put, drop, refuse])) == (
        "TransactionCanceledException"
    )
    assert kinds(table) == []
    await client.transact_write_items(TransactItems=[put, drop])
    assert sorted(kinds(table)) == [("INSERT", "b"), ("REMOVE", "old")]


async def test_what_changes_nothing_makes_no_record(client, table):
    table.put(item(n={"N": "1"}, s={"SS": ["x", "y"]}))
    before = len(table.stream.records)
    await client.put_item(TableName="t", Item=item(n={"N": "1.0"}, s={"SS": ["y", "x"]}))
    await client.delete_item(TableName="t", Key={"id": {"S": "never"}})
    with pytest.raises(ClientError):
        await client.put_item(TableName="t", Item=KEY, ConditionExpression="attribute_not_exists(id)")
    assert len(table.stream.records) == before


async def test_a_record_is_complete(endpoint, reader):
    table = endpoint.create_table("t", hash=("h", "S"), range=("r", "B"))
    stream = table.enable_stream(clock=VirtualClock(1_800_000_000.9))
    key = {"h": {"S": "a"}, "r": {"B": "AA=="}}
    table.put(key | {"v": {"N": "1"}})
    table.put(key | {"v": {"N": "22"}})
    first, second = await read(reader, stream, next(iter(stream.shards.values())))
    assert first["eventName"] == "INSERT"
    assert "OldImage" not in first["dynamodb"]
    change = second["dynamodb"]
    assert second["eventName"] == "MODIFY"
    assert second["eventSource"] == "aws:dynamodb"
    assert second["awsRegion"] == "us-east-1"
    assert len(second["eventID"]) == 32
    assert second["eventID"] != first["eventID"]
    assert change["Keys"] == {"h": {"S": "a"}, "r": {"B": b"\x00"}}
    assert change["NewImage"] == change["Keys"] | {"v": {"N": "22"}}
    assert change["OldImage"] == change["Keys"] | {"v": {"N": "1"}}
    assert change["ApproximateCreationDateTime"].timestamp() == 1_800_000_000
    assert change["SizeBytes"] == 4 + 2 * (4 + 3)
    assert change["StreamViewType"] == NEW_AND_OLD
    assert "userIdentity" not in second


@pytest.mark.parametrize("view", VIEWS)
def test_the_view_says_which_images_there_are(endpoint, view):
    table = endpoint.create_table("t", stream=view)
    table.put(item(v={"N": "1"}))
    table.put(item(v={"N": "2"}))
    change = table.stream.records[1]["dynamodb"]
    assert ("NewImage" in change) == (view in {"NEW_IMAGE", NEW_AND_OLD})
    assert ("OldImage" in change) == (view in {"OLD_IMAGE", NEW_AND_OLD})
    assert change["Keys"] == KEY


def test_a_deletion_by_ttl_says_so(table):
    table.expire("old")
    [record] = table.stream.records
    assert record["eventName"] == "REMOVE"
    assert record["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


def test_a_record_stays_as_it_was_written(table):
    written = item(v={"L": [{"N": "1"}]})
    table.put(written)
    written["v"]["L"].append({"N": "2"})
    table.put(written)
    images = [record["dynamodb"]["NewImage"]["v"] for record in table.stream.records]
    assert images == [{"L": [{"N": "1"}]}, {"L": [{"N": "1"}, {"N": "2"}]}]


# Tables


async def test_a_table_can_be_created_with_a_stream(endpoint, client):
    await client.create_table(
        TableName="made",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    )
    described = (await client.describe_table(TableName="made"))["Table"]
    assert described["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    assert described["LatestStreamArn"] == endpoint.table("made").stream.arn


async def test_a_stream_switched_off_keeps_its_arn_and_a_new_one_gets_another(client, table, reader):
    old = table.stream
    table.put(item())
    old.disable()
    table.put(item("unseen"))
    described = (await client.describe_table(TableName="t"))["Table"]
    assert described["LatestStreamArn"] == old.arn
    assert "StreamSpecification" not in described
    new = table.enable_stream()
    table.put(item("seen"))
    assert new.arn != old.arn
    assert kinds(table) == [("INSERT", "seen")]
    assert len(await read(reader, old, next(iter(old.shards.values())))) == 1
    status = (await reader.describe_stream(StreamArn=old.arn))["StreamDescription"]["StreamStatus"]
    assert status == "DISABLED"


# Shards


def test_the_changes_of_a_key_are_in_order_from_parent_to_child(endpoint):
    table = endpoint.create_table("t", stream=NEW_AND_OLD, shards=3)
    for number in range(60):
        for key in range(12):
            table.put(item(f"k{key}", v={"N": str(number)}))
        shards = table.stream.open_shards()
        if number % 10 == 5:
            table.stream.split(shards[number % len(shards)])
        if number % 10 == 9:
            table.stream.roll(shards[0])
    assert len(table.stream.shards) == 3 + 6 * 2 + 6
    seen: dict[str, list[tuple[int, str]]] = {}
    for shard in table.stream.shards.values():
        numbers = [entry.sequence for entry in shard.entries]
        assert numbers == sorted(numbers)
        assert all(shard.first < number < (shard.last or number + 1) for number in numbers)
        for entry in shard.entries:
            change = entry.record["dynamodb"]
            seen.setdefault(change["Keys"]["id"]["S"], []).append((entry.sequence, shard.id))
    for places in seen.values():
        assert len(places) == 60
        # Whoever reads parents before their children meets the changes of a key in order.
        assert places == sorted(places)
        path = list(dict.fromkeys(shard for _, shard in places))
        lineage = [table.stream.shards[shard].parent for shard in path[1:]]
        ancestors = [_ancestors(table.stream, shard) for shard in path[1:]]
        assert len(lineage) == len(path) - 1
        assert all(before in above for before, above in zip(path[:-1], ancestors, strict=True))
    assert len({places[0][1] for places in seen.values()}) > 1


def _ancestors(stream, shard_id: str) -> set[str]:
    found: set[str] = set()
    while (parent := stream.shards[shard_id].parent) is not None:
        found.add(parent)
        shard_id = parent
    return found


def test_sequence_numbers_grow_and_get_a_digit_more(table):
    for number in range(200):
        table.put(item(v={"N": str(number)}))
    numbers = [record["dynamodb"]["SequenceNumber"] for record in table.stream.records]
    assert [int(number) for number in numbers] == sorted(map(int, numbers))
    assert numbers != sorted(numbers)
    assert {len(number) for number in numbers} == {21, 22}


async def test_a_shard_can_be_closed_before_its_children_are_listed(reader, table):
    children = table.stream.split(hidden=2)

    async def listed() -> list[str]:
        answer = await reader.describe_stream(StreamArn=table.stream.arn)
        return [shard["ShardId"] for shard in answer["StreamDescription"]["Shards"]]

    everything = list(table.stream.shards)
    assert await listed() == everything[:1]
    assert await listed() == everything[:1]
    assert await listed() == everything == [everything[0], *(child.id for child in children)]


async def test_a_listing_has_pages_and_knows_children(reader, table):
    for _ in range(5):
        table.stream.roll()
    shards = list(table.stream.shards)
    first = (await reader.describe_stream(StreamArn=table.stream.arn, Limit=4))["StreamDescription"]
    assert [shard["ShardId"] for shard in first["Shards"]] == shards[:4]
    assert first["LastEvaluatedShardId"] == shards[3]
    rest = (await reader.describe_stream(StreamArn=table.stream.arn, ExclusiveStartShardId=shards[3]))[
        "StreamDescription"
    ]
    assert [shard["ShardId"] for shard in rest["Shards"]] == shards[4:]
    assert "LastEvaluatedShardId" not in rest
    chosen = {"Type": "CHILD_SHARDS", "ShardId": shards[2]}
    children = await reader.describe_stream(StreamArn=table.stream.arn, ShardFilter=chosen)
    assert [shard["ShardId"] for shard in children["StreamDescription"]["Shards"]] == [shards[3]]


# Reading


async def test_a_page_holds_a_thousand_records_or_a_megabyte(reader, table):
    shard = table.stream.open_shards()[0]

    async def sizes(count: int) -> list[int]:
        start = {"StreamArn": table.stream.arn, "ShardId": shard.id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator, pages = (await reader.get_shard_iterator(**start))["ShardIterator"], list[int]()
        while sum(pages) < count:
            answer = await reader.get_records(ShardIterator=iterator)
            pages.append(len(answer["Records"]))
            iterator = answer["NextShardIterator"]
        return pages

    for number in range(1100):
        table.put(item(f"k{number}"))
    assert await sizes(1100) == [1000, 100]
    table.stream.trim()
    for number in range(5):
        table.put(item(f"big{number}", v={"S": "x" * 390_000}))
    assert await sizes(5) == [2, 2, 1]


async def test_a_trimmed_shard_vanishes_and_a_trimmed_number_is_refused(reader, table):
    stream = table.stream
    [parent] = stream.shards.values()
    table.put(item("a"))
    child = stream.roll()
    table.put(item("b"))
    table.put(item("c"))
    trimmed, kept = (entry.sequence for entry in child.entries)
    stream.trim(before=kept)
    start = {"StreamArn": stream.arn, "ShardId": child.id}
    assert list(stream.shards) == [child.id]
    assert await refused(
        reader.get_shard_iterator(StreamArn=stream.arn, ShardId=parent.id, ShardIteratorType="TRIM_HORIZON")
    ) == ("ResourceNotFoundException")
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        call = reader.get_shard_iterator(**start, ShardIteratorType=kind, SequenceNumber=str(trimmed))
        assert await refused(call) == "TrimmedDataAccessException"
    at = await read(reader, stream, child, "AT_SEQUENCE_NUMBER", SequenceNumber=str(kept))
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in at] == ["c"]


async def test_nothing_is_lost_to_a_reader_that_had_read_what_is_trimmed(reader, table):
    table.put(item("a"))
    shard = table.stream.open_shards()[0]
    start = {"StreamArn": table.stream.arn, "ShardId": shard.id, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = (await reader.get_shard_iterator(**start))["ShardIterator"]
    following = (await reader.get_records(ShardIterator=iterator))["NextShardIterator"]
    table.stream.trim()
    assert await refused(reader.get_records(ShardIterator=iterator)) == "TrimmedDataAccessException"
    table.put(item("b"))
    assert len((await reader.get_records(ShardIterator=following))["Records"]) == 1


async def test_iterators_expire_when_a_test_says_so(reader, table):
    start = {
        "StreamArn": table.stream.arn,
        "ShardId": table.stream.open_shards()[0].id,
        "ShardIteratorType": "LATEST",
    }
    old = (await reader.get_shard_iterator(**start))["ShardIterator"]
    table.stream.expire_iterators()
    assert await refused(reader.get_records(ShardIterator=old)) == "ExpiredIteratorException"
    new = (await reader.get_shard_iterator(**start))["ShardIterator"]
    assert (await reader.get_records(ShardIterator=new))["Records"] == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER"},
        {"ShardIteratorType": "AT_TIMESTAMP"},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "1" * 41},
        {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "1" * 30},
    ],
)
async def test_a_place_that_cannot_be_is_refused(reader, table, parameters):
    start = {"StreamArn": table.stream.arn, "ShardId": table.stream.open_shards()[0].id, **parameters}
    assert await refused(reader.get_shard_iterator(**start)) == "ValidationException"


async def test_a_foreign_iterator_is_refused(reader):
    for text in ("nothing", "bm90aGluZw==", "WzFd"):
        assert await refused(reader.get_records(ShardIterator=text)) == "ValidationException"


async def test_faults_know_the_table_of_a_stream_s_calls(endpoint, reader, table):
    other = endpoint.create_table("u", stream=NEW_AND_OLD)
    endpoint.on("GetRecords", table="u").throttle()
    for stream in (table.stream, other.stream):
        await reader.describe_stream(StreamArn=stream.arn)
    assert await read(reader, table.stream, table.stream.open_shards()[0]) == []
    assert await refused(read(reader, other.stream, other.stream.open_shards()[0])) == (
        "ProvisionedThroughputExceededException"
    )
    assert endpoint.count("DescribeStream", table="u") == 1
    assert endpoint.count("GetRecords", table="t") == 1


# As a process


async def _until_nobody_is_connected(endpoint: Any) -> None:
    while endpoint._runner.server.connections:  # noqa: ASYNC110 - aiohttp tells no event of it
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)


async def test_a_client_that_is_killed_while_it_asks_is_no_failure_of_the_endpoint():
    async with ScriptedDynamo() as endpoint:
        host, port = endpoint.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert b"100 Continue" in await reader.readline()  # it has begun to read
        writer.write(b'{"TableName"')
        await writer.drain()
        writer.transport.abort()
        await _until_nobody_is_connected(endpoint)
    assert endpoint.calls == []


async def test_an_endpoint_of_its_own_is_steered_over_http():
    with steered("us-east-1/orders:NEW_IMAGE:2:h=S:r=N", "eu-west-1/copy:none") as endpoint:
        session = aioboto3.Session()
        where = {"region_name": "us-east-1", "endpoint_url": endpoint.url}
        async with session.client("dynamodb", **where) as client:
            written = {"h": {"S": "a"}, "r": {"N": "1"}, "v": {"S": "x"}}
            await client.put_item(TableName="orders", Item=written)
            described = (await client.describe_table(TableName="orders"))["Table"]
            assert described["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
            endpoint.tell("fault", "us-east-1/orders", operation="GetItem", fault="throttle", times=None)
            config = {"config": Config(retries={"mode": "legacy", "total_max_attempts": 1})}
            async with session.client("dynamodb", **where, **config) as once:
                key = {"h": {"S": "a"}, "r": {"N": "1"}}
                assert await refused(once.get_item(TableName="orders", Key=key)) == (
                    "ProvisionedThroughputExceededException"
                )
        children = endpoint.tell("split", "us-east-1/orders")
        [child] = endpoint.tell("roll", "us-east-1/orders", shard=children[0])
        shards = {shard["ShardId"]: shard for shard in endpoint.tell("shards", "us-east-1/orders")}
        assert shards[child]["ParentShardId"] == children[0]
        assert sum(shard["records"] for shard in shards.values()) == 1
        assert endpoint.tell("items", "us-east-1/orders") == [written]
        assert endpoint.tell("items", "eu-west-1/copy") == []
        endpoint.tell("expire", "us-east-1/orders", key=key)
        assert endpoint.tell("items", "us-east-1/orders") == []
        assert endpoint.tell("count", operation="GetItem") == 1
        async with session.client("dynamodbstreams", **where) as reader:
            arn = described["LatestStreamArn"]
            assert len((await reader.describe_stream(StreamArn=arn))["StreamDescription"]["Shards"]) == 5
    assert endpoint.process.returncode == 0
