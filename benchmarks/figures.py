"""The figures of a run: as a Markdown table on stdout, and as JSON in `results/`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PER = 100_000
"""Items that costs are given for, whatever number was measured."""

_RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one row cost: medians of its runs, start-up taken off all but memory and units."""

    row: str
    job: str
    label: str
    item_bytes: int
    items: int
    cpu_per_100k: float
    items_per_second: float
    peak_megabytes: float
    read_units_per_100k: float
    requests: int
    start_up_cpu: float
    floors: float | None = None
    """CPU as a multiple of the floor's in the same run; None when the floor was not run."""


def print_comparison(results: Iterable[Figures], conditions: Mapping[str, object]) -> None:
    """Print one row for each contestant and size of item."""
    table = [
        [
            "",
            "job",
            "item bytes",
            "items",
            f"CPU-s per {PER:,}",
            "items/s",
            "peak MB",
            "times the floor",
            f"read units per {PER:,}",
            "start-up CPU-s",
        ]
    ]
    table += [
        [
            one.label,
            one.job,
            f"{one.item_bytes:,}",
            f"{one.items:,}",
            f"{one.cpu_per_100k:.2f}",
            f"{one.items_per_second:,.0f}",
            f"{one.peak_megabytes:.0f}",
            "-" if one.floors is None else f"{one.floors:.1f}",
            f"{one.read_units_per_100k:,.0f}",
            f"{one.start_up_cpu:.2f}",
        ]
        for one in results
    ]
    print_conditions(conditions)
    print_table(table, names=2)


def print_conditions(conditions: Mapping[str, object]) -> None:
    """Print what the figures were measured on and under which options."""
    facts = machine.description() | {name.replace("_", " "): str(value) for name, value in conditions.items()}
    print(", ".join(f"{name} {value}" for name, value in facts.items() if name != "counts"))
    print()


def print_table(rows: Sequence[Sequence[str]], *, names: int = 1) -> None:
    """Print rows as Markdown: the first is the head, the first `names` columns hold names."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [
            cell.rjust(width) if place >= names else cell.ljust(width)
            for place, (cell, width) in enumerate(cells)
        ]
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    rule = ["-" * width if place < names else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    for line in (lines[0], rule, *lines[1:]):
        print("| " + " | ".join(line) + " |")
    print(flush=True)


def keep(name: str, conditions: Mapping[str, object], results: Sequence[Mapping[str, object]]) -> Path:
    """Write the results as JSON beside this file, over those of an earlier run like it; return where."""
    _RESULTS.mkdir(exist_ok=True)
    kept = {"machine": machine.description(), "conditions": conditions, "results": results}
    path = _RESULTS / f"{name}.json"
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return path
