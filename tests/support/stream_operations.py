"""What the operations of DynamoDB Streams answer for scripted tables, with the limits of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.streams import PAGE_RECORDS, PAGE_SHARDS, Iterator
from tests.support.values import ServiceError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.request import Body, Request
    from tests.support.streams import ScriptedStream
    from tests.support.tables import ScriptedTable


def table_named_in(body: dict[str, Any]) -> str:
    """The table of the stream that a request is about, "" for what is none."""
    try:
        arn = body["StreamArn"] if "StreamArn" in body else Iterator.decode(body.get("ShardIterator", "")).arn
    except ServiceError:
        return ""
    return arn.partition(":table/")[2].partition("/")[0]


def _describe_stream(request: Request) -> Body:
    body = request.body
    table, stream = _found(request, body["StreamArn"])
    limit = body.get("Limit", PAGE_SHARDS)
    if not 1 <= limit <= PAGE_SHARDS:
        raise invalid("1 validation error detected: Value at 'limit' must be between 1 and 100")
    shards = stream.listed(body.get("ExclusiveStartShardId"))
    if wanted := body.get("ShardFilter"):
        shards = [shard for shard in shards if shard.parent == wanted["ShardId"]]
    page = shards[: min(limit, stream.page_shards)]
    description = {
        "StreamArn": stream.arn,
        "StreamLabel": stream.label,
        "StreamStatus": stream.status,
        "StreamViewType": stream.view,
        "CreationRequestDateTime": 1_700_000_000,
        "TableName": table.name,
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind}
            for (name, _), kind in zip(table.keys, ("HASH", "RANGE"), strict=False)
        ],
        "Shards": [shard.describe() for shard in page],
    }
    if len(page) < len(shards):
        description["LastEvaluatedShardId"] = page[-1].id
    return {"StreamDescription": description}


def _get_shard_iterator(request: Request) -> Body:
    body = request.body
    _, stream = _found(request, body["StreamArn"])
    number = body.get("SequenceNumber")
    if number is not None and not (21 <= len(number) <= 40 and number.isdecimal()):
        raise invalid("1 validation error detected: Value at 'sequenceNumber' must have 21 to 40 digits")
    iterator = stream.iterator(
        body["ShardId"], body["ShardIteratorType"], None if number is None else int(number)
    )
    return {"ShardIterator": iterator.encode()}


def _get_records(request: Request) -> Body:
    limit = request.body.get("Limit", PAGE_RECORDS)
    if not 1 <= limit <= PAGE_RECORDS:
        raise invalid("1 validation error detected: Value at 'limit' must be between 1 and 1000")
    iterator = Iterator.decode(request.body["ShardIterator"])
    _, stream = _found(request, iterator.arn)
    records, following = stream.read(iterator, limit)
    answer: Body = {"Records": records}
    if following is not None:
        answer["NextShardIterator"] = following.encode()
    return answer


def _found(request: Request, arn: str) -> tuple[ScriptedTable, ScriptedStream]:
    table = request.tables.get((request.region, table_named_in({"StreamArn": arn})))
    stream = next((each for each in table.streams if each.arn == arn), None) if table else None
    if table is None or stream is None:
        raise ServiceError(
            "ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found"
        )
    return table, stream


STREAM_OPERATIONS: dict[str, tuple[set[str], Callable[[Request], Body]]] = {
    "DescribeStream": ({"StreamArn", "Limit", "ExclusiveStartShardId", "ShardFilter"}, _describe_stream),
    "GetShardIterator": (
        {"StreamArn", "ShardId", "ShardIteratorType", "SequenceNumber"},
        _get_shard_iterator,
    ),
    "GetRecords": ({"ShardIterator", "Limit"}, _get_records),
}
