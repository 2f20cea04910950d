"""asyncrep copies a table into an empty one through its public API; everything is as by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioboto3

from asyncrep import Limits, backfill, open_table
from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse


async def contend(options: argparse.Namespace) -> None:
    """Copy all segments and count what was written."""
    session = aioboto3.Session(**contest.CREDENTIALS)
    async with (
        open_table(f"{options.url}/primary", session=session) as primary,
        open_table(f"{options.url}/copy", session=session) as copy,
    ):
        report = await backfill(primary, copy, limits=Limits(segments=options.segments))
    contest.finished(report.repaired)


def main() -> None:
    options = contest.arguments(__doc__).parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
