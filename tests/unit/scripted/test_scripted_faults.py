"""The scripted endpoint fails as its script says, and calls back when it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession
from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tests.support.scripted import ScriptedDynamo
from tests.support.stock import guarded, item, refusal

Connect = Callable[..., Any]


# The script


@pytest.mark.usefixtures("table")
async def test_throttles_take_as_many_calls_as_stated(endpoint, client):
    throttle = endpoint.on("GetItem", table="t", times=2, after=1).throttle()
    codes = []
    for _ in range(4):
        try:
            await client.get_item(TableName="t", Key=item("k1"))
            codes.append("")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert codes == ["", *["ProvisionedThroughputExceededException"] * 2, ""]
    assert throttle.fired == 2


@pytest.mark.usefixtures("table")
async def test_statements_are_met_one_after_the_other_and_only_where_they_match(endpoint, client):
    endpoint.on("GetItem", when=lambda body: body["Key"] == item("k1")).throttle()
    endpoint.on("GetItem").error("InternalServerError", 500).forever()
    endpoint.on("GetItem", table="another").reset()
    codes = [(await refusal(client.get_item(TableName="t", Key=item(key))))[0] for key in ("k2", "k1", "k1")]
    assert codes == ["InternalServerError", "ProvisionedThroughputExceededException", "InternalServerError"]


async def test_batches_leave_a_count_or_a_share_unprocessed(endpoint, client, table):
    endpoint.on("BatchGetItem").unprocessed(2)
    endpoint.on("BatchWriteItem").unprocessed(0.5)
    asked = {"t": {"Keys": [item("k1"), item("k2"), item("k3")], "ConsistentRead": True}}
    answer = await client.batch_get_item(RequestItems=asked)
    assert answer["Responses"]["t"] == [item("k1")]
    assert answer["UnprocessedKeys"] == {"t": {"Keys": [item("k2"), item("k3")], "ConsistentRead": True}}
    writes = [{"DeleteRequest": {"Key": item(key)}} for key in ("k1", "k2", "k3")]
    answer = await client.batch_write_item(RequestItems={"t": writes})
    assert answer["UnprocessedItems"] == {"t": writes[1:]}
    assert table.get("k1") is None
    assert table.get("k2") is not None
    with pytest.raises(ValueError, match="nothing to leave unprocessed"):
        endpoint.on("Scan").unprocessed(1)


@pytest.mark.parametrize("landed", [False, True])
async def test_a_write_without_an_answer_is_lost_or_landed(endpoint, client, table, landed):
    if landed:
        endpoint.on("PutItem").land_then_reset()
    else:
        endpoint.on("PutItem").reset()
    endpoint.on("PutItem").hang_up(landed=landed)
    with pytest.raises(EndpointConnectionError):
        await client.put_item(TableName="t", Item=item("a"))
    with pytest.raises(ConnectionClosedError):
        await client.put_item(TableName="t", Item=item("b"))
    assert [table.get("a"), table.get("b")] == ([item("a"), item("b")] if landed else [None, None])


async def test_an_error_can_hide_a_write_that_landed(endpoint, client, table):
    endpoint.on("PutItem").error("InternalServerError", 500, landed=True)
    await refusal(client.put_item(TableName="t", Item=item("landed")))
    assert table.get("landed") == item("landed")


@pytest.mark.usefixtures("table")
async def test_a_corrupt_answer_is_readable_and_caught_by_its_checksum(endpoint, connect):
    endpoint.on("GetItem", times=2).corrupt()
    async with connect(attempts=3) as client:
        answer = await client.get_item(TableName="t", Key=item("k1"))
    assert answer["Item"] == item("k1")
    assert endpoint.count("GetItem") == 3
    endpoint.on("GetItem", times=2).corrupt()
    async with connect(attempts=1) as client:
        with pytest.raises(ChecksumError):
            await client.get_item(TableName="t", Key=item("k1"))
    answer = json.loads(await ask(endpoint, "GetItem", {"TableName": "t", "Key": item("k1")}))
    assert answer["Item"] == item("j1")


async def ask(endpoint: ScriptedDynamo, operation: str, body: dict[str, Any]) -> bytes:
    """What the endpoint sends to a client that checks nothing."""
    headers = {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        "Authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/dynamodb/aws4_request",
    }
    async with ClientSession() as session, session.post(endpoint.url, json=body, headers=headers) as answer:
        return await answer.read()


@pytest.mark.usefixtures("table")
async def test_a_cut_answer_breaks_off(endpoint, client):
    endpoint.on("Scan").cut()
    with pytest.raises(ConnectionClosedError):
        await client.scan(TableName="t")
    assert (await client.scan(TableName="t"))["Count"] == 10


@pytest.mark.usefixtures("table")
async def test_a_delay_outlasts_a_timeout(endpoint, connect):
    endpoint.on("Scan").delay(30)
    endpoint.on("GetItem").delay(0.05).throttle()
    async with connect(read_timeout=0.1) as client:
        with pytest.raises(ReadTimeoutError):
            await client.scan(TableName="t")
    async with connect() as client:
        started = time.monotonic()
        await refusal(client.get_item(TableName="t", Key=item("k1")))
        assert time.monotonic() - started >= 0.05


async def test_hooks_change_tables_around_operations(endpoint, client, table):
    endpoint.before("UpdateItem", lambda _: table.put(item("k1", v={"S": "raced"})))
    endpoint.after("Scan", lambda endpoint: endpoint.table("t").delete("k2"))
    assert (await client.scan(TableName="t"))["Count"] == 10
    assert (await client.scan(TableName="t"))["Count"] == 9
    condition = guarded("attribute_not_exists(#v)", v="v")
    code, _ = await refusal(client.update_item(TableName="t", Key=item("k1"), **condition))
    assert code == "ConditionalCheckFailedException"


@pytest.mark.usefixtures("table")
async def test_what_the_double_does_not_know_is_refused_aloud(client):
    code, message = await refusal(client.scan(TableName="t", IndexName="by-name"))
    assert (code, message) == ("ValidationException", "The double knows no IndexName in Scan")
    code, _ = await refusal(client.list_tables())
    assert code == "UnknownOperationException"


async def test_a_mistake_in_a_callback_fails_the_test():
    async def run() -> None:
        async with ScriptedDynamo() as endpoint:
            endpoint.before("Scan", lambda endpoint: endpoint.table("no such table"))
            assert b"500" in await ask(endpoint, "Scan", {})

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(KeyError)
