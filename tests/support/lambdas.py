"""What Lambda hands to a function: events of streams, as it spells them, and contexts that tell the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.values import Item

SOURCE = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
FIRST = 100000000000000000000001
"""The sequence number of the first record, as long as DynamoDB's are."""


def stream_of(table: str, region: str = "us-east-1") -> str:
    """The ARN of a table's stream."""
    return f"arn:aws:dynamodb:{region}:123456789012:table/{table}/stream/2026-05-01T00:00:00.000"


def put(
    new: Item, number: int = 0, *, table: str = "orders", old: Item | None = None, **more: Any
) -> dict[str, Any]:
    """The record of an item that was written; `number` is its place among the records of a test."""
    images = {"NewImage": new} if old is None else {"NewImage": new, "OldImage": old}
    return _record("INSERT" if old is None else "MODIFY", new["id"], number, table, images, more)


def remove(old: Item, number: int = 0, *, table: str = "orders", **more: Any) -> dict[str, Any]:
    """The record of an item that was deleted."""
    return _record("REMOVE", old["id"], number, table, {"OldImage": old}, more)


def _record(kind: str, id: Any, number: int, table: str, images: Any, more: Any) -> dict[str, Any]:
    return {
        "eventID": f"{number:032x}",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1777593600.0,
            "Keys": {"id": id},
            "SequenceNumber": str(FIRST + number),
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
        },
        "eventSourceARN": stream_of(table),
        **more,
    }


def event(*records: dict[str, Any]) -> dict[str, Any]:
    """An event of these records."""
    return {"Records": list(records)}


def failed_from(number: int) -> dict[str, Any]:
    """The answer that asks for all records from this one on."""
    return {"batchItemFailures": [{"itemIdentifier": str(FIRST + number)}]}


SUCCESS: dict[str, Any] = {"batchItemFailures": []}

INVALID = {"N": "9" * 39}
"""A value that DynamoDB refuses: it has a digit too many."""


@dataclass
class Context:
    """A context of Lambda: `seconds` are left when it is made."""

    seconds: float = 60.0
    function_name: str = "replicator"
    _begun: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round(1000 * (self._begun + self.seconds - time.monotonic())))
