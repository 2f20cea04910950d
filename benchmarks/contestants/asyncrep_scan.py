"""asyncrep reads one table: every page of every segment, cut into images with their canonical keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aioboto3

from asyncrep import Segment, open_table
from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse

    from asyncrep import Table


async def scan_segment(table: Table, segment: Segment) -> int:
    """Items of one segment."""
    return sum([len(page.images) async for page in table.pages(segment)])


async def contend(options: argparse.Namespace) -> None:
    """Scan all segments at once."""
    session = aioboto3.Session(**contest.CREDENTIALS)
    async with open_table(f"{options.url}/primary", session=session) as table, asyncio.TaskGroup() as group:
        scans = [
            group.create_task(scan_segment(table, Segment(index, options.segments)))
            for index in range(options.segments)
        ]
    contest.finished(sum(scan.result() for scan in scans))


def main() -> None:
    options = contest.arguments(__doc__).parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
