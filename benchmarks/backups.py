"""What backups cost: dumps, restores, folders with an object for each item, and their snapshots.

asyncrep's commands, everything on, beside the loops that people write with boto3 and beside dynamodump. Tables
are the canned ones, S3 is a canned one as well; what is dumped is read again, and what is written is counted.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import urllib.request
import zlib
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree

from benchmarks.figures import PER, keep, print_conditions, print_table
from benchmarks.measure import ContestantFailed, endpoint, measure
from benchmarks.rows import Row, Runtime
from benchmarks.tables import Layout, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from benchmarks.measure import Endpoint, Measurement
    from benchmarks.ring import Attempts

_ITEM_BYTES = 400
_FOLDER = "incremental/primary"
_PLACES = {"dump": "dumps", "restore": "dumps", "fill": "filled", "snapshot": _FOLDER}
_ADDED_MS = 10.0
_DELAYED = ("fill", "snapshot")
_SHOW_MEMORY = ("dump", "restore")
_MEMORY_SIZES = (10_000, 100_000, 1_000_000)
_SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do one job, and how many items it is given, so that a run takes seconds."""

    row: Row
    items: int

    @property
    def job(self) -> str:
        """What it does."""
        return self.row.job

    @property
    def is_dynamodump(self) -> bool:
        """It keeps dumps in local files, and has no others."""
        return self.row.runtime is Runtime.DYNAMODUMP


def _asyncrep(job: str, label: str, items: int) -> Contestant:
    return Contestant(
        Row(f"asyncrep-{job}", job, f"**asyncrep {label}**", "asyncrep_backups", ("--job", job)), items
    )


def _boto3(job: str, label: str, items: int) -> Contestant:
    return Contestant(Row(f"boto3-{job}", job, label, "boto3_backups", ("--job", job)), items)


def _dynamodump(job: str, module: str, items: int) -> Contestant:
    row = Row(f"dynamodump-{job}", job, f"dynamodump {job}", module, runtime=Runtime.DYNAMODUMP)
    return Contestant(row, items)


