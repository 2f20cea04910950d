"""The floor of following a stream: aiohttp reads the pages, zlib checks them, msgspec cuts them into records.

Nothing is signed, looked into, written or noted: no tool built on aiohttp can be cheaper.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse

_encode = msgspec.json.Encoder().encode


class Page(msgspec.Struct):
    """What GetRecords answers, cut into records that are not looked into."""

    Records: list[msgspec.Raw]
    NextShardIterator: str | None = None


_decode_page = msgspec.json.Decoder(Page).decode


async def ask(session: aiohttp.ClientSession, url: str, operation: str, **parameters: Any) -> bytes:
    """The body of an answer.

    Raises:
        ValueError: it does not have its checksum.
    """
    headers = {
        "X-Amz-Target": f"DynamoDBStreams_20120810.{operation}",
        "Content-Type": "application/x-amz-json-1.0",
    }
    async with session.post(url, data=_encode(parameters), headers=headers) as response:
        body = await response.read()
    if zlib.crc32(body) != int(response.headers["x-amz-crc32"]):
        message = f"an answer to {operation} does not have its checksum"
        raise ValueError(message)
    return body


async def read_shard(session: aiohttp.ClientSession, url: str, stream: str, shard: str) -> int:
    """Records of one shard."""
    wanted = {"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = msgspec.json.decode(await ask(session, url, "GetShardIterator", **wanted))["ShardIterator"]
    records = 0
    while iterator is not None:
        page = _decode_page(await ask(session, url, "GetRecords", ShardIterator=iterator, Limit=1000))
        records, iterator = records + len(page.Records), page.NextShardIterator
    return records


async def contend(options: argparse.Namespace) -> None:
    """Read all shards at once."""
    async with aiohttp.ClientSession() as session:
        answer = msgspec.json.decode(await ask(session, options.url, "DescribeStream", StreamArn=""))
        description = answer["StreamDescription"]
        async with asyncio.TaskGroup() as group:
            shards = [
                group.create_task(
                    read_shard(session, options.url, description["StreamArn"], shard["ShardId"])
                )
                for shard in description["Shards"]
            ]
    contest.finished(sum(shard.result() for shard in shards))


def main() -> None:
    options = contest.arguments(__doc__).parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
