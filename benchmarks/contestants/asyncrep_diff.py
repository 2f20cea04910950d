"""asyncrep compares two tables through its public API, confirmation included; everything is as by default.

`--walk primary` leaves the run when the primary's walk is over: missing and different records only, what
the loops of the other contestants find. `--walk full` is a whole check.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import aioboto3

from asyncrep import Limits, diff, open_table
from asyncrep.progress import Event, PassEnded
from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse

_KINDS = {"primary": ("missing", "different"), "full": ("missing", "different", "extraneous")}


class EndAfterPrimary:
    """Ends a run's time when its walk over the primary is over."""

    def __init__(self, time: asyncio.Timeout) -> None:
        self._time = time

    def notice(self, event: Event) -> None:
        """Wait for the end of the first walk."""
        if isinstance(event, PassEnded) and event.name == "primary":
            self._time.reschedule(0)


async def contend(options: argparse.Namespace) -> None:
    """Compare all segments and count what is found."""
    session = aioboto3.Session(**contest.CREDENTIALS)
    found: Counter[str] = Counter()
    async with (
        open_table(f"{options.url}/primary", session=session) as primary,
        open_table(f"{options.url}/replica", session=session) as replica,
    ):
        time = asyncio.timeout(None)
        observer = EndAfterPrimary(time) if options.walk == "primary" else None
        limits = Limits(segments=options.segments)
        try:
            async with time, diff(primary, replica, limits=limits, observer=observer) as discrepancies:
                report = discrepancies.report
                async for discrepancy in discrepancies:
                    found[discrepancy.kind] += 1
        except TimeoutError:
            if not time.expired():
                raise
    items = report.compared if options.walk == "full" else report.scanned_primary
    contest.finished(items, **{kind: found[kind] for kind in _KINDS[options.walk]})


def main() -> None:
    parser = contest.arguments(__doc__)
    parser.add_argument("--walk", choices=tuple(_KINDS), default="full")
    options = parser.parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
