"""The scripted endpoint answers a stock client as DynamoDB would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
)

Connect = Callable[..., Any]


def item(key: str, **attributes: dict[str, Any]) -> dict[str, Any]:
    return {"id": {"S": key}, **attributes}


def guarded(condition: str, values: dict[str, Any] | None = None, **names: str) -> dict[str, Any]:
    """The parameters of a condition: names by `#letter`, values as given."""
    parameters: dict[str, Any] = {"ConditionExpression": condition}
    parameters["ExpressionAttributeNames"] = {f"#{letter}": name for letter, name in names.items()}
    if values is not None:
        parameters["ExpressionAttributeValues"] = values
    return parameters


async def refusal(operation: Any) -> tuple[str, str]:
    """The code and message of the error the operation meets with."""
    with pytest.raises(ClientError) as caught:
        await operation
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


async def scan(client: Any, **parameters: Any) -> list[dict[str, Any]]:
    """The answers of a whole scan."""
    pages = [await client.scan(TableName="t", **parameters)]
    while last := pages[-1].get("LastEvaluatedKey"):
        pages.append(await client.scan(TableName="t", ExclusiveStartKey=last, **parameters))
    return pages


# Tables and reads


async def test_tables_of_two_regions_are_different(endpoint, connect):
    endpoint.create_table("t", "us-east-1", items=[item("a")])
    endpoint.create_table("t", "eu-west-1", items=[item("b")])
    async with connect("eu-west-1") as client:
        assert (await client.scan(TableName="t"))["Items"] == [item("b")]
    async with connect("ap-south-1") as client:
        code, _ = await refusal(client.scan(TableName="t"))
    assert code == "ResourceNotFoundException"
    assert endpoint.count("Scan") == 2
    assert endpoint.requests("Scan", region="eu-west-1")[0].body == {"TableName": "t"}


async def test_describe_tells_keys_ttl_and_what_the_test_adds(endpoint, client):
    table = endpoint.create_table("orders", hash=("h", "N"), range=("r", "B"), ttl="expires")
    table.description["Replicas"] = [{"RegionName": "eu-west-1"}]
    described = (await client.describe_table(TableName="orders"))["Table"]
    assert described["KeySchema"] == [
        {"AttributeName": "h", "KeyType": "HASH"},
        {"AttributeName": "r", "KeyType": "RANGE"},
    ]
    assert described["Replicas"] == [{"RegionName": "eu-west-1"}]
    ttl = (await client.describe_time_to_live(TableName="orders"))["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    code, _ = await refusal(client.describe_global_table(GlobalTableName="orders"))
    assert code == "GlobalTableNotFoundException"
    table.global_regions = ["us-east-1", "eu-west-1"]
    answer = await client.describe_global_table(GlobalTableName="orders")
    assert len(answer["GlobalTableDescription"]["ReplicationGroup"]) == 2


async def test_a_client_can_create_a_table(endpoint, client):
    await client.create_table(
        TableName="t",
        AttributeDefinitions=[{"AttributeName": "h", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    await client.put_item(TableName="t", Item={"h": {"S": "a"}})
    assert endpoint.table("t").items == {"a": {"h": {"S": "a"}}}


async def test_scan_pages_and_segments_cover_the_table_once(client, table):
    table.page_items = 2
    pages = [page for segment in range(4) for page in await scan(client, Segment=segment, TotalSegments=4)]
    found = [found["id"]["S"] for page in pages for found in page["Items"]]
    assert sorted(found) == sorted(table.items)
    assert max(page["Count"] for page in pages) == 2
    table.segment_of = lambda _, segments: segments - 1
    assert (await client.scan(TableName="t", Segment=0, TotalSegments=4))["Items"] == []
    code, _ = await refusal(client.scan(TableName="t", Segment=4, TotalSegments=4))
    assert code == "ValidationException"


@pytest.mark.usefixtures("table")
async def test_a_page_ended_by_limit_always_has_a_key_to_go_on(client):
    assert [page["Count"] for page in await scan(client, Limit=5)] == [5, 5, 0]


async def test_a_page_ends_at_one_megabyte(client, table):
    for key in table.items:
        table.items[key]["v"] = {"S": "x" * 300_000}
    assert [page["Count"] for page in await scan(client)] == [4, 4, 2]


async def test_range_keys_scan_in_order_under_their_hash_key(endpoint, client):
    items = [{"h": {"S": "a"}, "r": {"N": str(number)}} for number in (10, 9, -1)]
    table = endpoint.create_table("t", hash=("h", "S"), range=("r", "N"), items=items)
    assert [page["Items"] for page in await scan(client, Limit=3)] == [items[::-1], []]
    assert table.items["a", 9] == items[1]
    answer = await client.get_item(TableName="t", Key={"h": {"S": "a"}, "r": {"N": "9.0"}})
    assert answer["Item"] == items[1]


async def test_projections_keep_top_level_names(client, table):
    table.put(item("a", S={"S": "1"}, other={"N": "1"}))
    asked = {"ProjectionExpression": "#i, #s", "ExpressionAttributeNames": {"#i": "id", "#s": "S"}}
    expected = item("a", S={"S": "1"})
    assert (await client.get_item(TableName="t", Key=item("a"), **asked))["Item"] == expected
    answer = await client.batch_get_item(RequestItems={"t": {"Keys": [item("a")], **asked}})
    assert answer["Responses"] == {"t": [expected]}
    pages = await scan(client, **asked)
    assert expected in pages[0]["Items"]


async def test_eventual_reads_can_be_stale_and_strong_ones_never_are(client, table):
    table.freeze_reads()
    table.put(item("k1", v={"N": "2"}))
    table.stale["k2"] = None
    table.stale["k3"] = item("k3", v={"S": "old"})

    async def read(key: str, *, consistent: bool) -> Any:
        answer = await client.get_item(TableName="t", Key=item(key), ConsistentRead=consistent)
        return answer.get("Item")

    assert await read("k1", consistent=False) == item("k1")
    assert await read("k2", consistent=False) is None
    assert await read("k3", consistent=False) == item("k3", v={"S": "old"})
    assert await read("k1", consistent=True) == item("k1", v={"N": "2"})
    assert await read("k2", consistent=True) == item("k2")
    assert (await client.scan(TableName="t"))["Count"] == 9
    table.thaw_reads()
    assert await read("k1", consistent=False) == item("k1", v={"N": "2"})


async def test_capacity_is_counted_in_blocks(client, table):
    table.put(item("big", v={"S": "x" * 5000}))
    total = {"ReturnConsumedCapacity": "TOTAL"}
    read = await client.get_item(TableName="t", Key=item("big"), **total)
    assert read["ConsumedCapacity"] == {"TableName": "t", "CapacityUnits": 1.0}
    keys = {"Keys": [item("big"), item("k1"), item("none")], "ConsistentRead": True}
    read = await client.batch_get_item(RequestItems={"t": keys}, **total)
    assert read["ConsumedCapacity"] == [{"TableName": "t", "CapacityUnits": 4.0}]
    scanned = await client.scan(TableName="t", **total)
    assert scanned["ConsumedCapacity"]["CapacityUnits"] == 1.0
    deleted = await client.delete_item(TableName="t", Key=item("big"), **total)
    assert deleted["ConsumedCapacity"]["CapacityUnits"] == 5.0


# Writes and conditions


@pytest.mark.parametrize(
    ("stored", "compared", "same"),
    [
        ({"N": "1"}, {"N": "1.0"}, True),
        ({"N": "100"}, {"N": "1E2"}, True),
        ({"N": "12345678901234567890123456789012345678"}, {"N": "12345678901234567890123456789012345677"}, False),
        ({"S": "1"}, {"N": "1"}, False),
        ({"BOOL": True}, {"N": "1"}, False),
        ({"NS": ["1", "2"]}, {"NS": ["2.0", "1"]}, True),
        ({"SS": ["a"]}, {"SS": ["a", "b"]}, False),
        ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}, False),
        ({"M": {"a": {"SS": ["x", "y"]}, "b": {"N": "1"}}}, {"M": {"b": {"N": "1.0"}, "a": {"SS": ["y", "x"]}}}, True),
        ({"B": b"\x00\xff"}, {"B": b"\x00\xff"}, True),
        ({"NULL": True}, {"S": ""}, False),
    ],
)  # fmt: skip
async def test_conditions_compare_by_value(client, table, stored, compared, same):
    await client.put_item(TableName="t", Item=item("a", v=stored))
    write = client.put_item(TableName="t", Item=item("a"), **guarded("#v = :v", {":v": compared}, v="v"))
    if same:
        await write
        assert table.items["a"] == item("a")
    else:
        assert await refusal(write) == ("ConditionalCheckFailedException", "The conditional request failed")
        assert "v" in table.items["a"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_exists(#i)", True),
        ("attribute_not_exists(#i)", False),
        ("attribute_exists(#i) AND attribute_not_exists(#x) AND #v = :v", True),
        ("(attribute_exists(#i) and (#v = :v AND attribute_not_exists(#x)))", True),
        ("#v = :v AND #x = :v AND attribute_exists(#i)", False),
    ],
)
async def test_conditions_join_and_nest(client, table, condition, holds):
    table.put(item("a", v={"N": "7"}))
    names = {"i": "id", "v": "v", "x": "absent"}
    used = {letter: name for letter, name in names.items() if f"#{letter}" in condition}
    values = {":v": {"N": "7"}} if ":v" in condition else None
    write = client.delete_item(TableName="t", Key=item("a"), **guarded(condition, values, **used))
    if holds:
        await write
        assert table.get("a") is None
    else:
        await refusal(write)
        assert table.get("a") is not None


async def test_a_failed_condition_answers_the_item_when_asked(client, table):
    table.put(item("a", v={"N": "7"}))
    parameters = guarded("attribute_not_exists(#i)", i="id")
    parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    with pytest.raises(ClientError) as caught:
        await client.put_item(TableName="t", Item=item("a"), **parameters)
    answer: Any = caught.value.response
    assert answer["Item"] == item("a", v={"N": "7"})


async def test_updates_set_and_remove_and_answer_the_old_image(client, table):
    old = item("a", keep={"S": "k"}, change={"N": "1"}, drop={"BOOL": True})
    table.put(old)
    answer = await client.update_item(
        TableName="t",
        Key=item("a"),
        UpdateExpression="SET #c = :c, #n = :n REMOVE #d, #none",
        ExpressionAttributeNames={"#c": "change", "#n": "a.new name", "#d": "drop", "#none": "none"},
        ExpressionAttributeValues={":c": {"N": "1.50"}, ":n": {"M": {}}},
        ReturnValues="ALL_OLD",
    )
    assert answer["Attributes"] == old
    expected: dict[str, Any] = {"keep": {"S": "k"}, "change": {"N": "1.50"}, "a.new name": {"M": {}}}
    assert table.items["a"] == item("a", **expected)


async def test_an_update_of_no_item_makes_one(client, table):
    names, values = {"#v": "v"}, {":v": {"S": "x"}}
    update = {"UpdateExpression": "SET #v = :v", "ExpressionAttributeNames": names}
    await client.update_item(TableName="t", Key=item("new"), ExpressionAttributeValues=values, **update)
    assert table.items["new"] == item("new", v={"S": "x"})


def _condition_of(terms: int) -> dict[str, Any]:
    return guarded(" AND ".join(["#v=:v"] * terms), {":v": {"S": ""}}, v="v")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (_condition_of(150) | {"Item": item("a")}, "conditional request failed"),
        (_condition_of(151) | {"Item": item("a")}, "too many operators"),
        (_condition_of(500) | {"Item": item("a")}, "Expression size has exceeded"),
        ({"Item": item("")}, "empty string value. Key: id"),
        ({"Item": {"other": {"S": "a"}}}, "Missing the key id"),
        ({"Item": {"id": {"N": "1"}}}, "Type mismatch for key id"),
        ({"Item": item("a", v={"S": "x" * 409_600})}, "Item size has exceeded"),
        ({"Item": item("a", v={"N": "1" * 39})}, "38 significant digits"),
        ({"Item": item("a", v={"SS": []})}, "may not be empty"),
        ({"Item": item("a", v={"NS": ["1", "1.0"]})}, "contains duplicates"),
        ({"Item": item("a"), **guarded("#v = :v", {":v": {"S": ""}}, v="v", w="w")}, "unused in expressions"),
        ({"Item": item("a"), **guarded("#v = :w", {":v": {"S": ""}}, v="v")}, "is not defined"),
        ({"Item": item("a"), **guarded("#v <> :v", {":v": {"S": ""}}, v="v")}, "Syntax error"),
        ({"Item": item("a"), **guarded("NOT #v = :v", {":v": {"S": ""}}, v="v")}, "Syntax error"),
    ],
)
async def test_what_the_service_refuses_is_refused(client, table, parameters, message):
    before = dict(table.items)
    code, text = await refusal(client.put_item(TableName="t", **parameters))
    assert code in ("ValidationException", "ConditionalCheckFailedException")
    assert message in text
    assert table.items == before


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("SET #i = :v", "part of the key"),
        ("SET #v = :v REMOVE #v", "overlap"),
        ("SET #v = :v SET #w = :v", "only be used once"),
        ("ADD #v :v", "Syntax error"),
        ("SET #v = #w", "Syntax error"),
        ("REMOVE " + ", ".join(f"name_{number:04}" for number in range(400)), "Expression size"),
    ],
)
@pytest.mark.usefixtures("table")
async def test_updates_the_service_refuses_are_refused(client, expression, message):
    names = {"#i": "id", "#v": "v", "#w": "w"}
    parameters: dict[str, Any] = {"UpdateExpression": expression}
    used = {token: name for token, name in names.items() if token in expression}
    if used:
        parameters["ExpressionAttributeNames"] = used
    if ":v" in expression:
        parameters["ExpressionAttributeValues"] = {":v": {"S": ""}}
    code, text = await refusal(client.update_item(TableName="t", Key=item("k1"), **parameters))
    assert code == "ValidationException"
    assert message in text


async def test_batches_are_limited_and_free_of_duplicates(client, table):
    def put(key: str) -> dict[str, Any]:
        return {"PutRequest": {"Item": item(key)}}

    too_many = [put(f"new{number}") for number in range(26)]
    duplicates = [put("a"), {"DeleteRequest": {"Key": item("a")}}]
    for writes in (too_many, duplicates):
        code, _ = await refusal(client.batch_write_item(RequestItems={"t": writes}))
        assert code == "ValidationException"
    for keys in ([item(f"k{number}") for number in range(101)], [item("k1"), item("k1")]):
        code, _ = await refusal(client.batch_get_item(RequestItems={"t": {"Keys": keys}}))
        assert code == "ValidationException"
    await client.batch_write_item(RequestItems={"t": [put("a"), {"DeleteRequest": {"Key": item("k1")}}]})
    assert {"a", "k1"} & set(table.items) == {"a"}
