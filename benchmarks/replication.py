"""What following a stream costs: asyncrep under each policy, beside the loops people write and the floor.

All of them read the same closed shards and write to a table that forgets. Then the same with every answer
delayed, and with two workers of one task.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.cores import busiest
from benchmarks.figures import PER, keep, print_conditions, print_table
from benchmarks.measure import ContestantFailed, endpoint, measure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from benchmarks.measure import Endpoint, Measurement
    from benchmarks.ring import Attempts

_SHARDS = 4
_QUICK, _SLOW, _SLOWEST = 200_000, 10_000, 1_000
"""Records, so that a run takes seconds; figures are for 100,000."""

_ADDED_MS = (0.0, 10.0)
_WORKERS = (1, 2)
_WORKERS_RECORDS = 400_000


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to follow a stream.

    Attributes:
        writes: what it must write: each record, the last state of each item in a page, either, nothing, or
            at least the last states: a worker that takes a shard over writes some once more.
        records: of the stream it is given.
        delayed: of the one with answers that come later; None where it is not measured with that.
        twice: whether it is also measured where every record is of another item.
    """

    name: str
    label: str
    module: str
    options: tuple[str, ...] = ()
    writes: str = "last"
    records: int = _QUICK
    delayed: int | None = None
    twice: bool = False

    def command(self, url: str, loop: str, *further: str) -> list[str]:
        """The command line of a run against an endpoint."""
        start = (sys.executable, "-m", f"benchmarks.contestants.{self.module}")
        return [*start, url, "--until-input-closes", "--loop", loop, *self.options, *further]

    def mistake(self, run: Measurement, counts: Mapping[str, int]) -> str | None:
        """What a run should not have said or done; None when all is well."""
        if run.answer["items"] != counts["records"]:
            return f"read {run.answer['items']} of {counts['records']} records"
        fewest = {"each": counts["records"], "nothing": 0}.get(self.writes, counts["items"])
        most = {"last": counts["items"], "nothing": 0}.get(self.writes, counts["records"])
        if run.items_written < fewest or (run.items_written > most and self.writes != "at least"):
            return f"wrote {run.items_written} items instead of {fewest} to {most}"
        return None


