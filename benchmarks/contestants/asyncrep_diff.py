"""asyncrep compares two tables through its public API, confirmation included; everything is as by default.

`--walk primary` leaves the run when the primary's walk is over: missing and different records only, what
the loops of the other contestants find; only the strategy batch-get has such a walk. `--walk full` is a
whole check.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import aioboto3

from asyncrep import Comparison, Limits, Report, diff, open_table
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


def chosen(options: argparse.Namespace) -> dict[str, Any]:
    """What of the arguments of `diff` was given on the command line; the rest is left to its defaults."""
    limits: dict[str, int] = {"segments": options.segments}
    if options.concurrency is not None:
        limits["concurrency"] = options.concurrency
    arguments: dict[str, Any] = {"limits": Limits(**limits)}
    if options.settle is not None:
        arguments["comparison"] = Comparison(settle=options.settle)
    if options.strategy is not None:
        arguments["strategy"] = options.strategy
    return arguments


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
        report = Report("", "")
        try:
            async with time, diff(primary, replica, observer=observer, **chosen(options)) as discrepancies:
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
    parser.add_argument("--strategy", help="dual-scan or batch-get; by default it is not given")
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--settle", type=float)
    options = parser.parse_args()
    contest.run(contend(options), options.loop)


if __name__ == "__main__":
    main()
