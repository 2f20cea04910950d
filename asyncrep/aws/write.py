"""Writes items: whole ones and deletions in bulk, and single ones under a precondition."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed, Cost, Estimator
from asyncrep.aws.guard import Expressions, expressions
from asyncrep.aws.read import Stall
from asyncrep.errors import ConditionFailedError
from asyncrep.items.equality import without_system_attributes
from asyncrep.mutation import Delete, Outcome, Patch, Put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.capacity import Budget
    from asyncrep.aws.client import WireClient
    from asyncrep.items.keys import KeyReader
    from asyncrep.model import KeyedImage
    from asyncrep.mutation import ItemState, Mutation

BATCH_ITEMS = 25
"""The most items that one BatchWriteItem takes; together 16 MB, which 25 items of 400 KB never pass."""


_LARGEST_UNITS = 400.0  # what writing an item of 400 KB takes


class _PutRequest(msgspec.Struct):
    Item: Raw


class _DeleteRequest(msgspec.Struct):
    Key: Raw


class _WriteRequest(msgspec.Struct):
    PutRequest: _PutRequest | None = None
    DeleteRequest: _DeleteRequest | None = None

    @property
    def image(self) -> Raw:
        """What holds the key attributes."""
        if self.PutRequest is not None:
            return self.PutRequest.Item
        return self.DeleteRequest.Key if self.DeleteRequest is not None else Raw(b"{}")


class _BulkAnswer(msgspec.Struct):
    UnprocessedItems: dict[str, list[_WriteRequest]] | None = None
    ConsumedCapacity: list[Consumed] | None = None


class _GuardedAnswer(msgspec.Struct):
    Attributes: Raw = Raw(b"{}")
    ConsumedCapacity: Consumed | None = None


_decode_bulk = msgspec.json.Decoder(_BulkAnswer).decode
_decode_guarded = msgspec.json.Decoder(_GuardedAnswer).decode
_encode = msgspec.json.Encoder().encode


class Writer:
    """Writes to one table. It remembers what writes cost, to estimate the next ones."""

    def __init__(self, keys: KeyReader) -> None:
        self._keys = keys
        self._per_item = Estimator(1.0)

    async def write_all(
        self, client: WireClient, budget: Budget, states: Sequence[KeyedImage | ItemState]
    ) -> None:
        """Put and delete items without precondition, 25 a call, until the service has taken every one.

        Where a key occurs twice the later state counts: the service refuses batches with twins.

        Raises:
            ThrottledError: some items stayed unprocessed however often they were sent.
            RejectedError: the service calls an item of a batch invalid. What was in batches before it is
                written, the rest is not.
            ServiceError: a call failed for good.
        """
        opening = b'{"ReturnConsumedCapacity":"TOTAL","RequestItems":{%b:[' % _encode(client.name)
        pending = {key: _write_request(key, image) for key, image in states}
        stall = Stall(client, budget, "BatchWriteItem", "write")
        while pending:
            batch = dict(islice(pending.items(), BATCH_ITEMS))
            requests = b",".join(batch.values())
            answer = await self._send(client, budget, opening + requests + b"]}}", len(batch))
            left = [
                self._keys.key(request.image)
                for requests_left in (answer.UnprocessedItems or {}).values()
                for request in requests_left
            ]
            for key in batch.keys() - set(left):
                del pending[key]
            if left:
                await stall.wait(left, progress=len(left) < len(batch))

    async def _send(self, client: WireClient, budget: Budget, body: bytes, size: int) -> _BulkAnswer:
        estimate = self._per_item.units * size
        answer = await client.call(
            "BatchWriteItem", body, _decode_bulk, budget, Cost(estimate, size * _LARGEST_UNITS)
        )
        units = sum(consumed.CapacityUnits for consumed in answer.ConsumedCapacity or ())
        done = size - sum(map(len, (answer.UnprocessedItems or {}).values()))
        # What was left unprocessed used its turn, like a throttled call, and says nothing of the cost.
        budget.charge("write", units, estimate * done / size)
        if done:
            self._per_item.learn(units / done)
        return answer

    async def apply(self, client: WireClient, budget: Budget, mutation: Mutation) -> Outcome:
        """Write one item under its precondition and return what was there before.

        A refused precondition is an answer, not an error: ``Outcome.applied`` is false then. It may
        also be this very write: a try whose answer got lost has landed, and the next is refused.

        Raises:
            ServiceError: the call failed for good.
        """
        made = expressions(mutation, self._keys.schema)
        operation, body = _request(client.name, mutation, made)
        estimate = self._per_item.units
        try:
            answer = await client.call(
                operation, body, _decode_guarded, budget, Cost(estimate, _LARGEST_UNITS)
            )
        except ConditionFailedError as error:
            return Outcome(applied=False, unsure=error.maybe_done)
        units = answer.ConsumedCapacity.CapacityUnits if answer.ConsumedCapacity else 0.0
        budget.charge("write", units, estimate)
        self._per_item.learn(units)
        old = bytes(answer.Attributes)
        return Outcome(applied=True, old=None if old == b"{}" else old, caveat=_caveat(made))


def _write_request(key: bytes, image: Raw | bytes | None) -> bytes:
    """Return one entry of a BatchWriteItem; keys and images go in as raw slices."""
    if image is None:
        return b'{"DeleteRequest":{"Key":%b}}' % key
    return b'{"PutRequest":{"Item":%b}}' % without_system_attributes(bytes(image))


def _caveat(made: Expressions) -> str | None:
    if not made.unguarded:
        return None
    total = made.guarded + made.unguarded
    return (
        f"The item is too large for one condition: {made.guarded} of {total} attributes were checked by it."
    )


def _request(table: str, mutation: Mutation, made: Expressions) -> tuple[str, bytes]:
    """Return the operation and the body of a guarded write; keys and images go in as raw slices."""
    members = made.members() | {
        "TableName": table,
        "ReturnValues": "ALL_OLD",
        "ReturnConsumedCapacity": "TOTAL",
    }
    match mutation:
        case Put():
            return "PutItem", _encode(members | {"Item": Raw(without_system_attributes(mutation.image))})
        case Patch():
            return "UpdateItem", _encode(members | {"Key": Raw(mutation.key)})
        case Delete():
            return "DeleteItem", _encode(members | {"Key": Raw(mutation.key)})
