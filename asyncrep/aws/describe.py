"""Reads a table's settings: key schema, size, indexes, TTL, stream, global-table membership."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from asyncrep.errors import (
    CredentialsError,
    PermissionDeniedError,
    ServiceError,
    TableNotFoundError,
    ThrottledError,
    UnreachableError,
)
from asyncrep.model import Capacity, KeyAttribute, KeySchema, TableSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrep.aws.capacity import Budget
    from asyncrep.aws.client import WireClient
    from asyncrep.model import KeyType


_READABLE = frozenset({"ACTIVE", "UPDATING", None})  # emulators may not tell

_GLOBAL_TABLE_ATTEMPTS = 3  # an emulator that does not know the call answers every time with a 500


async def describe(client: WireClient, budget: Budget) -> TableSettings:
    """Return the table's settings.

    Raises:
        TableNotFoundError: there is no such table, or it is not in a state to be read.
        UnreachableError: the endpoint does not answer, or not as DynamoDB does.
        ServiceError: the description could not be read.
    """
    answer = await client.ask("DescribeTable", "describe_table", budget, TableName=client.name)
    if "Table" not in answer:
        raise UnreachableError(f"What answers for {client.label} is not DynamoDB.")
    table: dict[str, Any] = answer["Table"]
    status = table.get("TableStatus")
    if status not in _READABLE:
        raise TableNotFoundError(f"The table {client.label} cannot be read now: it is {status}.")
    stream = table.get("StreamSpecification", {})
    ttl_known, ttl_attribute = await _ttl_attribute(client, budget)
    return TableSettings(
        name=table["TableName"],
        arn=table.get("TableArn", ""),
        table_id=table.get("TableId"),
        schema=key_schema_of(table),
        item_count=table.get("ItemCount", 0),
        size_bytes=table.get("TableSizeBytes", 0),
        indexes=frozenset(
            index["IndexName"]
            for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in table.get(kind) or []
        ),
        ttl_attribute=ttl_attribute,
        ttl_known=ttl_known,
        stream_view=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        replica_regions=frozenset(replica["RegionName"] for replica in table.get("Replicas") or []),
        capacity=_capacity(table),
        stream_arn=(table.get("LatestStreamArn") or None) if stream.get("StreamEnabled") else None,
    )


async def creating(client: WireClient, budget: Budget) -> dict[str, Any]:
    """Return the parameters of CreateTable that would make a table like this one, without its name.

    Tags, TTL, autoscaling, point-in-time recovery and the other members of a global table are none of them.

    Raises:
        TableNotFoundError: there is no such table any more.
        ServiceError: it could not be described.
    """
    answer = await client.ask("DescribeTable", "describe_table", budget, TableName=client.name)
    table: dict[str, Any] = answer.get("Table", {})
    billing = _capacity(table).billing
    parameters = {
        "AttributeDefinitions": table["AttributeDefinitions"],
        "KeySchema": table["KeySchema"],
        "BillingMode": "PROVISIONED" if billing == "provisioned" else "PAY_PER_REQUEST",
        **_throughput(table, billing),
        "LocalSecondaryIndexes": [_only(index, _INDEX) for index in table.get("LocalSecondaryIndexes") or []],
        "GlobalSecondaryIndexes": [
            _only(index, _INDEX) | _throughput(index, billing)
            for index in table.get("GlobalSecondaryIndexes") or []
        ],
        "StreamSpecification": _stream(table),
        "SSESpecification": _encryption(table),
        "TableClass": (table.get("TableClassSummary") or {}).get("TableClass"),
        "DeletionProtectionEnabled": table.get("DeletionProtectionEnabled") or None,
    }
    return {name: value for name, value in parameters.items() if value}


_INDEX = ("IndexName", "KeySchema", "Projection")
_PROVISIONED = ("ReadCapacityUnits", "WriteCapacityUnits")
_ON_DEMAND = ("MaxReadRequestUnits", "MaxWriteRequestUnits")


def _only(description: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return some members of a description: others are not parameters, as counts and times."""
    return {name: description[name] for name in names if name in description}


def _throughput(description: dict[str, Any], billing: str) -> dict[str, Any]:
    """Return the throughput of a table or of a global index; on demand only a maximum, where there is one."""
    kind, names = (
        ("ProvisionedThroughput", _PROVISIONED)
        if billing == "provisioned"
        else ("OnDemandThroughput", _ON_DEMAND)
    )
    figures = description.get(kind) or {}
    told = {name: figures[name] for name in names if (figures.get(name) or 0) > 0}
    return {kind: told} if told else {}


def _stream(table: dict[str, Any]) -> dict[str, Any] | None:
    stream = table.get("StreamSpecification") or {}
    return _only(stream, ("StreamEnabled", "StreamViewType")) if stream.get("StreamEnabled") else None


