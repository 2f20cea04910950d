"""The floor: what any asyncio client pays to read two tables, check the bytes and find the items in them.

aiohttp reads the pages, zlib checks them, msgspec cuts them into one slice an item. Nothing is signed,
compared or retried: no tool on aiohttp can be cheaper, so every other figure is given as a multiple.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse

_HEADERS = {"X-Amz-Target": "DynamoDB_20120810.Scan", "Content-Type": "application/x-amz-json-1.0"}


class Page(msgspec.Struct, rename="pascal"):
    """A Scan page cut into items that are not looked into."""

    items: list[msgspec.Raw]
    last_evaluated_key: msgspec.Raw = msgspec.Raw()


async def scan_segment(
    session: aiohttp.ClientSession, url: str, table: str, segment: int, segments: int
) -> int:
    """Items of one segment.

    Raises:
        ValueError: a page does not have its checksum.
    """
    decode = msgspec.json.Decoder(Page).decode
    fixed = json.dumps({"TableName": table, "Segment": segment, "TotalSegments": segments}).encode()
    request, items = fixed, 0
    while True:
        async with session.post(url, data=request, headers=_HEADERS) as response:
            body = await response.read()
        if zlib.crc32(body) != int(response.headers["x-amz-crc32"]):
            message = f"a page of {table} does not have its checksum"
            raise ValueError(message)
        page = decode(body)
        items += len(page.items)
        last_key = bytes(page.last_evaluated_key)
        if not last_key:
            return items
        request = b'%s,"ExclusiveStartKey":%s}' % (fixed[:-1], last_key)


async def contend(options: argparse.Namespace) -> None:
    """Scan one or both tables, all segments at once."""
    tables = ("primary", "replica")[: options.tables]
    connector = aiohttp.TCPConnector(limit=options.segments * len(tables))
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        scans = [
            (table, group.create_task(scan_segment(session, options.url, table, segment, options.segments)))
            for segment in range(options.segments)
            for table in tables
        ]
    contest.finished(sum(scan.result() for table, scan in scans if table == "primary"))


def main() -> None:
    parser = contest.arguments(__doc__)
    parser.add_argument("--tables", type=int, choices=(1, 2), default=2)
    options = parser.parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
