"""Progress on stderr: rich bars on a terminal, a plain line every few seconds otherwise."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from asyncrep.cli.render import plural, say, spelled_size
from asyncrep.flow.clock import SystemClock
from asyncrep.progress import Advanced, BackupStarted, Event, Note, PassEnded, PassStarted, RunStarted
from asyncrep.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from asyncrep.backup.report import BackupReport, RestoreReport
    from asyncrep.flow.clock import Clock
    from asyncrep.progress import Observer, PassName

    AnyReport = Report | BackupReport | RestoreReport

_ROOM_FOR_ETA = 100  # columns; with fewer, the counts of a large table need them

PLAIN_SECONDS = 5.0
"""How often progress is told where there is no terminal."""


@contextmanager
def progress(console: Console, *, quiet: bool) -> Iterator[Observer]:
    """Yield the observer that shows progress on ``console`` in the way that fits it."""
    if quiet:
        yield _Nothing()
    elif console.is_terminal:
        with _bars(console) as bars:
            yield Bars(bars, console)
    else:
        yield Lines(console, SystemClock())


class _Nothing:
    """Shows nothing."""

    def notice(self, event: Event) -> None:
        """Do nothing."""


class Bars:
    """One bar for each pass, with items, speed, units, and discrepancies or bytes."""

    def __init__(self, bars: Progress, console: Console) -> None:
        self._bars = bars
        self._console = console
        self._tasks: dict[PassName, TaskID] = {}
        self._report: AnyReport | None = None

    def notice(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStarted(report) | BackupStarted(report):
                self._report = report
            case PassStarted(name, estimate):
                self._tasks[name] = self._bars.add_task(
                    name, total=estimate, report=self._report, pace=_Pace(self._report)
                )
            case Advanced(name, items):
                self._bars.advance(self._tasks[name], items)
            case PassEnded(name):
                self._end(name)
            case Note(message):
                say(self._console, f"Note: {message}", "dim")
            case _:
                pass

    def _end(self, name: PassName) -> None:
        """Stop a bar; what is written from now on is no doing of a check that has ended."""
        task = self._tasks[name]
        self._bars.stop_task(task)
        if name == "check":
            self._bars.update(task, report=None, pace=_Pace(None))
        self._bars.update(task, total=self._bars.tasks[task].completed, refresh=True)


class _Count:
    """How far one pass is."""

    def __init__(self, estimate: int | None) -> None:
        self.estimate = estimate
        self.items = 0

    def told(self, name: PassName, *, ended: bool) -> str:
        """Return ``primary: 1,200 of about 4,000 items``."""
        total = f" of about {self.estimate:,}" if self.estimate and not ended else ""
        return f"{name}: {self.items:,}{total} items"


class Lines:
    """A line every few seconds, and one when all passes that are under way together have ended."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._report: AnyReport | None = None
        self._counts: dict[PassName, _Count] = {}
        self._open: set[PassName] = set()
        self._began = self._told = clock.monotonic()
        self._pace = _Pace(self._report)

    def notice(self, event: Event) -> None:
        """Tell one event, or count it for the next line."""
        match event:
            case RunStarted(report) | BackupStarted(report):
                self._report = report
            case PassStarted(name, estimate):
                self._begin(name, estimate)
            case Advanced(name, items):
                self._counts[name].items += items
                if self._clock.monotonic() - self._told >= PLAIN_SECONDS:
                    self._tell()
            case PassEnded(name):
                self._open.discard(name)
                if not self._open:
                    self._tell()
            case Note(message):
                self._say(f"Note: {message}")
            case _:
                pass

    def _begin(self, name: PassName, estimate: int | None) -> None:
        if not self._open:
            self._counts.clear()
            self._began = self._told = self._clock.monotonic()
            self._pace = _Pace(self._report)
        self._counts[name] = _Count(estimate)
        self._open.add(name)

    def _tell(self) -> None:
        self._told = self._clock.monotonic()
        seconds = self._told - self._began
        speed = sum(count.items for count in self._counts.values()) / seconds if seconds else 0.0
        ended = not self._open
        parts = [count.told(name, ended=ended) for name, count in self._counts.items()]
        parts += [f"{speed:,.0f} items/s", *self._pace.told()]
        if self._report is not None and self._report.slowed_to is not None and not ended:
            parts.append(_slowed(self._report.slowed_to))
        parts += _so_far(self._report)
        parts += ["done"] if ended else self._time_left(speed)
        self._say(", ".join(parts))

    def _time_left(self, speed: float) -> list[str]:
        estimates = [count.estimate for count in self._counts.values()]
        if not speed or not all(estimates):
            return []
        left = sum(max((count.estimate or 0) - count.items, 0) for count in self._counts.values())
        return [f"about {left / speed:,.0f} s left"]

    def _say(self, message: str) -> None:
        say(self._console, message)


def _slowed(units_per_second: float) -> str:
    return f"slowed to {units_per_second:,.0f} units/s"


def _so_far(report: AnyReport | None) -> list[str]:
    """Return what a run has come to: discrepancies of a check, else bytes, and what failed."""
    if report is None:
        return []
    if isinstance(report, Report):
        written = report.strategy == "backfill"
        return [f"{report.repaired:,} written" if written else plural(report.drift, "discrepancy")]
    size = [spelled_size(report.bytes)] if report.bytes else []
    return [*size, *([f"{report.failed:,} failed"] if report.failed else [])]


class _Pace:
    """The capacity units per second of one pass, all tables together."""

    def __init__(self, report: AnyReport | None) -> None:
        self._report = report
        self._before = (
            (0.0, 0.0) if report is None else (report.read_units + report.write_units, report.seconds)
        )

    def told(self) -> list[str]:
        """Return the pass's average so far; nothing where no table is read or written."""
        if self._report is None:
            return []
        units, seconds = self._before
        passed = self._report.seconds - seconds
        used = self._report.read_units + self._report.write_units - units
        if not used and not isinstance(self._report, Report):
            return []  # what is read is in S3, or a file
        return [f"{used / passed if passed > 0 else 0.0:,.0f} units/s"]


class _Items(ProgressColumn):
    """``3,200/~4,000``: the estimate is hours old, and says so."""

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{'' if task.finished else '~'}{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total}", style="progress.download", no_wrap=True)


class _Speed(ProgressColumn):
    """Items and units per second; instead of them what throttling leaves, as long as it does."""

    def render(self, task: Task) -> Text:
        report: AnyReport | None = task.fields["report"]
        if report is not None and report.slowed_to is not None and not task.finished:
            return Text(_slowed(report.slowed_to), style="yellow", no_wrap=True)
        speed = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(
            " ".join([f"{speed:,.0f}/s", *task.fields["pace"].told()]),
            style="progress.data.speed",
            no_wrap=True,
        )


class _Found(ProgressColumn):
    """Discrepancies so far; of a backfill what was written, of a backup bytes and what failed."""

    def render(self, task: Task) -> Text:
        report: AnyReport | None = task.fields["report"]
        if isinstance(report, Report) and report.strategy != "backfill":
            return Text(f"{report.drift:,} found", style="yellow" if report.drift else "dim")
        failed = report is not None and report.failed > 0
        return Text(", ".join(_so_far(report)), style="yellow" if failed else "dim", no_wrap=True)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description:8}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        _Items(),
        _Speed(),
        *([TimeRemainingColumn(compact=True)] if console.width >= _ROOM_FOR_ETA else []),
        _Found(),
        console=console,
        expand=True,
        transient=False,
    )
