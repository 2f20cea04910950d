"""Transactions travel as raw bytes, are accounted for, and what cancels one is told action by action."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import RetryPolicy, Table, VirtualClock, open_table
from asyncrep.aws.guard import Expressions
from asyncrep.aws.transact import Action, Refused, Transacted
from asyncrep.errors import (
    PermissionDeniedError,
    RejectedError,
    ServiceError,
    TableNotFoundError,
    ThrottledError,
    UnreachableError,
)
from tests.support.scenario import item, key, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.scripted import ScriptedDynamo

BIG = "1234567890123456789012345678901234567.8"


@pytest.fixture(autouse=True)
def there(endpoint: ScriptedDynamo) -> Any:
    endpoint.create_table("guard", items=[item("g", n=5)])
    return endpoint.create_table("orders", items=[item("a", n=5, b=b"\x00\x01", big={"x": [1]})])


@asynccontextmanager
async def opened(endpoint: ScriptedDynamo, clock: VirtualClock | None = None) -> AsyncIterator[Table]:
    retry = RetryPolicy(attempts=4, patience=5.0)
    place = f"{endpoint.url}/orders"
    async with open_table(place, session=session(), clock=clock or VirtualClock(), retry=retry) as table:
        yield table


def lower(value: str) -> Expressions:
    made = Expressions()
    name = made.name("n")
    made.condition = f"attribute_not_exists({name}) OR {name}<{made.value({'N': value})}"
    return made


def put(image: bytes = b'{"id":{"S":"a"}}', value: str | None = None) -> Action:
    return Action("Put", "orders", image, None if value is None else lower(value))


def check(value: str) -> Action:
    return Action("ConditionCheck", "guard", key("g"), lower(value))


async def test_images_and_keys_travel_as_they_are(endpoint: ScriptedDynamo, there: Any) -> None:
    image = f'{{"id":{{"S":"b"}},"b":{{"B":"AAE="}},"n":{{"N":"{BIG}"}},"aws:rep:x":{{"S":"y"}}}}'.encode()
    async with opened(endpoint) as table:
        result = await table.transact([put(image), check("6")])
        assert result == Transacted(applied=True)
        assert table.meter.write_units == 4.0
        assert table.request_name == "orders"
    assert there.items["b"] == {"id": {"S": "b"}, "b": {"B": "AAE="}, "n": {"N": BIG}}


async def test_updates_and_deletes_are_carried_out(endpoint: ScriptedDynamo, there: Any) -> None:
    update = Expressions()
    update.update = f"SET {update.name('n')}={update.value({'N': '7'})} REMOVE {update.name('x')}"
    async with opened(endpoint) as table:
        done = await table.transact(
            [Action("Delete", "orders", key("a")), Action("Update", "guard", key("g"), update)]
        )
    assert done.applied
    assert not there.items
    assert endpoint.table("guard").items["g"] == item("g", n=7)


async def test_a_refused_condition_tells_the_raw_image_that_is_there(
    endpoint: ScriptedDynamo, there: Any
) -> None:
    async with opened(endpoint) as table:
        result = await table.transact([put(value="5"), check("6"), put(b'{"id":{"S":"z"}}', "1")])
        assert not result.applied
        assert not result.unsure
        first, second, third = result.refused
        assert isinstance(first, Refused)
        assert json.loads(first.current or b"") == there.items["a"]
        assert (second, third) == (None, None)
        assert table.meter.write_units == 0.0


async def test_a_condition_refused_where_nothing_is_tells_none(endpoint: ScriptedDynamo) -> None:
    made = Expressions()
    made.condition = f"attribute_exists({made.name('id')})"
    async with opened(endpoint) as table:
        result = await table.transact([Action("Delete", "orders", key("none"), made), check("5")])
    first, second = result.refused
    assert first == Refused(None)
    assert second is not None


async def test_a_lost_answer_is_made_good_by_the_token(endpoint: ScriptedDynamo, there: Any) -> None:
    endpoint.on("TransactWriteItems").land_then_reset()
    there.delete("a")
    async with opened(endpoint) as table:
        assert await table.transact([put(b'{"id":{"S":"a"},"n":{"N":"1"}}', "1")]) == Transacted(applied=True)
    tokens = {call.body["ClientRequestToken"] for call in endpoint.requests("TransactWriteItems")}
    assert len(tokens) == 1
    assert endpoint.count("TransactWriteItems") == 2


async def test_without_tokens_a_lost_answer_leaves_it_unsure(endpoint: ScriptedDynamo, there: Any) -> None:
    there.tokens = None
    there.delete("a")
    endpoint.on("TransactWriteItems").land_then_reset()
    async with opened(endpoint) as table:
        result = await table.transact([put(b'{"id":{"S":"a"},"n":{"N":"1"}}', "1")])
    assert not result.applied
    assert result.unsure


async def test_two_transactions_have_two_tokens(endpoint: ScriptedDynamo) -> None:
    async with opened(endpoint) as table:
        await table.transact([put()])
        await table.transact([put()])
    first, second = endpoint.requests("TransactWriteItems")
    assert first.body["ClientRequestToken"] != second.body["ClientRequestToken"]


@pytest.mark.parametrize(
    ("codes", "tries", "error"),
    [
        (("TransactionConflict", "None"), 4, UnreachableError),
        (("None", "TransactionConflict"), 4, UnreachableError),
        (("ConditionalCheckFailed", "TransactionConflict"), 4, UnreachableError),
        (("ValidationError", "None"), 1, RejectedError),
        (("ConditionalCheckFailed", "ValidationError"), 1, RejectedError),
        (("ItemCollectionSizeLimitExceeded", "None"), 1, RejectedError),
        (("SomethingNew", "ConditionalCheckFailed"), 1, ServiceError),
        (("None", "None"), 1, ServiceError),
    ],
)
async def test_a_canceled_transaction_is_what_its_worst_reason_is(
    endpoint: ScriptedDynamo, codes: tuple[str, ...], tries: int, error: type[ServiceError]
) -> None:
    endpoint.on("TransactWriteItems").cancel(*codes, message="Why not").forever()
    async with opened(endpoint) as table:
        with pytest.raises(ServiceError) as failure:
            await table.transact([put(), check("6")])
    assert type(failure.value) is error
    assert endpoint.count("TransactWriteItems") == tries
    if error is not ServiceError:
        assert "Why not" in str(failure.value)


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
async def test_throttled_actions_slow_the_table_down(endpoint: ScriptedDynamo, code: str) -> None:
    endpoint.on("TransactWriteItems", times=3).cancel("None", code)
    async with opened(endpoint) as table:
        assert (await table.transact([put(), check("6")])).applied
        assert table.meter.throttled == 3
        endpoint.on("TransactWriteItems").cancel("TransactionConflict", code).forever()
        with pytest.raises(ThrottledError, match="still throttled"):
            await table.transact([put(), check("6")])


async def test_a_conflict_in_passing_is_tried_again(endpoint: ScriptedDynamo) -> None:
    endpoint.on("TransactWriteItems", times=2).cancel("TransactionConflict", "None")
    endpoint.on("TransactWriteItems").error("TransactionInProgressException")
    clock = VirtualClock()
    async with opened(endpoint, clock) as table:
        assert (await table.transact([put(), check("6")])).applied
    assert len(clock.slept) == 3


async def test_a_damaged_refusal_is_asked_for_again(endpoint: ScriptedDynamo) -> None:
    endpoint.on("TransactWriteItems").corrupt()
    async with opened(endpoint) as table:
        result = await table.transact([put(value="5")])
    assert not result.applied
    assert endpoint.count("TransactWriteItems") == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", PermissionDeniedError),
        ("ResourceNotFoundException", TableNotFoundError),
        ("IdempotentParameterMismatchException", ServiceError),
    ],
)
async def test_other_refusals_are_translated(
    endpoint: ScriptedDynamo, code: str, error: type[ServiceError]
) -> None:
    endpoint.on("TransactWriteItems").error(code)
    async with opened(endpoint) as table:
        with pytest.raises(error):
            await table.transact([put()])


async def test_an_item_that_is_too_large_is_rejected(endpoint: ScriptedDynamo) -> None:
    image = json.dumps(item("a", s="x" * 500_000)).encode()
    async with opened(endpoint) as table:
        with pytest.raises(RejectedError, match="Item size has exceeded"):
            await table.transact([put(image), check("6")])
