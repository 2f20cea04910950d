"""How an undo looks: its progress, and the summary that people read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from asyncrep.cli.bars import PLAIN_SECONDS
from asyncrep.cli.journals import where_noted
from asyncrep.cli.render import message_console, plural, printable, result_console, say
from asyncrep.flow.clock import SystemClock
from asyncrep.progress import Advanced, Event, Note, PassEnded, PassStarted
from asyncrep.repair.take_back import UndoState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from asyncrep.flow.clock import Clock
    from asyncrep.options import S3Access
    from asyncrep.progress import Observer
    from asyncrep.repair.undo import Undone
    from asyncrep.report import UndoReport

SHOWN = 10
"""How many records a summary shows."""

_NOT_WORTH_SHOWING = frozenset({UndoState.TAKEN_BACK, UndoState.ALREADY})


def is_worth_showing(record: Undone) -> bool:
    """Tell whether people want to read of a record: not of what went as it should."""
    return record.state not in _NOT_WORTH_SHOWING


# ── Progress ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def undo_progress(*, quiet: bool) -> Iterator[Observer]:
    """Yield the observer that shows progress on stderr: a bar on a terminal, else a line now and then."""
    console = message_console()
    if quiet:
        yield _Nothing()
    elif console.is_terminal:
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=console, expand=True) as bar:
            yield _Bar(bar, console)
    else:
        yield _Lines(console, SystemClock())


class _Nothing:
    """Shows nothing."""

    def notice(self, event: Event) -> None:
        """Do nothing."""


class _Bar:
    """One bar of records."""

    def __init__(self, bar: Progress, console: Console) -> None:
        self._bar = bar
        self._console = console

    def notice(self, event: Event) -> None:
        """Show one event."""
        match event:
            case PassStarted(name, records):
                self._bar.add_task(name, total=records)
            case Advanced(_, records):
                for task in self._bar.task_ids:
                    self._bar.advance(task, records)
            case Note(message):
                say(self._console, f"Note: {message}", "dim")
            case _:
                pass


class _Lines:
    """A line every few seconds, and one at the end."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._total = self._done = 0
        self._told = clock.monotonic()

    def notice(self, event: Event) -> None:
        """Tell one event, or count it for the next line."""
        match event:
            case PassStarted(_, records):
                self._total = records or 0
            case Advanced(_, records):
                self._done += records
                if self._clock.monotonic() - self._told >= PLAIN_SECONDS:
                    self._tell()
            case PassEnded():
                self._tell(", done")
            case Note(message):
                say(self._console, f"Note: {message}")
            case _:
                pass

    def _tell(self, rest: str = "") -> None:
        self._told = self._clock.monotonic()
        say(self._console, f"undo: {self._done:,} of {plural(self._total, 'record')}{rest}")


# ── Summary ─────────────────────────────────────────────────────────────────────────────────────────


def show_undo(
    report: UndoReport, shown: Sequence[Undone], *, stdout_is_taken: bool, access: S3Access | None = None
) -> None:
    """Print the summary of an undo: the counts, what was left, what it took, and what follows.

    ``access`` is how S3 was reached.
    """
    console = result_console(stdout_is_taken=stdout_is_taken)
    console.print()
    say(console, Text.assemble(printable(report.undoes), " → ", (printable(report.replica), "bold")))
    console.print(_counts(report))
    for record in shown:
        say(console, _line(record))
    more = report.records - report.taken_back - report.already - len(shown)
    if more > 0:
        say(console, f"  … and {more:,} more; --output FILE has all of them", "dim")
    say(console, _effort(report), "dim")
    say(console, _conclusion(report))
    if report.journal is not None:
        say(console, where_noted(report.journal, "This undo", access=access), "dim")


def _counts(report: UndoReport) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(justify="right", style="bold")
    table.add_column()
    for number, meaning in (
        (report.taken_back, "taken back"),
        (report.pending, "would be taken back"),
        (report.already, "as before already"),
        (report.changed, "changed since: left alone"),
        (report.unknown, "left alone: whether a write landed is not known"),
        (report.failed, "failed to be taken back"),
        (report.damaged, "lines of the journal that cannot be read"),
    ):
        if number or meaning == "taken back":
            table.add_row(f"{number:,}", meaning)
    return table


def _line(record: Undone) -> Text:
    line = Text.assemble("  ", printable(record.key.decode(errors="replace")))
    line.append(f"  {record.state.replace('_', ' ')}", style="bold")
    line.append(f"  {', '.join(record.deeds)}", style="dim")
    if record.reason:
        line.append(f"  {printable(record.reason)}", style="dim")
    return line


def _effort(report: UndoReport) -> str:
    read, written = f"{report.read_units:,.1f} read units", f"{report.write_units:,.1f} write units"
    return f"  {read}, {written} · {report.seconds:,.1f} s"


def _conclusion(report: UndoReport) -> Text:
    if not report.complete:
        return Text("The undo is incomplete: run it again to go on.", style="bold red")
    if report.remaining:
        records = report.remaining - report.damaged
        parts = [plural(records, "record")] if records else []
        parts += [plural(report.damaged, "line") + " of the journal"] if report.damaged else []
        left = f"Not everything is as before: {' and '.join(parts)} could not be taken back."
        return Text(left, style="bold yellow")
    if report.dry_run:
        return Text("Nothing was written, this was a dry run.", style="bold")
    if not report.records:
        return Text("The journal holds nothing to be taken back.", style="bold")
    return Text("Everything is as it was before.", style="bold green")
