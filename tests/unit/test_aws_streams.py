"""Streams are read to their ends: every page, every kind of start, raw values, and errors that say what to do."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from asyncrep import (
    DataTrimmedError,
    IteratorExpiredError,
    PermissionDeniedError,
    RejectedError,
    RetryPolicy,
    StreamNotFoundError,
    ThrottledError,
    UnreachableError,
    VirtualClock,
    open_table,
)
from asyncrep.aws.session import open_streams_client
from asyncrep.aws.streams import After, At, Latest, Shard, TrimHorizon, open_streams, streams_endpoint
from asyncrep.location import TableRef
from tests.support import engines
from tests.support.engines import free_port
from tests.support.scenario import PRIMARY, item, wire
from tests.support.streams import NEW_AND_OLD

WHERE = f"{PRIMARY}/orders"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def table(endpoint, clock):
    table = endpoint.create_table("orders")
    table.enable_stream(clock=clock)
    return table


@pytest.fixture
async def streams(endpoint, clock):
    ref = TableRef.parse(WHERE, endpoint_url=endpoint.url)
    async with open_streams(ref, clock=clock, retry=RetryPolicy(attempts=4)) as streams:
        yield streams


def write(table, count, **attributes):
    for number in range(count):
        table.put(item(f"k{number:04}", **attributes))


def only(table):
    [shard] = table.stream.shards.values()
    return shard


def sequences(records):
    return [int(msgspec.json.decode(record)["dynamodb"]["SequenceNumber"]) for record in records]


def names(records):
    return [msgspec.json.decode(record)["dynamodb"]["Keys"]["id"]["S"] for record in records]


async def begun(streams, table, start=TrimHorizon()):  # noqa: B008 - a frozen value
    return await streams.iterator(table.stream.arn, only(table).id, start)


# Settings of the table


async def test_a_table_tells_its_stream(endpoint, table):
    async with open_table(WHERE, endpoint_url=endpoint.url) as opened:
        assert opened.settings.stream_arn == table.stream.arn
        assert opened.settings.stream_view == NEW_AND_OLD


async def test_a_stream_that_was_switched_off_is_none(endpoint, table):
    table.stream.disable()
    async with open_table(WHERE, endpoint_url=endpoint.url) as opened:
        assert (opened.settings.stream_arn, opened.settings.stream_view) == (None, None)


async def test_a_table_without_a_stream_tells_none(endpoint):
    endpoint.create_table("orders")
    async with open_table(WHERE, endpoint_url=endpoint.url) as opened:
        assert (opened.settings.stream_arn, opened.settings.stream_view) == (None, None)


# Shards


async def test_a_description_holds_status_view_and_shards_with_their_parents(streams, table):
    parent = only(table)
    write(table, 3)
    left, right = table.stream.split()
    described = await streams.describe(table.stream.arn)
    assert (described.status, described.view) == ("ENABLED", NEW_AND_OLD)
    assert described.shards == (
        Shard(parent.id, None, parent.first, parent.last),
        Shard(left.id, parent.id, left.first, None),
        Shard(right.id, parent.id, right.first, None),
    )
    assert [shard.is_closed for shard in described.shards] == [True, False, False]


async def test_every_page_of_a_description_is_read(endpoint, streams, table):
    for _ in range(249):
        table.stream.roll()
    shards = (await streams.describe(table.stream.arn)).shards
    assert [shard.id for shard in shards] == list(table.stream.shards)
    assert len(shards) == 250
    asked = [call.body.get("ExclusiveStartShardId") for call in endpoint.requests("DescribeStream")]
    assert asked == [None, shards[99].id, shards[199].id]


async def test_the_shards_of_a_disabled_stream_are_closed(streams, table):
    table.stream.disable()
    described = await streams.describe(table.stream.arn)
    assert described.status == "DISABLED"
    assert all(shard.is_closed for shard in described.shards)


async def test_what_does_not_describe_a_stream_is_not_dynamodb(streams, table, monkeypatch):
    monkeypatch.setattr("tests.support.scripted.perform", lambda _: {})
    with pytest.raises(UnreachableError, match="is not DynamoDB"):
        await streams.describe(table.stream.arn)
    with pytest.raises(UnreachableError, match="is not DynamoDB"):
        await begun(streams, table)
    with pytest.raises(UnreachableError, match="damaged"):
        await streams.records("any")


# Records


async def test_records_come_in_pages_until_an_open_shard_has_no_more(streams, table):
    write(table, 25)
    iterator, seen = await begun(streams, table), []
    for expected in (10, 10, 5, 0):
        page = await streams.records(iterator, 10)
        assert len(page.records) == expected
        assert page.next is not None
        iterator = page.next
        seen += page.records
    assert names(seen) == [f"k{number:04}" for number in range(25)]


async def test_a_closed_shard_ends_with_records_in_its_last_page(streams, table):
    write(table, 5)
    iterator = await begun(streams, table)
    table.stream.split()
    page = await streams.records(iterator)
    assert len(page.records) == 5
    assert page.next is None


async def test_a_shard_that_is_closed_behind_its_reader_ends_with_an_empty_page(streams, table):
    write(table, 5)
    page = await streams.records(await begun(streams, table))
    table.stream.split()
    assert page.next is not None
    assert await streams.records(page.next) == ([], None)


async def test_an_iterator_can_be_asked_again(streams, table):
    write(table, 5)
    iterator = await begun(streams, table)
    assert (await streams.records(iterator)).records == (await streams.records(iterator)).records


async def test_an_empty_page_is_not_the_end(streams, table):
    write(table, 5)
    table.stream.empty_pages = 1
    page = await streams.records(await begun(streams, table))
    assert page.records == []
    assert page.next is not None
    assert len((await streams.records(page.next)).records) == 5


async def test_values_come_as_they_travelled(streams, table):
    written = item("a", binary=b"\x00\xff", number=wire(7)["N"], deep={"list": [b"\xfe", 1, None]})
    written["exact"] = {"N": "100000000000000000000000000000000000.10"}
    table.put(written)
    [record] = (await streams.records(await begun(streams, table))).records
    assert isinstance(record, msgspec.Raw)
    assert b'"binary":{"B":"AP8="}' in bytes(record)
    assert msgspec.json.decode(record)["dynamodb"]["NewImage"] == written


async def test_a_start_can_be_anywhere(streams, table):
    write(table, 5)
    third = sequences((await streams.records(await begun(streams, table))).records)[2]
    for start, expected in (
        (TrimHorizon(), ["k0000", "k0001", "k0002", "k0003", "k0004"]),
        (At(third), ["k0002", "k0003", "k0004"]),
        (After(third), ["k0003", "k0004"]),
        (Latest(), []),
    ):
        assert names((await streams.records(await begun(streams, table, start))).records) == expected
    tip = await begun(streams, table, Latest())
    table.put(item("new"))
    assert names((await streams.records(tip)).records) == ["new"]


@pytest.mark.parametrize("first", [10**20, 10**37, 10**38, 10**39])
async def test_sequence_numbers_of_up_to_forty_digits_survive(streams, endpoint, clock, first):
    table = endpoint.create_table("orders")
    table.enable_stream(clock=clock)
    table.stream._sequence = first
    [shard] = table.stream.split()[:1]
    write(table, 20)
    described = {each.id: each for each in (await streams.describe(table.stream.arn)).shards}
    assert described[shard.id].first == shard.first > first
    last = shard.entries[-1].sequence
    iterator = await streams.iterator(table.stream.arn, shard.id, At(last))
    assert sequences((await streams.records(iterator)).records) == [last]


# What goes wrong


async def test_an_old_iterator_has_expired(streams, table, clock):
    iterator = await begun(streams, table)
    await clock.sleep(899)
    assert (await streams.records(iterator)).records == []
    await clock.sleep(2)
    with pytest.raises(IteratorExpiredError, match=WHERE):
        await streams.records(iterator)


async def test_trimmed_records_are_told_as_lost(streams, table):
    write(table, 3)
    iterator = await begun(streams, table)
    first = only(table).entries[0].sequence
    table.stream.trim()
    for start in (At(first), After(first)):
        with pytest.raises(DataTrimmedError, match=r"GetShardIterator on us-east-1/orders"):
            await begun(streams, table, start)
    with pytest.raises(DataTrimmedError, match=r"GetRecords on us-east-1/orders"):
        await streams.records(iterator)
    table.put(item("later"))
    assert names((await streams.records(await begun(streams, table))).records) == ["later"]


async def test_a_shard_that_is_gone_is_no_missing_table(streams, table):
    parent = only(table)
    iterator = await begun(streams, table)
    table.stream.roll()
    table.stream.trim()
    with pytest.raises(StreamNotFoundError, match="or a shard of it"):
        await streams.records(iterator)
    with pytest.raises(StreamNotFoundError):
        await streams.iterator(table.stream.arn, parent.id, TrimHorizon())
    assert [shard.parent for shard in (await streams.describe(table.stream.arn)).shards] == [parent.id]


async def test_a_stream_that_is_gone_is_no_missing_table(endpoint, streams, table):
    arn = table.stream.arn
    iterator = await begun(streams, table)
    endpoint._tables.clear()
    for asked in (streams.describe(arn), streams.records(iterator)):
        with pytest.raises(StreamNotFoundError):
            await asked


async def test_a_number_of_another_shard_is_rejected(streams, table):
    first = only(table).first
    child = table.stream.roll()
    with pytest.raises(RejectedError, match="SequenceNumber"):
        await streams.iterator(table.stream.arn, child.id, At(first))


OPERATIONS = {
    "DescribeStream": lambda streams, table: streams.describe(table.stream.arn),
    "GetShardIterator": begun,
    "GetRecords": lambda streams, table: streams.records(
        table.stream.iterator(only(table).id, "TRIM_HORIZON").encode()
    ),
}
FAULTS = {
    "throttled": lambda statement: statement.throttle(),
    "limited": lambda statement: statement.error("LimitExceededException"),
    "slowed": lambda statement: statement.error("ThrottlingException"),
    "server error": lambda statement: statement.error("InternalServerError", 500),
    "reset": lambda statement: statement.reset(),
    "hung up": lambda statement: statement.hang_up(),
    "cut": lambda statement: statement.cut(),
    "corrupted": lambda statement: statement.corrupt(),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_goes_wrong_on_the_way_is_tried_again(endpoint, streams, table, clock, operation, fault):
    write(table, 3)
    expected = await OPERATIONS[operation](streams, table)
    FAULTS[fault](endpoint.on(operation, table="orders", times=3))
    answered = await OPERATIONS[operation](streams, table)
    assert endpoint.count(operation) == 5
    assert len(clock.slept) == 3
    if operation != "GetShardIterator":
        assert (answered[0] if operation == "GetRecords" else answered) == (
            expected[0] if operation == "GetRecords" else expected
        )


async def test_a_wrong_checksum_is_named(endpoint, streams, table):
    endpoint.on("GetRecords", times=None).corrupt()
    with pytest.raises(UnreachableError, match=r"GetRecords on us-east-1/orders.*CRC-32"):
        await streams.records(await begun(streams, table))
    assert endpoint.count("GetRecords") == 4


async def test_an_endless_throttle_ends_with_patience(endpoint, clock, table):
    endpoint.on("GetRecords", times=None).throttle()
    ref = TableRef.parse(WHERE, endpoint_url=endpoint.url)
    retry = RetryPolicy(attempts=1, patience=20.0, longest=2.0)
    async with open_streams(ref, clock=clock, retry=retry) as streams:
        with pytest.raises(ThrottledError, match="still throttled"):
            await streams.records(await begun(streams, table))
    assert 20.0 <= clock.monotonic() <= 22.0


async def test_a_missing_permission_is_not_tried_again(endpoint, streams, table):
    endpoint.on("DescribeStream").error("AccessDeniedException")
    with pytest.raises(PermissionDeniedError, match="DescribeStream"):
        await streams.describe(table.stream.arn)
    assert endpoint.count("DescribeStream") == 1


async def test_nobody_there_is_unreachable(table, clock):
    ref = TableRef.parse(WHERE, endpoint_url=f"http://127.0.0.1:{free_port()}")
    async with open_streams(ref, clock=clock, retry=RetryPolicy(silences=2)) as streams:
        with pytest.raises(UnreachableError, match="DescribeStream on us-east-1/orders"):
            await streams.describe(table.stream.arn)
    assert len(clock.slept) == 1


@pytest.mark.parametrize("state", ["throttled for ever", "waiting for an answer"])
async def test_a_cancelled_reader_ends_at_once(endpoint, table, state):
    statement = endpoint.on("GetRecords", times=None)
    arrived = asyncio.Event()
    endpoint.before("GetRecords", lambda _: arrived.set(), times=None, after=state.startswith("throttled"))
    if state.startswith("throttled"):
        statement.throttle()
    else:
        statement.delay(0.5)
    ref = TableRef.parse(WHERE, endpoint_url=endpoint.url)
    retry = RetryPolicy(first=0.01, longest=0.01, patience=1000.0)
    async with open_streams(ref, retry=retry) as streams, asyncio.TaskGroup() as group:
        reader = group.create_task(streams.records(await begun(streams, table)))
        await arrived.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader


# The seam and the ways there


async def test_botocore_makes_one_attempt(endpoint, table):
    endpoint.on("DescribeStream", times=None).error("InternalServerError", 500)
    async with open_streams_client(TableRef("orders", PRIMARY), endpoint_url=endpoint.url) as client:
        with pytest.raises(client.exceptions.InternalServerError):
            await client.describe_stream(StreamArn=table.stream.arn)
        events: Any = client.meta.events
        handlers = events._emitter._handlers.prefix_search("needs-retry.dynamodb-streams")
        assert list(handlers) == []
    assert endpoint.count("DescribeStream") == 1


@pytest.mark.parametrize(
    ("of_tables", "of_streams"),
    [
        (None, None),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://dynamodb.us-east-1.amazonaws.com", "https://streams.dynamodb.us-east-1.amazonaws.com"),
        (
            "https://dynamodb-fips.us-east-1.amazonaws.com",
            "https://streams.dynamodb-fips.us-east-1.amazonaws.com",
        ),
        (
            "https://dynamodb.cn-north-1.amazonaws.com.cn",
            "https://streams.dynamodb.cn-north-1.amazonaws.com.cn",
        ),
        (
            "https://123456789012.ddb.eu-west-1.amazonaws.com",
            "https://streams.dynamodb.eu-west-1.amazonaws.com",
        ),
        ("https://dynamodb.eu-west-1.api.aws", "https://streams-dynamodb.eu-west-1.api.aws"),
        ("https://vpce-1a2b.dynamodb.us-east-1.vpce.amazonaws.com", None),
    ],
)
def test_the_streams_endpoint_follows_from_that_of_the_tables(of_tables, of_streams):
    assert streams_endpoint(of_tables) == of_streams


def test_the_environment_s_endpoint_of_tables_serves_their_streams_too(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000")
    assert streams_endpoint(None) == "http://127.0.0.1:8000"
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "http://127.0.0.1:9000")
    assert streams_endpoint(None) is None
    assert streams_endpoint("https://dynamodb.us-east-1.amazonaws.com") is None
    assert streams_endpoint("http://127.0.0.1:7000") == "http://127.0.0.1:7000"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "AWS_ENDPOINT_URL_DYNAMODB"])
async def test_the_environment_s_endpoint_is_asked(endpoint, table, monkeypatch, name):
    monkeypatch.setenv(name, endpoint.url)
    async with open_streams(TableRef("orders", PRIMARY), retry=RetryPolicy(attempts=1)) as streams:
        assert (await streams.describe(table.stream.arn)).status == "ENABLED"


# Another implementation


async def test_moto_s_stream_is_read_alike(moto_url):
    engine = engines.moto(moto_url)
    name = engine.create_table(stream=NEW_AND_OLD)
    try:
        location = f"{PRIMARY}/{name}"
        async with open_table(location, endpoint_url=moto_url) as opened:
            arn = opened.settings.stream_arn or ""
            assert opened.settings.stream_view == NEW_AND_OLD
        engine.put(name, [item("a", b=b"\xff", v=1), item("b")])
        engine.delete(name, [item("a")])
        async with open_streams(TableRef.parse(location, endpoint_url=moto_url)) as streams:
            described = await streams.describe(arn)
            [shard] = described.shards
            assert (described.status, described.view) == ("ENABLED", NEW_AND_OLD)
            assert shard.parent is None
            assert not shard.is_closed
            page = await streams.records(await streams.iterator(arn, shard.id, TrimHorizon()))
            assert names(page.records) == ["a", "b", "a"]
            assert b'"B":"/w=="' in bytes(page.records[0]).replace(b" ", b"")
            assert page.next is not None
            assert (await streams.records(page.next)).records == []
            _, second, _ = sequences(page.records)
            after = await streams.iterator(arn, shard.id, At(second))
            assert names((await streams.records(after)).records) == ["b", "a"]
    finally:
        engine.delete_tables()