CONTESTANTS = (
    _asyncrep("dump", "backup-table", 500_000),
    _boto3("dump", "boto3 loop: scan, json, gzip, upload", 20_000),
    _dynamodump("dump", "dynamodump_backup", 20_000),
    _asyncrep("restore", "restore", 200_000),
    _boto3("restore", "boto3 loop: download, gzip, json, batches", 20_000),
    _dynamodump("restore", "dynamodump_restore", 20_000),
    _asyncrep("fill", "incremental-backfill", 100_000),
    _boto3("fill", "boto3 loop: 32 threads of put_object", 10_000),
    _asyncrep("snapshot", "incremental-snapshot", 100_000),
    _boto3("snapshot", "boto3 loop: 32 threads of get_object", 10_000),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contestant took: medians of its runs, start-up taken off all but memory."""

    row: str
    job: str
    label: str
    added_ms: float
    items: int
    cpu_per_100k: float
    items_per_second: float
    megabytes_per_second: float
    peak_megabytes: float
    s3_requests_per_100k: float
    start_up_cpu: float


def backups(options: argparse.Namespace, attempts: Attempts) -> None:
    """Measure all of it."""
    conditions = {"item_bytes": _ITEM_BYTES, "loop": options.loop, "repeat": options.repeat}
    print_conditions(conditions)
    compared = [one for each in CONTESTANTS if (one := _attempted(each, options, attempts, 0.0)) is not None]
    _print(compared)
    later = [each for each in CONTESTANTS if each.job in _DELAYED]
    delayed = [one for each in later if (one := _attempted(each, options, attempts, _ADDED_MS)) is not None]
    _print_delayed(compared, delayed)
    peaks = _memory(options, attempts)
    attempts.tell()
    keep("backup", conditions, [*(asdict(one) for one in (*compared, *delayed)), *peaks])


def _attempted(
    contestant: Contestant, options: argparse.Namespace, attempts: Attempts, added: float
) -> Figures | None:
    what = f"{contestant.row.name}, {contestant.items:,} items" + (f", {added:g} ms later" if added else "")
    return attempts.attempt(what, partial(_figures, contestant, options, added))


class _Stage:
    """Where one contestant plays: a table and a bucket, with so many items or without any."""

    def __init__(self, contestant: Contestant, items: int, added: float, loop: str, stack: ExitStack) -> None:
        objects = items if contestant.job == "snapshot" else 0
        late = f"--latency-ms={added}"
        self._contestant = contestant
        self._loop = loop
        self._items = items
        self._runs = 0
        self._dump = stack.enter_context(tempfile.TemporaryDirectory())
        self._table = stack.enter_context(endpoint(f"--items={items}", f"--item-bytes={_ITEM_BYTES}", late))
        stored = (f"--objects={objects}", f"--item-bytes={_ITEM_BYTES}", late)
        self._s3 = stack.enter_context(endpoint(*stored, module="benchmarks.canned_s3"))
        if contestant.job == "restore":
            self._prepare()

    def _prepare(self) -> None:
        """Make the dump that is restored, as the contestant itself or as asyncrep makes it."""
        if self._contestant.is_dynamodump:
            self._make(CONTESTANTS[2], "--keep", self._dump)
        else:
            self._make(CONTESTANTS[0], *self._where("source"))

    def _make(self, maker: Contestant, *further: str) -> None:
        measure(maker.row.command(self._table.url, self._loop, *further), self._table)

    def _where(self, name: str) -> Sequence[str]:
        return ("--s3", self._s3.url, "--place", _PLACES[self._contestant.job], "--name", name)

    def run(self) -> tuple[Measurement, int]:
        """Run the contestant once; return what it took, and how many requests came to S3.

        Raises:
            NotPossible: it cannot do what is asked of it.
            ContestantFailed: it ended badly, or did not do what it should.
        """
        self._runs += 1
        contestant, name = self._contestant, f"run-{self._runs}"
        if contestant.is_dynamodump:
            further: Sequence[str] = ("--dump", self._dump) if contestant.job == "restore" else ()
        else:
            further = self._where("source" if contestant.job == "restore" else name)
        before = _requests(self._s3)
        run = measure(contestant.row.command(self._table.url, self._loop, *further), self._table)
        requests = _requests(self._s3) - before
        done = self._done(run, name)
        if done != self._items:
            message = f"{contestant.row.name}: {done} items instead of {self._items}"
            raise ContestantFailed(message)
        return run, requests

    def _done(self, run: Measurement, name: str) -> int:
        """How many items there are where they should be now."""
        job = self._contestant.job
        if job == "restore":
            return run.items_written
        if self._contestant.is_dynamodump:
            return int(run.answer["items"])
        prefix = {"snapshot": f"snapshots/{name}.gz"}.get(job, f"{_PLACES[job]}/{name}/")
        names = [each for each in _names(self._s3, prefix) if not each.endswith(".json")]
        return len(names) if job == "fill" else sum(_lines(self._s3, each) for each in names)


def _requests(s3: Endpoint) -> int:
    with urllib.request.urlopen(f"{s3.url}/statistics", timeout=30) as answer:
        return sum(each["requests"] for each in json.load(answer).values())


def _names(s3: Endpoint, prefix: str) -> Iterator[str]:
    token = ""
    while True:
        query = f"list-type=2&prefix={quote(prefix)}" + (
            f"&continuation-token={quote(token)}" if token else ""
        )
        with urllib.request.urlopen(f"{s3.url}/bucket?{query}", timeout=30) as answer:
            page = ElementTree.parse(answer).getroot()
        yield from (key.text or "" for key in page.iterfind("{*}Contents/{*}Key"))
        token = page.findtext("{*}NextContinuationToken", "")
        if not token:
            return


def _lines(s3: Endpoint, name: str) -> int:
    """Lines of a gzipped object; unpacked piece by piece, as this process must stay small."""
    count = 0
    with urllib.request.urlopen(f"{s3.url}/bucket/{quote(name)}", timeout=30) as answer:
        unpacked = zlib.decompressobj(wbits=31)
        while piece := answer.read(100_000):
            count += unpacked.decompress(piece).count(b"\n")
            while unpacked.eof and unpacked.unused_data:
                rest, unpacked = unpacked.unused_data, zlib.decompressobj(wbits=31)
                count += unpacked.decompress(rest).count(b"\n")
        return count + unpacked.flush().count(b"\n")


def _figures(contestant: Contestant, options: argparse.Namespace, added: float) -> Figures:
    """Run one contestant as often as wanted, with items and without any.

    Raises:
        NotPossible: it cannot do what is asked of it.
        ContestantFailed: it ended badly, or did not do what it should.
    """
    full_runs, empty_runs, requests = [], [], []
    with ExitStack() as stack:
        full = _Stage(contestant, contestant.items, added, options.loop, stack)
        # There is no snapshot of a folder without objects.
        empty = _Stage(contestant, int(contestant.job == "snapshot"), added, options.loop, stack)
        for _ in range(options.repeat):
            run, asked = full.run()
            full_runs.append(run)
            requests.append(asked)
            empty_runs.append(empty.run()[0])
    median, items = statistics.median, contestant.items
    start_up = median(run.cpu_seconds for run in empty_runs)
    cpu = median(run.cpu_seconds for run in full_runs) - start_up
    wall = median(run.wall_seconds for run in full_runs) - median(run.wall_seconds for run in empty_runs)
    pace = items / max(wall, 1e-9)
    return Figures(
        row=contestant.row.name,
        job=contestant.job,
        label=contestant.row.label,
        added_ms=added,
        items=items,
        cpu_per_100k=cpu * PER / items,
        items_per_second=pace,
        megabytes_per_second=pace * _line_bytes() / 1e6,
        peak_megabytes=median(run.peak_bytes for run in full_runs) / 1e6,
        s3_requests_per_100k=median(requests) * PER / items,
        start_up_cpu=start_up,
    )


def _line_bytes() -> float:
    """Bytes of an item as a line of JSON, on average."""
    table = Table("primary", Layout(_SAMPLE, item_bytes=_ITEM_BYTES))
    return statistics.mean(len(table.item(slot)) + 1 for slot in range(_SAMPLE))


def _print(compared: Sequence[Figures]) -> None:
    head = ["", "job", "items", f"CPU-s per {PER:,}", "items/s", "MB/s of JSON lines", "peak MB"]
    head += [f"requests to S3 per {PER:,}", "start-up CPU-s"]
    rows = [
        [
            one.label,
            one.job,
            f"{one.items:,}",
            f"{one.cpu_per_100k:.2f}",
            f"{one.items_per_second:,.0f}",
            f"{one.megabytes_per_second:,.1f}",
            f"{one.peak_megabytes:.0f}",
            f"{one.s3_requests_per_100k:,.0f}",
            f"{one.start_up_cpu:.2f}",
        ]
        for one in compared
    ]
    print_table([head, *rows], names=2)


def _print_delayed(compared: Sequence[Figures], delayed: Sequence[Figures]) -> None:
    at_once = {one.row: one.items_per_second for one in compared}
    head = ["items/s with every answer delayed", "by 0 ms", f"by {_ADDED_MS:g} ms", "change"]
    rows = [
        [
            one.label,
            f"{at_once[one.row]:,.0f}",
            f"{one.items_per_second:,.0f}",
            f"{one.items_per_second / at_once[one.row] - 1:+.0%}",
        ]
        for one in delayed
        if one.row in at_once
    ]
    print_table([head, *rows])


def _memory(options: argparse.Namespace, attempts: Attempts) -> list[dict[str, Any]]:
    """Measure the peak memory of dumps and restores for every size of table."""
    peaks: list[dict[str, Any]] = []
    wanted = [
        each for each in CONTESTANTS if each.row.module == "asyncrep_backups" and each.job in _SHOW_MEMORY
    ]
    for contestant in wanted:
        for size in _MEMORY_SIZES:
            what = f"{contestant.row.name}, {size:,} items, memory"
            run = attempts.attempt(what, partial(_run_once, contestant, size, options))
            if run is not None:
                peaks.append(
                    {"row": contestant.row.name, "items": size, "peak_megabytes": run.peak_bytes / 1e6}
                )
    table = [["peak memory, MB", *(f"{size:,} items" for size in _MEMORY_SIZES)]]
    for contestant in wanted:
        by_size = {one["items"]: one["peak_megabytes"] for one in peaks if one["row"] == contestant.row.name}
        shown = [f"{by_size[size]:.0f}" if size in by_size else "-" for size in _MEMORY_SIZES]
        table.append([contestant.row.label, *shown])
    print_table(table)
    return peaks


def _run_once(contestant: Contestant, items: int, options: argparse.Namespace) -> Measurement:
    with ExitStack() as stack:
        return _Stage(contestant, items, 0.0, options.loop, stack).run()[0]
