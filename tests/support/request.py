"""One request on scripted tables: what it names, what it may read, what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.expressions import Placeholders, read_projection
from tests.support.tables import ScriptedTable
from tests.support.values import Item, ServiceError, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Body = dict[str, Any]
Tables = dict[tuple[str, str], ScriptedTable]

READ_PARAMETERS = {
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ConsistentRead",
    "ReturnConsumedCapacity",
}
READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024


@dataclass(frozen=True)
class Request:
    """One operation on the tables of one Region.

    Attributes:
        left_out: how many keys or puts and deletes of a batch stay unprocessed; a float is a share.
    """

    tables: Tables
    operation: str
    region: str
    body: Body
    left_out: float = 0

    def table(self, name: str | None = None) -> ScriptedTable:
        """The table the request names.

        Raises:
            ServiceError: when this Region has no such table.
        """
        found = self.tables.get((self.region, self.body["TableName"] if name is None else name))
        if found is None:
            raise ServiceError("ResourceNotFoundException", "Requested resource not found")
        return found

    @property
    def consistent(self) -> bool:
        """Whether the read asked for ConsistentRead."""
        return bool(self.body.get("ConsistentRead"))

    def processed(self, total: int) -> int:
        """How many of a batch's entries are worked off."""
        count = math.ceil(self.left_out * total) if isinstance(self.left_out, float) else self.left_out
        return max(total - count, 0)


def store(table: ScriptedTable, key: Any, item: Item | None) -> None:
    """Put the item in the place of the one with this key, or leave none."""
    if item is None:
        table.delete(key)
    else:
        table.put(item)


def projection(query: Body) -> Callable[[Item], Item]:
    """What a read keeps of an item."""
    placeholders = Placeholders(query, "ProjectionExpression")
    if "ProjectionExpression" not in query:
        return lambda item: item
    names = read_projection(query["ProjectionExpression"], placeholders)
    placeholders.check_all_used()
    return lambda item: {name: value for name, value in item.items() if name in names}


def read_units(size: int, *, consistent: bool) -> float:
    """Capacity units of a read: blocks of 4 KB, half a unit each unless consistent."""
    blocks = max(math.ceil(size / READ_UNIT_BYTES), 1)
    return blocks * (1.0 if consistent else 0.5)


def write_units(old: Item | None, new: Item | None) -> float:
    """Capacity units of a write: blocks of 1 KB of the larger of the two images."""
    size = max(size_of(old or {}), size_of(new or {}))
    return float(max(math.ceil(size / WRITE_UNIT_BYTES), 1))


def _capacities(body: Body, units: Mapping[str, float]) -> list[Body]:
    if body.get("ReturnConsumedCapacity", "NONE") == "NONE":
        return []
    return [{"TableName": name, "CapacityUnits": total} for name, total in units.items()]


def consumed(body: Body, units: Mapping[str, float]) -> Body:
    """The ConsumedCapacity of an operation on one table, if it asked for it."""
    entries = _capacities(body, units)
    return {"ConsumedCapacity": entries[0]} if entries else {}


def consumed_list(body: Body, units: Mapping[str, float]) -> Body:
    """The ConsumedCapacity of a batch, if it asked for it."""
    entries = _capacities(body, units)
    return {"ConsumedCapacity": entries} if entries else {}
