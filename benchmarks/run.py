"""Prints one table of what every contestant costs: `python -m benchmarks.run`, or its peak memory: `--memory`."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.figures import PER, Figures, keep, print_comparison, print_conditions, print_table
from benchmarks.measure import ContestantFailed, Endpoint, Measurement, endpoint, measure
from benchmarks.rows import ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType


def _run(row: Row, served_by: Endpoint, loop: str) -> Measurement:
    """Run one contestant once.

    Raises:
        ContestantFailed: it ended badly, or did not find exactly what the tables hold.
    """
    run = measure(row.command(served_by.url, loop), served_by)
    mistake = row.mistake(run.answer, served_by.counts)
    if mistake is not None:
        raise ContestantFailed(mistake)
    return run


def _figures(row: Row, served_by: Endpoint, empty: Endpoint, options: argparse.Namespace) -> Figures:
    """Run one contestant `--repeat` times on full and on empty tables.

    Raises:
        ContestantFailed: it ended badly, or did not find exactly what the tables hold.
    """
    full_runs, empty_runs = [], []
    for _ in range(options.repeat):
        full_runs.append(_run(row, served_by, options.loop))
        empty_runs.append(_run(row, empty, options.loop))
    median = statistics.median
    items = served_by.counts["primary"]
    start_up = median(run.cpu_seconds for run in empty_runs)
    cpu = median(run.cpu_seconds for run in full_runs) - start_up
    wall = median(run.wall_seconds for run in full_runs) - median(run.wall_seconds for run in empty_runs)
    return Figures(
        row=row.name,
        label=row.label,
        items=items,
        cpu_per_100k=cpu * PER / items,
        items_per_second=items / max(wall, 1e-9),
        peak_megabytes=median(run.peak_bytes for run in full_runs) / 1e6,
        read_units_per_100k=median(run.read_units for run in full_runs) * PER / items,
        requests=round(median(run.requests for run in full_runs)),
        start_up_cpu=start_up,
    )


def _with_floors(row: Row, figures: Figures, done: Mapping[str, Figures]) -> Figures:
    floor = figures if row.name.startswith("floor") else done.get("floor-one" if row.one_table else "floor")
    if floor is None:
        return figures
    return Figures(**asdict(figures) | {"floors": figures.cpu_per_100k / floor.cpu_per_100k})


def _compare(options: argparse.Namespace) -> int:
    """Measure every row and print the table; 1 when a contestant failed."""
    drift = ("--drift", str(options.drift))
    others = ("--latency-ms", str(options.latency_ms), *_flags(options))
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    done: dict[str, Figures] = {}
    failures: list[str] = []
    slow_items = str(min(options.items, options.slow_items))
    with (
        endpoint("--items", str(options.items), *drift, *others) as whole,
        endpoint("--items", slow_items, *drift, *others) as small,
        endpoint("--items", "0", *others) as empty,
    ):
        for row in rows:
            _say(f"{row.label} …")
            try:
                figures = _figures(row, small if row.slow else whole, empty, options)
            except ContestantFailed as failure:
                failures.append(f"{row.label}: {failure}")
            else:
                done[row.name] = _with_floors(row, figures, done)
        conditions = {
            "items": options.items,
            "counts": dict(whole.counts),
            "drift": options.drift,
            "latency_ms": options.latency_ms,
            "range_key": options.range_key,
            "reversed_attributes": options.reversed_attributes,
            "loop": options.loop,
            "repeat": options.repeat,
        }
    print_comparison(list(done.values()), conditions)
    name = f"compare-{options.items}-items-{options.latency_ms:g}-ms"
    keep(name, conditions, [asdict(figures) for figures in done.values()])
    for failed in failures:
        _say(f"failed: {failed}")
    return 1 if failures else 0


def _memory(options: argparse.Namespace) -> int:
    """Measure the peak memory of asyncrep's checks for every size; 1 when a contestant failed."""
    rows = [row for row in ROWS if row.shows_memory and (not options.only or row.name in options.only)]
    peaks: list[dict[str, Any]] = []
    failures = 0
    for size in options.sizes:
        with endpoint("--items", str(size), "--drift", str(options.drift), *_flags(options)) as served_by:
            for row in rows:
                _say(f"{row.label}, {size} items …")
                try:
                    run = _run(row, served_by, options.loop)
                except ContestantFailed as failure:
                    failures += 1
                    _say(f"failed: {failure}")
                    continue
                peaks.append({"row": row.name, "items": size, "peak_megabytes": run.peak_bytes / 1e6})
    table = [["peak memory, MB", *(f"{size:,} items" for size in options.sizes)]]
    for row in rows:
        by_size = {one["items"]: one["peak_megabytes"] for one in peaks if one["row"] == row.name}
        table.append(
            [row.label, *(f"{by_size[size]:.0f}" if size in by_size else "-" for size in options.sizes)]
        )
    conditions = {"drift": options.drift, "loop": options.loop}
    print_conditions(conditions)
    print_table(table)
    keep("memory", conditions, peaks)
    return 1 if failures else 0


def _flags(options: argparse.Namespace) -> Sequence[str]:
    chosen = {"--range-key": options.range_key, "--reversed-attributes": options.reversed_attributes}
    return [flag for flag, wanted in chosen.items() if wanted]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if int(text) < 1:
        message = "must be 1 or more"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--items", type=_count, default=100_000, help="items of each table")
    parser.add_argument(
        "--slow-items",
        type=_count,
        default=20_000,
        help="the same for the slow contestants; scaled afterwards",
    )
    parser.add_argument("--drift", type=float, default=0.01, help="share of items that differ")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every answer")
    parser.add_argument("--range-key", action="store_true", help="tables with an N range key")
    parser.add_argument(
        "--reversed-attributes", action="store_true", help="the replica's attributes come in another order"
    )
    parser.add_argument("--repeat", type=_count, default=3, help="runs of each row; the median counts")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], help="measure these rows")
    parser.add_argument("--memory", action="store_true", help="peak memory of asyncrep by table size, only")
    parser.add_argument("--sizes", type=_count, nargs="+", default=[10_000, 100_000, 1_000_000])
    return parser.parse_args()


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Leave as by Ctrl-C, so that every process started here is stopped."""
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    options = _arguments()
    try:
        return _memory(options) if options.memory else _compare(options)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
