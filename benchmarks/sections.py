"""The sections of a run, each a table and a file: the comparison, added latency, units, memory by table size."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import keep, print_comparison, print_conditions, print_table
from benchmarks.measure import endpoint
from benchmarks.ring import Ring, run_once, say
from benchmarks.rows import ROWS, Pace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from benchmarks.figures import Figures
    from benchmarks.ring import Attempts
    from benchmarks.rows import Row

_CHECKOUT = Path(__file__).parent.parent
_USUAL_BYTES = 400
_FEWEST_ITEMS = 5_000
_BY_SIZE = ("floor-one", "floor", "scan", "full", "dual-scan")
"""Rows that are measured for every size of item; the others only for the first."""
_ADDED_MS = (0.0, 10.0)
_LATENCY_ITEMS = {"dual-scan": 1_500_000, "full": 250_000}
# Enough to be under way that a wait of one request is another's turn; nothing waits on purpose.
_LATENCY_OPTIONS = ("--segments", "32", "--concurrency", "64", "--settle", "0")


def compare(options: argparse.Namespace, attempts: Attempts) -> None:
    """Measure every row, and some of them for every size of item; print the table, draw the chart."""
    results: list[Figures] = []
    for place, item_bytes in enumerate(options.item_bytes):
        rows = [row for row in _wanted(options) if place == 0 or row.name in _BY_SIZE]
        results += _compare_size(options, attempts, rows, item_bytes)
    conditions = {
        name: getattr(options, name)
        for name in ("drift", "latency_ms", "range_key", "reversed_attributes", "loop", "repeat")
    }
    print_comparison(results, conditions)
    attempts.tell()
    # Some rows do not take the place of a whole run.
    name = "compare-some" if options.only else f"compare-{options.latency_ms:g}-ms"
    kept = keep(name, conditions, [asdict(figures) for figures in results])
    if not options.only:
        # In a process of its own: what draws is larger than some contestants, see `measure`.
        subprocess.run([sys.executable, "-m", "benchmarks.chart", kept], cwd=_CHECKOUT, check=False)


def _compare_size(
    options: argparse.Namespace, attempts: Attempts, rows: Sequence[Row], item_bytes: int
) -> list[Figures]:
    done: dict[str, Figures] = {}
    with _rings(options, {row.pace for row in rows}, item_bytes) as rings:
        for row in rows:
            figures = attempts.attempt(
                f"{row.name}, items of {item_bytes} bytes", partial(rings[row.pace].figures, row)
            )
            if figures is not None:
                done[row.name] = _with_floors(row, figures, done)
    return list(done.values())


@contextlib.contextmanager
def _rings(
    options: argparse.Namespace, paces: Collection[Pace], item_bytes: int
) -> Iterator[dict[Pace, Ring]]:
    """Tables for contestants of each pace; the larger the items, the fewer there are."""
    numbers = {Pace.SLOW: options.slow_items, Pace.USUAL: options.items, Pace.QUICK: options.quick_items}
    others = (f"--item-bytes={item_bytes}", f"--latency-ms={options.latency_ms}", *_flags(options))
    rings = {}
    with contextlib.ExitStack() as stack:
        empty = stack.enter_context(endpoint("--items=0", *others))
        for pace in paces:
            of_equal_bytes = numbers[pace] * _USUAL_BYTES // item_bytes
            items = min(numbers[pace], max(of_equal_bytes, _FEWEST_ITEMS))
            full = stack.enter_context(endpoint(f"--items={items}", f"--drift={options.drift}", *others))
            rings[pace] = Ring(full, empty, item_bytes, options.loop, options.repeat)
        yield rings


def _with_floors(row: Row, figures: Figures, done: Mapping[str, Figures]) -> Figures:
    floor = figures if row.name.startswith("floor") else done.get("floor-one" if row.one_table else "floor")
    return figures if floor is None else replace(figures, floors=figures.cpu_per_100k / floor.cpu_per_100k)


def latency(options: argparse.Namespace, attempts: Attempts) -> None:
    """Measure how far both strategies keep their pace when every answer comes 10 ms later."""
    rates: dict[str, dict[float, float]] = {}
    for row in ROWS:
        if row.name not in _LATENCY_ITEMS:
            continue
        of_row = rates.setdefault(row.name, {})
        for added in _ADDED_MS:
            figures = _with_latency(row, added, options, attempts)
            if figures is not None:
                of_row[added] = figures.items_per_second
    table = [["items/s with every answer delayed", *(f"by {added:g} ms" for added in _ADDED_MS), "change"]]
    table += [
        [
            _label(name),
            *(f"{rate:,.0f}" for rate in by.values()),
            f"{by[_ADDED_MS[1]] / by[_ADDED_MS[0]] - 1:+.0%}",
        ]
        for name, by in rates.items()
        if len(by) == len(_ADDED_MS)
    ]
    print_table(table)
    attempts.tell()
    conditions = {"drift": options.drift, "options": _LATENCY_OPTIONS, "items": _LATENCY_ITEMS}
    keep("latency", conditions, [{"row": name, "items_per_second": by} for name, by in rates.items()])


def _with_latency(row: Row, added: float, options: argparse.Namespace, attempts: Attempts) -> Figures | None:
    # What is served from memory only keeps the endpoint from being what the check waits for.
    further = [f"--latency-ms={added}", "--cache-mb=4000", *_flags(options)]
    with (
        endpoint(f"--items={_LATENCY_ITEMS[row.name]}", f"--drift={options.drift}", *further) as full,
        endpoint("--items=0", *further) as empty,
    ):
        ring = Ring(full, empty, _USUAL_BYTES, options.loop, options.repeat)
        return attempts.attempt(
            f"{row.name}, {added:g} ms later", lambda: ring.figures(row, *_LATENCY_OPTIONS)
        )


def units(_options: argparse.Namespace, attempts: Attempts) -> None:
    """Count read units on dynalite, in a process of its own: it imports what asyncrep imports."""
    say("read units on dynalite …")
    # Its output follows what has been printed here.
    sys.stdout.flush()
    counted = subprocess.run([sys.executable, "-m", "benchmarks.units"], cwd=_CHECKOUT, check=False)
    attempts.failures += counted.returncode != 0


def memory(options: argparse.Namespace, attempts: Attempts) -> None:
    """Measure the peak memory of asyncrep's checks for every size of table."""
    rows = [row for row in _wanted(options) if row.shows_memory]
    peaks: list[dict[str, Any]] = []
    item_bytes = options.item_bytes[0]
    fixed = [f"--item-bytes={item_bytes}", f"--drift={options.drift}", *_flags(options)]
    for size in options.sizes:
        with endpoint(f"--items={size}", *fixed) as served_by:
            for row in rows:
                what = f"{row.name}, {size} items"
                run = attempts.attempt(
                    what,
                    partial(run_once, row, served_by, options.loop),
                )
                if run is not None:
                    peaks.append({"row": row.name, "items": size, "peak_megabytes": run.peak_bytes / 1e6})
    table = [["peak memory, MB", *(f"{size:,} items" for size in options.sizes)]]
    for row in rows:
        by_size = {one["items"]: one["peak_megabytes"] for one in peaks if one["row"] == row.name}
        if by_size:
            shown = (f"{by_size[size]:.0f}" if size in by_size else "-" for size in options.sizes)
            table.append([row.label, *shown])
    conditions = {"item_bytes": item_bytes, "drift": options.drift, "loop": options.loop}
    print_conditions(conditions)
    print_table(table)
    attempts.tell()
    keep("memory", conditions, peaks)


def _wanted(options: argparse.Namespace) -> Sequence[Row]:
    return [row for row in ROWS if not options.only or row.name in options.only]


def _label(name: str) -> str:
    return next(row.label for row in ROWS if row.name == name)


def _flags(options: argparse.Namespace) -> Sequence[str]:
    chosen = {"--range-key": options.range_key, "--reversed-attributes": options.reversed_attributes}
    return [flag for flag, wanted in chosen.items() if wanted]
