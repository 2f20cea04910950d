"""Tables that contestants make for their own records: leases and guards. Small, and true to conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.expressions import Placeholders, read_condition, read_update
from tests.support.values import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.values import Item

    Body = dict[str, Any]


@dataclass(slots=True)
class _Made:
    """One such table: its hash key, its rows, its TTL attribute."""

    key: str
    rows: dict[str, Item] = field(default_factory=dict)
    ttl: str | None = None


class MadeTables:
    """All tables that were made since the endpoint started.

    Their operations take and return decoded bodies; what is refused raises ``tests.support``'s ServiceError.
    """

    def __init__(self) -> None:
        self._tables: dict[str, _Made] = {}
        self.operations: dict[str, Callable[[Body], Body]] = {
            "DescribeTable": self._describe,
            "DescribeTimeToLive": self._describe_time_to_live,
            "UpdateTimeToLive": self._update_time_to_live,
            "Scan": self._scan,
            "GetItem": self._get,
            "UpdateItem": self._update,
            "DeleteItem": self._delete,
        }

    def __len__(self) -> int:
        return len(self._tables)

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def create(self, body: Body) -> Body:
        """Make a table with a hash key of texts."""
        name = body["TableName"]
        if name in self._tables:
            raise ServiceError("ResourceInUseException", f"Table already exists: {name}")
        self._tables[name] = _Made(body["KeySchema"][0]["AttributeName"])
        return {"TableDescription": self._description(name)}

    def _describe(self, body: Body) -> Body:
        return {"Table": self._description(body["TableName"])}

    def _description(self, name: str) -> Body:
        key = self._tables[name].key
        return {
            "TableName": name,
            "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        }

    def _describe_time_to_live(self, body: Body) -> Body:
        attribute = self._tables[body["TableName"]].ttl
        if attribute is None:
            return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}}

    def _update_time_to_live(self, body: Body) -> Body:
        specification = body["TimeToLiveSpecification"]
        self._tables[body["TableName"]].ttl = specification["AttributeName"]
        return {"TimeToLiveSpecification": specification}

    def _scan(self, body: Body) -> Body:
        rows = list(self._tables[body["TableName"]].rows.values())
        return {"Items": rows, "Count": len(rows), "ScannedCount": len(rows)}

    def _get(self, body: Body) -> Body:
        table, key = self._found(body)
        return {"Item": table.rows[key]} if key in table.rows else {}

    def _update(self, body: Body) -> Body:
        table, key = self._found(body)
        placeholders = Placeholders(body, "ConditionExpression", "UpdateExpression")
        self._check(body, table.rows.get(key, {}), placeholders)
        update = read_update(body["UpdateExpression"], placeholders)
        row: Item = body["Key"]
        table.rows[key] = update.apply(table.rows.get(key, row))
        return {}

    def _delete(self, body: Body) -> Body:
        table, key = self._found(body)
        self._check(body, table.rows.get(key, {}), Placeholders(body, "ConditionExpression"))
        table.rows.pop(key, None)
        return {}

    def _found(self, body: Body) -> tuple[_Made, str]:
        table = self._tables[body["TableName"]]
        return table, body["Key"][table.key]["S"]

    @staticmethod
    def _check(body: Body, row: Item, placeholders: Placeholders) -> None:
        wanted = body.get("ConditionExpression")
        if wanted is not None and not read_condition(wanted, placeholders)(row):
            raise ServiceError("ConditionalCheckFailedException", "The conditional request failed")
