"""The scripted endpoint carries out transactions as the service does, seen through a stock client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.support.operations import perform
from tests.support.request import Request
from tests.support.scenario import item
from tests.support.values import ServiceError

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedDynamo

pytestmark = pytest.mark.usefixtures("table", "other")


@pytest.fixture
def other(endpoint: ScriptedDynamo) -> Any:
    return endpoint.create_table("other", items=[item("a", n=5)])


def condition(text: str, value: Any = None, **names: str) -> dict[str, Any]:
    made: dict[str, Any] = {"ConditionExpression": text}
    if names:
        made["ExpressionAttributeNames"] = {f"#{short}": name for short, name in names.items()}
    if value is not None:
        made["ExpressionAttributeValues"] = {":v": value}
    return made


async def reasons(call: Any) -> list[dict[str, Any]]:
    with pytest.raises(ClientError) as refusal:
        await call
    assert refusal.value.response["Error"]["Code"] == "TransactionCanceledException"
    response: Any = refusal.value.response
    found: list[dict[str, Any]] = response["CancellationReasons"]
    return found


async def message(call: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        await call
    return f"{refusal.value.response['Error']['Code']}: {refusal.value.response['Error']['Message']}"


async def test_all_kinds_of_actions_are_carried_out_together(client: Any, table: Any, other: Any) -> None:
    answer = await client.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "t", "Item": item("new", s="x")}},
            {"Delete": {"TableName": "t", "Key": item("k0")}},
            {
                "Update": {
                    "TableName": "other",
                    "Key": item("b"),
                    "UpdateExpression": "SET s = :v",
                    "ExpressionAttributeValues": {":v": {"S": "y"}},
                }
            },
            {"ConditionCheck": {"TableName": "other", "Key": item("a"), **condition("n > :v", {"N": "4"})}},
        ],
        ReturnConsumedCapacity="TOTAL",
    )
    assert table.items["new"] == item("new", s="x")
    assert "k0" not in table.items
    assert other.items == {"a": item("a", n=5), "b": item("b", s="y")}
    assert answer["ConsumedCapacity"] == [
        {"TableName": "t", "CapacityUnits": 4.0},
        {"TableName": "other", "CapacityUnits": 4.0},
    ]


async def test_one_refused_condition_undoes_all_and_is_told_by_position(
    client: Any, table: Any, other: Any
) -> None:
    before = dict(table.items), dict(other.items)
    found = await reasons(
        client.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "t", "Item": item("new")}},
                {
                    "Delete": {
                        "TableName": "other",
                        "Key": item("a"),
                        **condition("n < :v", {"N": "5"}),
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                },
                {"Put": {"TableName": "t", "Item": item("big", s="x" * 500_000)}},
            ]
        )
    )
    assert [each["Code"] for each in found] == ["None", "ConditionalCheckFailed", "ValidationError"]
    assert found[1]["Item"] == item("a", n=5)
    assert (table.items, other.items) == before


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("attribute_not_exists(n) OR n < :v", {"N": "6"}, True),
        ("attribute_not_exists(n) OR n < :v", {"N": "5"}, False),
        ("attribute_exists(m) AND n = :v OR n = :v", {"N": "5"}, True),
        ("attribute_exists(m) AND (n = :v OR n = :v)", {"N": "5"}, False),
        ("n <= :v", {"N": "5.0"}, True),
        ("n >= :v", {"N": "10"}, False),
        ("n < :v", {"S": "6"}, False),
        ("id > :v", {"S": "A"}, True),
        ("id > :v", {"S": "é"}, False),
    ],
)
async def test_conditions_compare_and_choose(client: Any, text: str, value: Any, holds: bool) -> None:
    check = {"TableName": "other", "Key": item("a"), **condition(text, value)}
    call = client.transact_write_items(TransactItems=[{"ConditionCheck": check}])
    if holds:
        await call
    else:
        assert await reasons(call) == [
            {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
        ]


async def test_what_the_service_refuses_is_refused(client: Any, other: Any) -> None:
    put = {"Put": {"TableName": "other", "Item": item("x")}}
    for actions, refusal in [
        (
            [put, put],
            "ValidationException: Transaction request cannot include multiple operations on one item",
        ),
        ([{"Put": {"TableName": "other", "Item": item(f"x{number}")}} for number in range(101)], "1 to 100"),
        ([{"Put": {"TableName": "gone", "Item": item("x")}}], "ResourceNotFoundException"),
        ([{"Put": {"TableName": "other", "Item": {"s": {"S": "x"}}}}], "Missing the key id"),
        ([{"Delete": {"TableName": "other", "Key": {"n": {"N": "1"}}}}], "does not match the schema"),
    ]:
        assert refusal in await message(client.transact_write_items(TransactItems=actions))
    assert list(other.items) == ["a"]


def test_a_transaction_takes_4_mb(other: Any) -> None:
    puts = [{"Put": {"TableName": "other", "Item": item(f"x{each}", s="x" * 390_000)}} for each in range(11)]
    with pytest.raises(ServiceError, match="4 MB"):
        perform(Request({("r", "other"): other}, "TransactWriteItems", "r", {"TransactItems": puts}))
    perform(Request({("r", "other"): other}, "TransactWriteItems", "r", {"TransactItems": puts[1:]}))
    assert len(other.items) == 11


async def test_a_token_is_carried_out_once(client: Any, other: Any) -> None:
    create = {"Put": {"TableName": "other", "Item": item("x"), **condition("attribute_not_exists(id)")}}
    request = {"TransactItems": [create], "ClientRequestToken": "one"}
    await client.transact_write_items(**request)
    await client.transact_write_items(**request)
    assert "IdempotentParameterMismatch" in await message(
        client.transact_write_items(
            TransactItems=[{"Delete": {"TableName": "other", "Key": item("x")}}], ClientRequestToken="one"
        )
    )
    other.tokens = None
    assert (await reasons(client.transact_write_items(**request)))[0]["Code"] == "ConditionalCheckFailed"


async def test_transactions_conflict_by_the_script(client: Any, endpoint: ScriptedDynamo, other: Any) -> None:
    endpoint.on("TransactWriteItems", table="other").cancel("TransactionConflict", "None")
    request = {"TransactItems": [{"Delete": {"TableName": "other", "Key": item("a")}}]}
    assert [each["Code"] for each in await reasons(client.transact_write_items(**request))] == [
        "TransactionConflict", "None"
    ]  # fmt: skip
    await client.transact_write_items(**request)
    assert not other.items
    assert endpoint.count("TransactWriteItems", table="other") == 2


async def test_ttl_is_switched_on_once(client: Any, other: Any) -> None:
    wanted = {"Enabled": True, "AttributeName": "expires"}
    await client.update_time_to_live(TableName="other", TimeToLiveSpecification=wanted)
    assert other.ttl == "expires"
    call = client.update_time_to_live(TableName="other", TimeToLiveSpecification=wanted)
    assert "already enabled" in await message(call)
