"""How a check gets faster with a second process, and how evenly the processes share the work.

The endpoint needs processor time as well, and on a machine with two cores it takes it from the second
process. So two figures are told: what the clock says, and what the processor time of the busiest process
says, which is how long the check takes where every process has a core of its own.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import keep, print_table
from benchmarks.measure import endpoint
from benchmarks.ring import run_once, say
from benchmarks.rows import ROWS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from benchmarks.measure import Measurement
    from benchmarks.ring import Attempts

_ITEMS = 1_500_000
_PROCESSES = (1, 2)
_OPTIONS = ("--segments", "32")
_LOOK_SECONDS = 0.1
_PARENT, _USER, _SYSTEM = 1, 11, 12  # places in /proc/PID/stat, behind the name


def cores(options: argparse.Namespace, attempts: Attempts) -> None:
    """Measure `diff-tables` with one process and with two; the replica's attributes come in another order.

    That is the check with the most work for the client, and the least for the endpoint beside it.
    """
    [row] = [row for row in ROWS if row.name == "cli"]
    further = (f"--drift={options.drift}", "--reversed-attributes", "--cache-mb=4000")
    measured: list[dict[str, Any]] = []
    with endpoint(f"--items={_ITEMS}", *further) as full:
        for processes in _PROCESSES:

            def run(processes: int = processes) -> tuple[Measurement, float]:
                with busiest() as seen:
                    done = run_once(row, full, options.loop, *_OPTIONS, "--processes", str(processes))
                return done, max(seen.values())

            outcome = attempts.attempt(f"{row.name}, --processes {processes}", run)
            if outcome is None:
                return
            done, of_busiest = outcome
            measured.append(
                {
                    "processes": processes,
                    "cpu_seconds": done.cpu_seconds,
                    "busiest": done.cpu_seconds if processes == 1 else of_busiest,
                    "wall_seconds": done.wall_seconds,
                }
            )
    one = measured[0]
    head = ["processes", "CPU-s", "of the busiest process", "faster by", "s by the clock", "faster by"]
    print_table(
        [
            head,
            *(
                [
                    str(each["processes"]),
                    f"{each['cpu_seconds']:.1f}",
                    f"{each['busiest']:.1f}",
                    f"{one['busiest'] / each['busiest']:.2f}",
                    f"{each['wall_seconds']:.1f}",
                    f"{one['wall_seconds'] / each['wall_seconds']:.2f}",
                ]
                for each in measured
            ),
        ]
    )
    keep("cores", {"items": _ITEMS, "cores": os.cpu_count()}, measured)


@contextmanager
def busiest() -> Iterator[dict[int, float]]:
    """Watch this process's descendants; yield the processor seconds of each, by process id, as last seen."""
    seen: dict[int, float] = {}
    before = set(_descendants())
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            seen.update({number: spent for number, spent in _descendants().items() if number not in before})

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
        if not seen:
            say("no /proc to see single processes in")
            seen[0] = float("nan")


def _descendants() -> dict[int, float]:
    """Processor seconds of this process's children and of theirs, by process id."""
    per_second = os.sysconf("SC_CLK_TCK")
    parents, spent = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(entry.parent.name)
        parents[number] = int(fields[_PARENT])
        spent[number] = (int(fields[_USER]) + int(fields[_SYSTEM])) / per_second
    found = {os.getpid()}
    while more := {number for number, parent in parents.items() if parent in found} - found:
        found |= more
    return {number: spent[number] for number in found - {os.getpid()}}
