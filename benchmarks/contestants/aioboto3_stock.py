"""The same loop on stock aioboto3: segments at once, and the batch-gets of a page at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import aioboto3
from botocore.config import Config

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_BATCH_KEYS = 100
_CONNECTIONS = 64


def identity(item: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """The key of a wire-form item as something that can be looked up."""
    return tuple(value for name in names for value in item[name].values())


async def compare(client: Any, names: Sequence[str], batch: Sequence[dict[str, Any]]) -> Counter[str]:
    """Compare up to 100 items of the primary with the replica's."""
    wanted: Any = {"replica": {"Keys": [{name: item[name] for name in names} for item in batch]}}
    replicas: dict[tuple[Any, ...], dict[str, Any]] = {}
    while wanted:
        answer = await client.batch_get_item(RequestItems=wanted)
        for item in answer["Responses"].get("replica", ()):
            replicas[identity(item, names)] = item
        wanted = answer["UnprocessedKeys"]
    counts = Counter(compared=len(batch))
    for item in batch:
        replica = replicas.get(identity(item, names))
        if replica is None:
            counts["missing"] += 1
        elif replica != item:
            counts["different"] += 1
    return counts


async def compare_segment(client: Any, names: Sequence[str], segment: int, segments: int) -> Counter[str]:
    """Walk one segment of the primary."""
    counts: Counter[str] = Counter()
    paginator = client.get_paginator("scan")
    async for page in paginator.paginate(TableName="primary", Segment=segment, TotalSegments=segments):
        items = page["Items"]
        async with asyncio.TaskGroup() as group:
            batches = [
                group.create_task(compare(client, names, items[start : start + _BATCH_KEYS]))
                for start in range(0, len(items), _BATCH_KEYS)
            ]
        for batch in batches:
            counts += batch.result()
    return counts


async def contend(options: argparse.Namespace) -> None:
    """Compare all segments at once."""
    session = aioboto3.Session()
    config = Config(max_pool_connections=_CONNECTIONS)
    async with session.client(
        "dynamodb", endpoint_url=options.url, config=config, **contest.CREDENTIALS
    ) as client:
        description = await client.describe_table(TableName="primary")
        names = [element["AttributeName"] for element in description["Table"]["KeySchema"]]
        async with asyncio.TaskGroup() as group:
            walks = [
                group.create_task(compare_segment(client, names, segment, options.segments))
                for segment in range(options.segments)
            ]
    counts = sum((walk.result() for walk in walks), Counter[str]())
    contest.finished(counts["compared"], missing=counts["missing"], different=counts["different"])


def main() -> None:
    options = contest.arguments(__doc__).parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
