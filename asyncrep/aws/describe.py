"""Reads a table's settings: key schema, size, indexes, TTL, stream, global-table membership."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from asyncrep.errors import ServiceError, TableNotFoundError, ThrottledError, UnreachableError
from asyncrep.model import KeyAttribute, KeySchema, TableSettings

if TYPE_CHECKING:
    from asyncrep.aws.client import WireClient
    from asyncrep.model import KeyType, Meter


async def describe(client: WireClient, meter: Meter) -> TableSettings:
    """Return the table's settings.

    Raises:
        TableNotFoundError: there is no such table, or it is being deleted.
        UnreachableError: the endpoint does not answer, or not as DynamoDB does.
        ServiceError: the description could not be read.
    """
    answer = await client.ask("DescribeTable", "describe_table", meter, TableName=client.name)
    if "Table" not in answer:
        raise UnreachableError(f"What answers for {client.label} is not DynamoDB.")
    table: dict[str, Any] = answer["Table"]
    if table.get("TableStatus") == "DELETING":
        raise TableNotFoundError(f"The table {client.label} is being deleted.")
    stream = table.get("StreamSpecification", {})
    replicas = table.get("Replicas", [])
    return TableSettings(
        name=table["TableName"],
        arn=table.get("TableArn", ""),
        table_id=table.get("TableId"),
        schema=_key_schema(table),
        item_count=table.get("ItemCount", 0),
        size_bytes=table.get("TableSizeBytes", 0),
        indexes=frozenset(
            index["IndexName"]
            for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in table.get(kind) or []
        ),
        ttl_attribute=await _ttl_attribute(client, meter),
        stream_view=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        replica_regions=frozenset(replica["RegionName"] for replica in replicas),
    )


async def legacy_global_regions(client: WireClient, table: str, meter: Meter) -> frozenset[str]:
    """Return the Regions of a global table of version 2017.11.29, which DescribeTable does not show.

    Endpoints that do not know the call, and credentials that lack it, count as no global table: the
    current version is seen by DescribeTable anyway.
    """
    try:
        answer = await client.ask(
            "DescribeGlobalTable", "describe_global_table", meter, attempts=1, GlobalTableName=table
        )
    except ServiceError:
        return frozenset()
    group = answer["GlobalTableDescription"].get("ReplicationGroup", [])
    return frozenset(member["RegionName"] for member in group)


def _key_schema(table: dict[str, Any]) -> KeySchema:
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    names = {entry["KeyType"]: entry["AttributeName"] for entry in table["KeySchema"]}

    def attribute(role: str) -> KeyAttribute:
        return KeyAttribute(names[role], cast("KeyType", types[names[role]]))

    return KeySchema(attribute("HASH"), attribute("RANGE") if "RANGE" in names else None)


async def _ttl_attribute(client: WireClient, meter: Meter) -> str | None:
    try:
        answer = await client.ask("DescribeTimeToLive", "describe_time_to_live", meter, TableName=client.name)
    except (ThrottledError, UnreachableError):
        raise  # an expired item that is resurrected because of a hiccup would be our fault
    except ServiceError:
        return None  # not permitted, or an endpoint that does not know it: then nothing counts as expired
    ttl = answer.get("TimeToLiveDescription", {})
    enabled = ttl.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
    return ttl.get("AttributeName") if enabled else None