def _encryption(table: dict[str, Any]) -> dict[str, Any] | None:
    """Return the encryption that was asked for; what every table has is told of none."""
    encryption = table.get("SSEDescription") or {}
    if encryption.get("SSEType") != "KMS" or encryption.get("Status") not in {
        "ENABLED",
        "ENABLING",
        "UPDATING",
    }:
        return None
    key = encryption.get("KMSMasterKeyArn")
    return {"Enabled": True, "SSEType": "KMS"} | ({"KMSMasterKeyId": key} if key else {})


async def stream_of(client: WireClient, budget: Budget) -> str | None:
    """Return the ARN of the stream that the table has at this moment.

    Raises:
        TableNotFoundError: there is no such table any more.
        ServiceError: it could not be looked at.
    """
    answer = await client.ask("DescribeTable", "describe_table", budget, TableName=client.name)
    table: dict[str, Any] = answer.get("Table", {})
    is_on = table.get("StreamSpecification", {}).get("StreamEnabled")
    return (table.get("LatestStreamArn") or None) if is_on else None


async def legacy_global_regions(client: WireClient, table: str, budget: Budget) -> frozenset[str] | None:
    """Return the Regions of a global table of version 2017.11.29, which DescribeTable does not show.

    Returns:
        None when the credentials may not ask. Endpoints that do not know the call have no such tables.

    Raises:
        ServiceError: it could not be found out; writing on would be a guess.
    """
    retry = replace(client.retry, attempts=min(client.retry.attempts, _GLOBAL_TABLE_ATTEMPTS))
    try:
        answer = await client.ask(
            "DescribeGlobalTable", "describe_global_table", budget, retry=retry, GlobalTableName=table
        )
    except PermissionDeniedError:
        return None
    except (CredentialsError, ThrottledError):
        raise
    except UnreachableError as error:
        if error.code.isdigit():  # a bare status: DynamoDB would have said which error it is
            return frozenset()
        raise
    except ServiceError:  # GlobalTableNotFoundException, UnknownOperationException
        return frozenset()
    group = answer["GlobalTableDescription"].get("ReplicationGroup", [])
    return frozenset(member["RegionName"] for member in group)


def key_schema_of(table: Mapping[str, Any]) -> KeySchema:
    """Return the key of a table, by its description or the parameters of CreateTable."""
    types = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
    names = {entry["KeyType"]: entry["AttributeName"] for entry in table["KeySchema"]}

    def attribute(role: str) -> KeyAttribute:
        return KeyAttribute(names[role], cast("KeyType", types[names[role]]))

    return KeySchema(attribute("HASH"), attribute("RANGE") if "RANGE" in names else None)


def _capacity(table: dict[str, Any]) -> Capacity:
    """Return billing and throughput; emulators leave members out, and on demand the provisioned are zero."""
    provisioned = table.get("ProvisionedThroughput") or {}
    maximum = table.get("OnDemandThroughput") or {}
    warm = table.get("WarmThroughput") or {}
    # A table that was never on demand has no BillingModeSummary.
    mode = (table.get("BillingModeSummary") or {}).get("BillingMode")
    is_provisioned = mode == "PROVISIONED" or (mode is None and _units(provisioned, "ReadCapacityUnits"))
    if not is_provisioned:
        provisioned = {}
    rare = (table.get("TableClassSummary") or {}).get("TableClass") == "STANDARD_INFREQUENT_ACCESS"
    return Capacity(
        billing="provisioned" if is_provisioned else "on-demand",
        provisioned_read_units=_units(provisioned, "ReadCapacityUnits"),
        provisioned_write_units=_units(provisioned, "WriteCapacityUnits"),
        on_demand_read_max=_units(maximum, "MaxReadRequestUnits"),
        on_demand_write_max=_units(maximum, "MaxWriteRequestUnits"),
        warm_read_units=_units(warm, "ReadUnitsPerSecond"),
        warm_write_units=_units(warm, "WriteUnitsPerSecond"),
        table_class="STANDARD_INFREQUENT_ACCESS" if rare else "STANDARD",
    )


def _units(figures: dict[str, Any], name: str) -> int | None:
    """Return a figure in units per second; zero and -1 say that there is none."""
    return value if (value := figures.get(name) or 0) > 0 else None


async def _ttl_attribute(client: WireClient, budget: Budget) -> tuple[bool, str | None]:
    """Return whether the TTL attribute could be asked for, and what it is."""
    try:
        answer = await client.ask(
            "DescribeTimeToLive", "describe_time_to_live", budget, TableName=client.name
        )
    except (ThrottledError, UnreachableError):
        raise  # an expired item that is resurrected because of a hiccup would be our fault
    except PermissionDeniedError:
        return False, None
    except ServiceError:
        return True, None  # an endpoint that does not know it has none
    ttl = answer.get("TimeToLiveDescription", {})
    enabled = ttl.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
    return True, ttl.get("AttributeName") if enabled else None
