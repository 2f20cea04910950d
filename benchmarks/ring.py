"""Runs contestants against endpoints, judges what they answer, and works out the figures of a row."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.figures import PER, Figures
from benchmarks.measure import ContestantFailed, NotPossible, measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from benchmarks.measure import Endpoint, Measurement
    from benchmarks.rows import Row

    T = TypeVar("T")


def run_once(row: Row, served_by: Endpoint, loop: str, *further: str) -> Measurement:
    """Run one contestant once.

    Raises:
        NotPossible: it is not installed, or cannot do what is asked of it.
        ContestantFailed: it ended badly, or did not find or write exactly what the tables hold.
    """
    run = measure(row.command(served_by.url, loop, *further), served_by)
    mistake = row.mistake(run.answer, served_by.counts)
    if mistake is not None:
        raise ContestantFailed(mistake)
    if row.writes and run.items_written != served_by.counts["primary"]:
        message = f"wrote {run.items_written} items instead of {served_by.counts['primary']}"
        raise ContestantFailed(message)
    return run


@dataclass(frozen=True, slots=True)
class Ring:
    """Where contestants meet: tables with items, and the empty ones that show what start-up takes."""

    full: Endpoint
    empty: Endpoint
    item_bytes: int
    loop: str
    repeat: int

    def figures(self, row: Row, *further: str) -> Figures:
        """Run one contestant `repeat` times on full and on empty tables.

        Raises:
            NotPossible: it is not installed, or cannot do what is asked of it.
            ContestantFailed: it ended badly, or did not find or write exactly what the tables hold.
        """
        full_runs, empty_runs = [], []
        for _ in range(self.repeat):
            full_runs.append(run_once(row, self.full, self.loop, *further))
            empty_runs.append(run_once(row, self.empty, self.loop, *further))
        median = statistics.median
        items = self.full.counts["primary"]
        start_up = median(run.cpu_seconds for run in empty_runs)
        cpu = median(run.cpu_seconds for run in full_runs) - start_up
        wall = median(run.wall_seconds for run in full_runs) - median(run.wall_seconds for run in empty_runs)
        return Figures(
            row=row.name,
            job=row.job,
            label=row.label,
            item_bytes=self.item_bytes,
            items=items,
            cpu_per_100k=cpu * PER / items,
            items_per_second=items / max(wall, 1e-9),
            peak_megabytes=median(run.peak_bytes for run in full_runs) / 1e6,
            read_units_per_100k=median(run.read_units for run in full_runs) * PER / items,
            requests=round(median(run.requests for run in full_runs)),
            start_up_cpu=start_up,
        )


@dataclass(slots=True)
class Attempts:
    """Contestants that did not come through; the others are measured all the same."""

    failures: int = 0
    _remarks: list[str] = field(default_factory=list)

    def attempt(self, what: str, measuring: Callable[[], T]) -> T | None:
        """What is measured, or None if the contestant failed or cannot take part."""
        say(f"{what} …")
        try:
            return measuring()
        except NotPossible as reason:
            self._remarks.append(f"left out: {what}: {reason}")
        except ContestantFailed as failure:
            self.failures += 1
            self._remarks.append(f"failed: {what}: {failure}")
        return None

    def tell(self) -> None:
        """Say what did not come through and why, below the table."""
        for remark in self._remarks:
            say(remark)
        self._remarks.clear()


def say(message: str) -> None:
    """Print beside the tables, which alone are on stdout."""
    print(message, file=sys.stderr, flush=True)
