"""Reads single items by key, a hundred a call, until the service has answered for every one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed, Cost, Estimator
from asyncrep.errors import ThrottledError
from asyncrep.flow.patience import paused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.capacity import Budget, Direction
    from asyncrep.aws.client import WireClient
    from asyncrep.items.keys import KeyReader
    from asyncrep.model import KeySchema

BATCH_KEYS = 100
"""The most keys that one BatchGetItem takes."""


_LARGEST_ITEM_UNITS = 100  # 400 KB, read strongly consistent
_LARGEST_ANSWER_UNITS = 4096 + _LARGEST_ITEM_UNITS  # 16 MB, and the item that passes them
_NAMED = 5  # keys that a message names


class _Request(msgspec.Struct):
    Keys: list[Raw]


class _Answer(msgspec.Struct):
    Responses: dict[str, list[Raw]]
    UnprocessedKeys: dict[str, _Request] | None = None
    ConsumedCapacity: list[Consumed] | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class Projection:
    """The request members that make an answer hold the key attributes only."""

    def __init__(self, schema: KeySchema) -> None:
        names = {f"#k{position}": attribute.name for position, attribute in enumerate(schema.attributes)}
        self.members = b'"ProjectionExpression":%b,"ExpressionAttributeNames":%b' % (
            _encode(",".join(names)),
            _encode(names),
        )


class BatchReader:
    """Reads items of one table by key. It remembers what reads cost, to estimate the next ones."""

    def __init__(self, keys: KeyReader) -> None:
        self._keys = keys
        self._projection = Projection(keys.schema)
        self._per_key = Estimator(0.5)

    async def get(
        self, client: WireClient, budget: Budget, keys: Sequence[bytes], *, consistent: bool, keys_only: bool
    ) -> dict[bytes, Raw]:
        """Return the images of those ``keys`` (distinct, any number) that exist, by key.

        Raises:
            ThrottledError: some keys stayed unprocessed however often they were asked for.
            ServiceError: a call failed for good.
        """
        closing = b'],"ConsistentRead":%b' % (b"true" if consistent else b"false")
        if keys_only:
            closing += b"," + self._projection.members
        opening = b'{"ReturnConsumedCapacity":"TOTAL","RequestItems":{%b:{"Keys":[' % _encode(client.name)
        closing += b"}}}"
        found: dict[bytes, Raw] = {}
        pending = list(dict.fromkeys(keys))  # the service refuses a batch that names a key twice
        stall = Stall(client, budget, "BatchGetItem", "read")
        while pending:
            size = _affordable_keys(budget, consistent=consistent)
            batch, rest = pending[:size], pending[size:]
            most = _most_units(len(batch), consistent=consistent, keys_only=keys_only)
            answer = await self._ask(
                client, budget, opening + b",".join(batch) + closing, len(batch), most=most
            )
            for images in answer.Responses.values():
                found.update((self._keys.key(image), image) for image in images)
            left = [
                self._keys.key(key)
                for request in (answer.UnprocessedKeys or {}).values()
                for key in request.Keys
            ]
            pending = left + rest
            if left:
                await stall.wait(left, progress=len(left) < len(batch))
        return found

    async def _ask(
        self, client: WireClient, budget: Budget, body: bytes, size: int, *, most: float
    ) -> _Answer:
        estimate = self._per_key.units * size
        cost = Cost(estimate, most)
        answer = await client.call("BatchGetItem", body, _decode, budget, cost)
        units = sum(consumed.CapacityUnits for consumed in answer.ConsumedCapacity or ())
        done = size - sum(len(request.Keys) for request in (answer.UnprocessedKeys or {}).values())
        # What was left unprocessed used its turn, like a throttled call, and says nothing of the cost.
        budget.charge("read", units, estimate * done / size)
        if done:
            self._per_key.learn(units / done)
        return answer


def _affordable_keys(budget: Budget, *, consistent: bool) -> int:
    """Return how many keys to ask for: as few as there is money for, should each item be of the largest size.

    Without this the end of a budget could not be used: a full batch can cost a hundred times what it does.
    """
    per_key = _LARGEST_ITEM_UNITS if consistent else _LARGEST_ITEM_UNITS / 2
    return max(1, int(min(BATCH_KEYS, budget.affordable("read") / per_key)))


def _most_units(keys: int, *, consistent: bool, keys_only: bool) -> float:
    """Return what a batch can take: 400 KB for each key, 16 MB and one item more for all.

    An answer of keys may stay far below 16 MB however large the items are that were read for it.
    """
    units = keys * _LARGEST_ITEM_UNITS
    if not keys_only:
        units = min(units, _LARGEST_ANSWER_UNITS)
    return units if consistent else units / 2


class Stall:
    """Waits before asking again for what a batch left unprocessed, until nothing has moved for too long."""

    def __init__(self, client: WireClient, budget: Budget, operation: str, direction: Direction) -> None:
        self._client = client
        self._budget = budget
        self._operation = operation
        self._direction = direction
        self._fruitless = 0
        self._waited = 0.0  # without what the pace makes its callers wait

    async def wait(self, left: Sequence[bytes], *, progress: bool) -> None:
        """Back off.

        Args:
            left: the keys that stayed unprocessed.
            progress: whether the last try processed any.

        Raises:
            ThrottledError: nothing was processed for as long as the retry policy is patient, or whoever waits.
        """
        client = self._client
        self._budget.throttled(self._direction)
        self._fruitless += 1
        if progress:
            self._fruitless, self._waited = 1, 0.0
        delay = client.retry.delay(self._fruitless)
        is_hopeless = not progress and self._waited >= client.retry.patience
        if is_hopeless or not await paused(client.clock, delay):
            named = ", ".join(key.decode(errors="replace") for key in left[:_NAMED])
            more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
            raise ThrottledError(
                f"{self._operation} on {client.label}: {len(left)} keys stayed unprocessed for "
                f"{self._waited:.0f} s: {named}{more}."
            )
        self._waited += delay
