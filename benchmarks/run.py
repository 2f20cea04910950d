"""Prints what every contestant costs: `python -m benchmarks.run`, or peak memory by table size: `--memory`."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from benchmarks import sections
from benchmarks.backups import backups
from benchmarks.cores import cores
from benchmarks.items import SMALLEST
from benchmarks.replication import replication
from benchmarks.ring import Attempts
from benchmarks.rows import ROWS

if TYPE_CHECKING:
    from types import FrameType

_SECTIONS = {
    "compare": sections.compare,
    "latency": sections.latency,
    "cores": cores,
    "units": sections.units,
    "replicate": replication,
    "backup": backups,
}


def _count(text: str) -> int:
    if int(text) < 1:
        message = "must be 1 or more"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _item_bytes(text: str) -> int:
    if int(text) < SMALLEST:
        message = f"must be {SMALLEST} or more"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--items", type=_count, default=100_000, help="items of each table")
    parser.add_argument("--slow-items", type=_count, default=20_000, help="the same for the slow contestants")
    parser.add_argument("--quick-items", type=_count, default=500_000, help="and for the quick ones")
    parser.add_argument(
        "--item-bytes",
        type=_item_bytes,
        nargs="+",
        default=[400, 100, 4096, 20480],
        help="size of an item as DynamoDB counts it: every row with the first size, some with the others",
    )
    parser.add_argument("--drift", type=float, default=0.01, help="share of items that differ")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every answer")
    parser.add_argument("--range-key", action="store_true", help="tables with an N range key")
    parser.add_argument(
        "--reversed-attributes", action="store_true", help="the replica's attributes come in another order"
    )
    parser.add_argument("--repeat", type=_count, default=3, help="runs of each row; the median counts")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--section", nargs="+", choices=list(_SECTIONS), help="only these parts of the run")
    parser.add_argument(
        "--only", nargs="+", choices=[row.name for row in ROWS], help="compare only these rows"
    )
    parser.add_argument("--memory", action="store_true", help="peak memory of asyncrep by table size, only")
    parser.add_argument("--sizes", type=_count, nargs="+", default=[10_000, 100_000, 1_000_000])
    return parser.parse_args()


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Leave as by Ctrl-C, so that every process started here is stopped."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the sections that are wanted; 1 when a contestant failed."""
    signal.signal(signal.SIGTERM, _stop)
    options = _arguments()
    attempts = Attempts()
    wanted = options.section or (["compare"] if options.only else list(_SECTIONS))
    try:
        if options.memory:
            sections.memory(options, attempts)
        else:
            for name in wanted:
                _SECTIONS[name](options, attempts)
    except KeyboardInterrupt:
        return 130
    return 1 if attempts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