CONTESTANTS = (
    Contestant("floor", "floor, reads only", "stream_floor", writes="nothing", twice=True),
    Contestant(
        "boto3",
        "boto3 loop, a write for each record",
        "boto3_stream_loop",
        writes="each",
        records=_SLOW,
        delayed=_SLOWEST,
    ),
    Contestant(
        "boto3-batches",
        "boto3 loop, batch_writer",
        "boto3_stream_loop",
        ("--batches",),
        writes="either",
        records=_SLOW,
        delayed=_SLOW,
        twice=True,
    ),
    Contestant("one-way", "**asyncrep worker, one way**", "asyncrep_replicate", delayed=_QUICK, twice=True),
    Contestant("cli", "**asyncrep replicate, everything on**", "asyncrep_replicate_cli", twice=True),
    Contestant(
        "sequence",
        "**asyncrep worker, guarded by sequence**",
        "asyncrep_replicate",
        ("--guard", "sequence"),
        records=_SLOW,
        delayed=_SLOW,
    ),
    Contestant(
        "version",
        "**asyncrep worker, guarded by version**",
        "asyncrep_replicate",
        ("--guard", "version"),
        records=_SLOW,
        delayed=_SLOW,
    ),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contestant took: medians of its runs, start-up taken off all but memory."""

    row: str
    label: str
    repeats: bool
    added_ms: float
    records: int
    cpu_per_100k: float
    records_per_second: float
    peak_megabytes: float
    requests_per_100k: float
    start_up_cpu: float
    floors: float | None = None


def replication(options: argparse.Namespace, attempts: Attempts) -> None:
    """Measure all of it."""
    conditions = {"shards": _SHARDS, "loop": options.loop, "repeat": options.repeat}
    print_conditions(conditions)
    compared = _compare(options, attempts)
    delayed = _delayed(options, attempts, compared)
    workers = _workers(options, attempts)
    attempts.tell()
    results = [asdict(figures) for figures in (*compared, *delayed)]
    keep("replicate", conditions, [*results, *workers])


def _compare(options: argparse.Namespace, attempts: Attempts) -> list[Figures]:
    done: list[Figures] = []
    for repeats in (True, False):
        for contestant in CONTESTANTS:
            if not (repeats or contestant.twice):
                continue
            what = f"replicate: {contestant.name}, {'some' if repeats else 'no'} items twice"
            figures = attempts.attempt(what, partial(_figures, contestant, options, repeats=repeats))
            if figures is not None:
                done.append(_with_floor(figures, done))
    head = ["", "records of an item that has just changed", "records", f"CPU-s per {PER:,}", "records/s"]
    head += ["peak MB", "times the floor", f"requests per {PER:,}", "start-up CPU-s"]
    rows = [
        [
            one.label,
            "10 %" if one.repeats else "none",
            f"{one.records:,}",
            f"{one.cpu_per_100k:.2f}",
            f"{one.records_per_second:,.0f}",
            f"{one.peak_megabytes:.0f}",
            "-" if one.floors is None else f"{one.floors:.1f}",
            f"{one.requests_per_100k:,.0f}",
            f"{one.start_up_cpu:.2f}",
        ]
        for one in done
    ]
    print_table([head, *rows], names=2)
    return done


def _with_floor(figures: Figures, done: Sequence[Figures]) -> Figures:
    of_floor = [one for one in (*done, figures) if one.row == "floor" and one.repeats == figures.repeats]
    return replace(figures, floors=figures.cpu_per_100k / of_floor[0].cpu_per_100k) if of_floor else figures


def _figures(
    contestant: Contestant,
    options: argparse.Namespace,
    *further: str,
    repeats: bool = True,
    added: float = 0.0,
    records: int | None = None,
) -> Figures:
    """Run one contestant as often as wanted, on a stream and on an empty one.

    Raises:
        NotPossible: it cannot do what is asked of it.
        ContestantFailed: it ended badly, or did not read or write what it should.
    """
    common = [
        "--items=0",
        f"--shards={_SHARDS}",
        f"--latency-ms={added}",
        *(["--repeats"] if repeats else []),
    ]
    records = records or contestant.records
    full_runs, empty_runs = [], []
    with endpoint(*common, f"--records={records}") as full, endpoint(*common) as empty:
        for _ in range(options.repeat):
            full_runs.append(run_once(contestant, full, options.loop, *further))
            empty_runs.append(run_once(contestant, empty, options.loop, *further))
    median = statistics.median
    start_up = median(run.cpu_seconds for run in empty_runs)
    cpu = median(run.cpu_seconds for run in full_runs) - start_up
    wall = median(run.wall_seconds for run in full_runs) - median(run.wall_seconds for run in empty_runs)
    return Figures(
        row=contestant.name,
        label=contestant.label,
        repeats=repeats,
        added_ms=added,
        records=records,
        cpu_per_100k=cpu * PER / records,
        records_per_second=records / max(wall, 1e-9),
        peak_megabytes=median(run.peak_bytes for run in full_runs) / 1e6,
        requests_per_100k=median(run.requests for run in full_runs) * PER / records,
        start_up_cpu=start_up,
    )


def run_once(contestant: Contestant, served_by: Endpoint, loop: str, *further: str) -> Measurement:
    """Run one contestant once.

    Raises:
        NotPossible: it cannot do what is asked of it.
        ContestantFailed: it ended badly, or did not read or write what it should.
    """
    run = measure(contestant.command(served_by.url, loop, *further), served_by)
    mistake = contestant.mistake(run, served_by.counts)
    if mistake is not None:
        raise ContestantFailed(mistake)
    return run


def _delayed(options: argparse.Namespace, attempts: Attempts, compared: Sequence[Figures]) -> list[Figures]:
    """Measure how far each keeps its pace when every answer comes 10 ms later."""
    at_once = {one.row: one for one in compared if one.repeats}
    done = []
    for contestant in CONTESTANTS:
        if contestant.delayed is None or contestant.name not in at_once:
            continue
        measuring = partial(_figures, contestant, options, added=_ADDED_MS[1], records=contestant.delayed)
        figures = attempts.attempt(f"replicate: {contestant.name}, {_ADDED_MS[1]:g} ms later", measuring)
        if figures is not None:
            done.append(figures)
    head = ["records/s with every answer delayed", *(f"by {added:g} ms" for added in _ADDED_MS), "change"]
    rates = [(one.label, at_once[one.row].records_per_second, one.records_per_second) for one in done]
    rows = [[label, f"{one:,.0f}", f"{other:,.0f}", f"{other / one - 1:+.0%}"] for label, one, other in rates]
    print_table([head, *rows])
    return done


def _workers(options: argparse.Namespace, attempts: Attempts) -> list[dict[str, Any]]:
    """Measure one worker and two of one task, which share the shards."""
    [contestant] = [replace(one, writes="at least") for one in CONTESTANTS if one.name == "one-way"]
    common = ("--items=0", f"--shards={_SHARDS}", "--repeats")
    measured: list[dict[str, Any]] = []
    with endpoint(*common, f"--records={_WORKERS_RECORDS}") as full, endpoint(*common) as empty:
        for workers in _WORKERS:
            further = ("--workers", str(workers))

            def run(further: tuple[str, ...] = further) -> tuple[Measurement, float, Measurement]:
                idle = run_once(contestant, empty, options.loop, *further)
                with busiest() as seen:
                    done = run_once(contestant, full, options.loop, *further)
                return done, max(seen.values()), idle

            outcome = attempts.attempt(f"replicate: {contestant.name}, {workers} workers", run)
            if outcome is None:
                return measured
            done, of_busiest, idle = outcome
            measured.append(
                {
                    "workers": workers,
                    "records": _WORKERS_RECORDS,
                    "cpu_seconds": done.cpu_seconds,
                    "busiest": of_busiest,
                    "records_per_second": _WORKERS_RECORDS / (done.wall_seconds - idle.wall_seconds),
                }
            )
    one = measured[0]
    head = ["workers", "CPU-s", "of the busiest process", "less by", "records/s", "faster by"]
    rows = [
        [
            str(each["workers"]),
            f"{each['cpu_seconds']:.1f}",
            f"{each['busiest']:.1f}",
            f"{one['busiest'] / each['busiest']:.2f}",
            f"{each['records_per_second']:,.0f}",
            f"{each['records_per_second'] / one['records_per_second']:.2f}",
        ]
        for each in measured
    ]
    print_table([head, *rows])
    return measured
