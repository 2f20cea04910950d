"""Reads single items by key, a hundred a call, until the service has answered for every one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed, Estimator
from asyncrep.errors import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.capacity import Budget
    from asyncrep.aws.client import WireClient
    from asyncrep.items.keys import KeyReader
    from asyncrep.model import KeySchema

BATCH_KEYS = 100
"""The most keys that one BatchGetItem takes."""


class _Request(msgspec.Struct):
    Keys: list[Raw]


class _Answer(msgspec.Struct):
    Responses: dict[str, list[Raw]]
    UnprocessedKeys: dict[str, _Request] = {}
    ConsumedCapacity: list[Consumed] = []


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
        fruitless = 0
        while pending:
            batch, rest = pending[:BATCH_KEYS], pending[BATCH_KEYS:]
            answer = await self._ask(client, budget, opening + b",".join(batch) + closing, len(batch))
            for images in answer.Responses.values():
                found.update((self._keys.key(image), image) for image in images)
            unprocessed = [
                self._keys.key(key) for request in answer.UnprocessedKeys.values() for key in request.Keys
            ]
            pending = unprocessed + rest
            if not unprocessed:
                continue
            fruitless = fruitless + 1 if len(unprocessed) == len(batch) else 0
            await wait_for_unprocessed(client, budget, fruitless, f"{len(pending)} keys", "BatchGetItem")
        return found

    async def _ask(self, client: WireClient, budget: Budget, body: bytes, size: int) -> _Answer:
        estimate = self._per_key.units * size
        await budget.spend("read", estimate)
        answer = await client.call("BatchGetItem", body, _decode, budget.meter)
        units = sum(consumed.CapacityUnits for consumed in answer.ConsumedCapacity)
        budget.charge("read", units, estimate)
        self._per_key.learn(units / size)
        return answer


async def wait_for_unprocessed(
    client: WireClient, budget: Budget, fruitless: int, left: str, operation: str
) -> None:
    """Back off before asking again for what stayed unprocessed; give up after too many fruitless tries.

    Raises:
        ThrottledError: as many tries in a row as the retry policy allows changed nothing.
    """
    budget.meter.throttled += 1
    if fruitless >= client.retry.attempts:
        raise ThrottledError(
            f"{operation} on {client.label}: {left} stayed unprocessed in {fruitless} tries."
        )
    await client.clock.sleep(client.retry.delay(max(fruitless, 1)))
