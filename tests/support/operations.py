"""What each DynamoDB operation does to scripted tables and answers, with the limits of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.batches import batch_get_item, batch_write_item
from tests.support.expressions import Placeholders, read_condition, read_update
from tests.support.request import (
    READ_PARAMETERS,
    Body,
    Request,
    consumed,
    projection,
    read_units,
    store,
    write_units,
)
from tests.support.stream_operations import STREAM_OPERATIONS
from tests.support.tables import ScriptedTable
from tests.support.transactions import transact_write_items
from tests.support.values import Item, ServiceError, invalid, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

SEGMENTS = 1_000_000

_WRITE = {
    "TableName",
    "ConditionExpression",
    "ExpressionAttributeValues",
    "ReturnValues",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
    "ReturnValuesOnConditionCheckFailure",
    "ExpressionAttributeNames",
}


def perform(request: Request) -> Body:
    """Carry the operation out and return its answer.

    Raises:
        ServiceError: for what the service would refuse, and for what this double does not know.
    """
    if request.operation not in _OPERATIONS:
        raise ServiceError("UnknownOperationException", f"The double has no {request.operation}")
    parameters, handler = _OPERATIONS[request.operation]
    if unknown := request.body.keys() - parameters:
        raise invalid(f"The double knows no {', '.join(sorted(unknown))} in {request.operation}")
    return handler(request)


def _create_table(request: Request) -> Body:
    body = request.body
    if (request.region, body["TableName"]) in request.tables:
        raise ServiceError("ResourceInUseException", f"Table already exists: {body['TableName']}")
    kinds = {entry["AttributeName"]: entry["AttributeType"] for entry in body["AttributeDefinitions"]}
    schema = sorted(body["KeySchema"], key=lambda entry: entry["KeyType"] != "HASH")
    keys = [(entry["AttributeName"], kinds[entry["AttributeName"]]) for entry in schema]
    table = ScriptedTable(body["TableName"], request.region, keys)
    if (stream := body.get("StreamSpecification", {})).get("StreamEnabled"):
        table.enable_stream(stream["StreamViewType"])
    request.tables[request.region, table.name] = table
    return {"TableDescription": _description(table)}


def _describe_table(request: Request) -> Body:
    return {"Table": _description(request.table())}


def _description(table: ScriptedTable) -> Body:
    kinds = ("HASH", "RANGE")
    return {
        "TableName": table.name,
        "TableArn": table.arn,
        "TableStatus": "ACTIVE",
        "CreationDateTime": 1_700_000_000,
        "KeySchema": [
            {"AttributeName": name, "KeyType": kinds[place]} for place, (name, _) in enumerate(table.keys)
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in table.keys],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ItemCount": len(table.items),
        "TableSizeBytes": sum(map(size_of, table.items.values())),
        **_stream_settings(table),
        **table.description,
    }


def _stream_settings(table: ScriptedTable) -> Body:
    """What a table tells of its stream; the ARN of one that was switched off stays."""
    if not table.streams:
        return {}
    latest: Body = {"LatestStreamArn": table.stream.arn, "LatestStreamLabel": table.stream.label}
    if table.stream.status == "ENABLED":
        latest["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream.view}
    return latest


def _describe_global_table(request: Request) -> Body:
    name = request.body["GlobalTableName"]
    table = request.tables.get((request.region, name))
    if table is None or not table.global_regions:
        raise ServiceError("GlobalTableNotFoundException", f"Global table not found: {name}")
    regions = [{"RegionName": region} for region in table.global_regions]
    description = {"GlobalTableName": name, "GlobalTableStatus": "ACTIVE", "ReplicationGroup": regions}
    return {"GlobalTableDescription": description}


def _describe_time_to_live(request: Request) -> Body:
    attribute = request.table().ttl
    if attribute is None:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}}


def _update_time_to_live(request: Request) -> Body:
    table, wanted = request.table(), request.body["TimeToLiveSpecification"]
    if wanted["Enabled"] is (table.ttl is not None):
        raise invalid("TimeToLive is already " + ("enabled" if table.ttl else "disabled"))
    table.ttl = wanted["AttributeName"] if wanted["Enabled"] else None
    return {"TimeToLiveSpecification": wanted}


def _scan(request: Request) -> Body:
    body = request.body
    table = request.table()
    segments = body.get("TotalSegments", 1)
    segment = body.get("Segment", 0)
    if ("Segment" in body) != ("TotalSegments" in body):
        raise invalid("The Segment and TotalSegments parameters are required together")
    if not 1 <= segments <= SEGMENTS or not 0 <= segment < segments:
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {segments}"
        )
    if body.get("Limit", 1) < 1:
        raise invalid("1 validation error detected: Value at 'limit' must be greater than or equal to 1")
    project = projection(body)
    page, last = table.page(
        segment=segment,
        segments=segments,
        limit=body.get("Limit"),
        start=body.get("ExclusiveStartKey"),
        consistent=request.consistent,
    )
    answer: Body = {"Items": [project(item) for item in page], "Count": len(page), "ScannedCount": len(page)}
    if body.get("Select") == "COUNT":
        del answer["Items"]
    if last is not None:
        answer["LastEvaluatedKey"] = last
    units = read_units(sum(map(size_of, page)), consistent=request.consistent)
    return answer | consumed(body, {table.name: units})


def _get_item(request: Request) -> Body:
    table = request.table()
    table.check_key(request.body["Key"])
    project = projection(request.body)
    item = table.view(consistent=request.consistent).get(table.key_of(request.body["Key"]))
    units = read_units(size_of(item or {}), consistent=request.consistent)
    found = {} if item is None else {"Item": project(item)}
    return found | consumed(request.body, {table.name: units})


def _put_item(request: Request) -> Body:
    table = request.table()
    item = request.body["Item"]
    table.check_item(item)
    return _write(request, table, item, lambda _: item)


def _delete_item(request: Request) -> Body:
    table = request.table()
    table.check_key(request.body["Key"])
    return _write(request, table, request.body["Key"], lambda _: None)


def _update_item(request: Request) -> Body:
    table = request.table()
    key = request.body["Key"]
    table.check_key(key)
    if "UpdateExpression" not in request.body:
        return _write(request, table, key, lambda old: old or key)
    placeholders = Placeholders(request.body, "UpdateExpression", "ConditionExpression")
    update = read_update(request.body["UpdateExpression"], placeholders)
    for name, _ in table.keys:
        if name in update.assigned or name in update.removed:
            raise invalid(
                f"One or more parameter values were invalid: Cannot update attribute {name}. "
                "This attribute is part of the key"
            )
    return _write(request, table, key, lambda old: update.apply(old or key), placeholders)


def _write(
    request: Request,
    table: ScriptedTable,
    keyed: Item,
    change: Callable[[Item | None], Item | None],
    placeholders: Placeholders | None = None,
) -> Body:
    """One conditional write: `change` turns the item there is into the one to store, or into None."""
    body = request.body
    if placeholders is None:
        placeholders = Placeholders(body, "ConditionExpression")
    condition = (
        read_condition(body["ConditionExpression"], placeholders) if "ConditionExpression" in body else None
    )
    placeholders.check_all_used()
    if body.get("ReturnValues", "NONE") not in ("NONE", "ALL_OLD"):
        raise invalid(f"The double knows no ReturnValues={body['ReturnValues']}")
    key = table.key_of(keyed)
    old = table.get(key)
    if condition is not None and not condition(old or {}):
        shown = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and old is not None
        extra = {"Item": old} if shown else {}
        raise ServiceError("ConditionalCheckFailedException", "The conditional request failed", extra=extra)
    new = change(old)
    if new is not None:
        table.check_item(new)
    store(table, key, new)
    answer: Body = {}
    if body.get("ReturnValues") == "ALL_OLD" and old is not None:
        answer["Attributes"] = old
    return answer | consumed(body, {table.name: write_units(old, new)})


_OPERATIONS: dict[str, tuple[set[str], Callable[[Request], Body]]] = {
    "CreateTable": (
        {
            "TableName",
            "AttributeDefinitions",
            "KeySchema",
            "BillingMode",
            "ProvisionedThroughput",
            "StreamSpecification",
        },
        _create_table,
    ),
    "DescribeTable": ({"TableName"}, _describe_table),
    "DescribeGlobalTable": ({"GlobalTableName"}, _describe_global_table),
    "DescribeTimeToLive": ({"TableName"}, _describe_time_to_live),
    "UpdateTimeToLive": ({"TableName", "TimeToLiveSpecification"}, _update_time_to_live),
    "Scan": (
        {"TableName", "Segment", "TotalSegments", "Limit", "ExclusiveStartKey", "Select", *READ_PARAMETERS},
        _scan,
    ),
    "GetItem": ({"TableName", "Key", *READ_PARAMETERS}, _get_item),
    "BatchGetItem": ({"RequestItems", "ReturnConsumedCapacity"}, batch_get_item),
    "BatchWriteItem": (
        {"RequestItems", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"},
        batch_write_item,
    ),
    "PutItem": ({"Item", *_WRITE}, _put_item),
    "UpdateItem": ({"Key", "UpdateExpression", *_WRITE}, _update_item),
    "DeleteItem": ({"Key", *_WRITE}, _delete_item),
    "TransactWriteItems": (
        {"TransactItems", "ClientRequestToken", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"},
        transact_write_items,
    ),
    **STREAM_OPERATIONS,
}
