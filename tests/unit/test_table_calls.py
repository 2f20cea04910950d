"""Calls to a table are made without botocore after the first, and end in what they would have ended in with it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from asyncrep.aws.errors import cure, is_silence
from asyncrep.aws.session import BODY, open_client
from asyncrep.aws.table_calls import TableCalls
from asyncrep.location import TableRef
from tests.support.scenario import PRIMARY, item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.script import Statement
    from tests.support.scripted import ScriptedDynamo

SCAN = b'{"TableName":"orders"}'
PUT = b'{"TableName":"orders","Item":{"id":{"S":"a"}},"ConditionExpression":"attribute_not_exists(#0)",'
PUT += b'"ExpressionAttributeNames":{"#0":"id"}}'
TRANSACTION = b'{"TransactItems":[{"Delete":{"TableName":"orders","Key":{"id":{"S":"a"}}}}]}'


@asynccontextmanager
async def opened(endpoint: ScriptedDynamo) -> AsyncIterator[tuple[TableCalls, list[str], Any]]:
    """Calls, the operations that botocore is asked for, and the client."""
    asked: list[str] = []
    async with open_client(TableRef.parse(f"{PRIMARY}/orders", endpoint_url=endpoint.url)) as opened:
        client: Any = opened
        client.meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))
        yield TableCalls(client), asked, client


@pytest.fixture(autouse=True)
def _table(endpoint: ScriptedDynamo) -> None:
    endpoint.create_table("orders", items=[item("a", v="x")])


async def test_after_the_first_call_botocore_is_not_asked_again(endpoint):
    async with opened(endpoint) as (calls, asked, _):
        first, second = [await calls.call("Scan", "orders", SCAN) for _number in range(2)]
        assert first == second
        assert asked == ["Scan"]
        await calls.call("TransactWriteItems", "orders", TRANSACTION)
        empty = await calls.call("Scan", "orders", SCAN)
        assert b'"Count":0' in empty.replace(b" ", b"")
        assert asked == ["Scan"]
    sent = endpoint.requests("Scan")
    assert [call.region for call in sent] == [PRIMARY] * 3
    assert [call.body for call in sent] == [sent[0].body] * 3


async def ended(calls: TableCalls, operation: str, body: bytes) -> Any:
    """How a call ended: what is made of it, and what a person is told."""
    try:
        return await calls.call(operation, "orders", body)
    except ClientError as error:
        return error.response["Error"], error.response["ResponseMetadata"]["HTTPStatusCode"], cure(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error), cure(error), is_silence(error)


@pytest.mark.parametrize(
    "script",
    [
        lambda statement: statement.throttle(),
        lambda statement: statement.error("ValidationException"),
        lambda statement: statement.error("ExpiredTokenException"),
        lambda statement: statement.error("InternalServerError", 500),
        lambda statement: statement.error("ServiceUnavailable", 503),
        lambda statement: statement.reset(),
        lambda statement: statement.hang_up(),
        lambda statement: statement.cut(),
        lambda statement: statement.corrupt(),
    ],
)
@pytest.mark.parametrize(
    ("operation", "body"), [("Scan", SCAN), ("PutItem", PUT), ("TransactWriteItems", TRANSACTION)]
)
async def test_what_goes_wrong_is_told_as_by_botocore(
    endpoint: ScriptedDynamo, script: Callable[[Statement], object], operation: str, body: bytes
) -> None:
    async with opened(endpoint) as (calls, asked, client):
        await calls.call("Scan", "orders", SCAN)
        script(endpoint.on(operation, times=2))
        ends = [await ended(each, operation, body) for each in (TableCalls(client), calls)]
        assert asked == ["Scan", operation]
        assert ends[0] == ends[1]
        assert isinstance(ends[0], tuple), "it did not fail"


async def test_a_condition_that_fails_is_told_as_by_botocore(endpoint):
    async with opened(endpoint) as (calls, asked, client):
        await calls.call("Scan", "orders", SCAN)
        stock, lean = [await ended(each, "PutItem", PUT) for each in (TableCalls(client), calls)]
        assert stock == lean
        assert lean[0]["Code"] == "ConditionalCheckFailedException"
        assert asked == ["Scan", "PutItem"]


async def test_what_cancels_a_transaction_is_told_as_by_botocore(endpoint):
    refused = json.loads(PUT) | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    body = json.dumps({"TransactItems": [{"Put": refused}]}).encode()
    async with opened(endpoint) as (calls, asked, client):
        await calls.call("Scan", "orders", SCAN)
        errors: list[Any] = []
        for each in (TableCalls(client), calls):
            with pytest.raises(ClientError) as caught:
                await each.call("TransactWriteItems", "orders", body)
            errors.append(caught.value.response)
        assert asked == ["Scan", "TransactWriteItems"]
    stock, lean = errors
    assert stock["Error"] == lean["Error"]
    assert stock[BODY] == lean[BODY]
    assert json.loads(lean[BODY])["CancellationReasons"][0]["Item"] == item("a", v="x")
    for told in (stock["CancellationReasons"], lean["CancellationReasons"]):
        assert [(each["Code"], each["Message"]) for each in told] == [
            ("ConditionalCheckFailed", "The conditional request failed")
        ]


async def test_a_header_that_somebody_else_adds_is_on_every_request(endpoint):
    async with opened(endpoint) as (calls, asked, client):
        client.meta.events.register(
            "before-sign.dynamodb", lambda request, **_: request.headers.add_header("X-Trace", "mine")
        )
        for _ in range(2):
            await calls.call("Scan", "orders", SCAN)
        assert asked == ["Scan", "Scan"]
