"""Counts each strategy's read units on dynalite, which charges as AWS does, beside the canned endpoint's count.

`python -m benchmarks.units`; dynalite is what `make engines` installs. What is shown is asyncrep's own sum of the
capacity that the answers name. dynalite charges strongly consistent reads of a batch like any other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import aioboto3

from asyncrep import Comparison, Limits, diff, open_table
from benchmarks.contestants.contest import CREDENTIALS
from benchmarks.figures import keep, print_table
from benchmarks.measure import endpoint
from benchmarks.ring import say
from benchmarks.tables import Layout, Table
from tests.support import engines

if TYPE_CHECKING:
    from collections.abc import Mapping

_SEGMENTS = 2
_DRIFT = 0.01
_STRATEGIES = ("dual-scan", "batch-get")
_KINDS = ("missing", "different", "extraneous")


@dataclass(frozen=True, slots=True)
class Count:
    """Read units that a full check of the same tables took."""

    strategy: str
    item_bytes: int
    items: int
    dynalite: float
    canned: float


async def check(primary: str, replica: str, strategy: Any, counts: Mapping[str, int]) -> float:
    """Units of a full check.

    Raises:
        ValueError: it did not find exactly what differs.
    """
    session = aioboto3.Session(**CREDENTIALS)
    limits, comparison = Limits(segments=_SEGMENTS), Comparison(settle=0)
    async with (
        open_table(primary, session=session) as one,
        open_table(replica, session=session) as other,
        diff(one, other, limits=limits, comparison=comparison, strategy=strategy) as found,
    ):
        async for _ in found:
            pass
    report = found.report
    wrong = {kind: getattr(report, kind) for kind in _KINDS if getattr(report, kind) != counts[kind]}
    if wrong:
        message = f"{strategy} found {wrong} in {counts}"
        raise ValueError(message)
    return report.read_units


def count(layout: Layout, dynalite: engines.Engine) -> list[Count]:
    """Fill dynalite with the tables of a layout, and check these and the canned ones."""
    names = {}
    for side in ("primary", "replica"):
        table = Table(side, layout)
        items = [json.loads(table.item(slot)) for slot in table.present(0, table.slots)]
        names[side] = dynalite.create_table(items=items)
    options = (f"--items={layout.items}", f"--drift={layout.drift}", f"--item-bytes={layout.item_bytes}")
    counted = []
    with endpoint(*options) as canned:
        for strategy in _STRATEGIES:
            urls = (
                (f"{dynalite.url}/{names['primary']}", f"{dynalite.url}/{names['replica']}"),
                (f"{canned.url}/primary", f"{canned.url}/replica"),
            )
            units = [asyncio.run(check(one, other, strategy, layout.counts)) for one, other in urls]
            counted.append(Count(strategy, layout.item_bytes, layout.items, *units))
    return counted


def main() -> int:
    """Print the table; where dynalite is not installed, say so."""
    parser = argparse.ArgumentParser(prog="benchmarks.units", description=__doc__)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--item-bytes", type=int, nargs="+", default=[100, 400, 4096])
    options = parser.parse_args()
    if not engines.DYNALITE.exists():
        say("left out: read units on dynalite: it is not installed; `make engines` does that")
        return 0
    counted = []
    with engines.run_dynalite() as url:
        for item_bytes in options.item_bytes:
            layout = Layout(options.items, _DRIFT, item_bytes=item_bytes)
            counted += count(layout, engines.dynalite(url))
    table = [["read units of a full check", "item bytes", "items", "dynalite", "canned endpoint"]]
    table += [
        [one.strategy, f"{one.item_bytes:,}", f"{one.items:,}", f"{one.dynalite:,.1f}", f"{one.canned:,.1f}"]
        for one in counted
    ]
    print_table(table)
    keep("units", {"drift": _DRIFT, "segments": _SEGMENTS}, [asdict(one) for one in counted])
    return 0


if __name__ == "__main__":
    sys.exit(main())
