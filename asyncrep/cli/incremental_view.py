"""What people read of incremental folders: what a backfill has done, and one record beside its object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from asyncrep.cli.render import discrepancy_line, effort, plural, printable, say, show_attributes
from asyncrep.model import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from asyncrep.model import Discrepancy
    from asyncrep.repair.record import RecordDiff
    from asyncrep.report import Report


def show_backfill(console: Console, report: Report, unwritten: Sequence[Discrepancy]) -> None:
    """Print what a backfill of a folder has done, what it took, and what follows.

    Args:
        console: where to.
        report: the counts.
        unwritten: the first of the records that were not brought up to date.
    """
    console.print()
    say(
        console,
        Text.assemble((printable(report.primary), "bold"), " → ", (printable(report.replica), "bold")),
    )
    console.print(_counts(report))
    for found in unwritten:
        cut = console.is_terminal
        line = discrepancy_line(found, ())
        console.print(line, overflow="ellipsis" if cut else "ignore", no_wrap=True, crop=cut)
        if found.reason:
            say(console, f"      {found.reason}", "dim")
    say(console, effort(report), "dim")
    say(console, _conclusion(report))


def _counts(report: Report) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(justify="right", style="bold")
    table.add_column()
    put = report.missing - report.failed
    rows = [
        (
            report.scanned_primary,
            "item in the table" if report.scanned_primary == 1 else "items in the table",
            True,
        ),
        (put, "object put" if put == 1 else "objects put", True),
        (report.matched + report.settled, "there already, and equal", False),
        (report.different, "there already, and brought up to date", False),
        (report.deleted, "deleted again: the table's item was deleted meanwhile", False),
        (report.in_flight, "in flight: the table's item kept changing", False),
        (report.expired, "expired: not copied", False),
        (report.contested, "contested: somebody else kept changing them", False),
        (report.failed, "failed", False),
    ]
    for number, meaning, always in rows:
        if number or always:
            table.add_row(f"{number:,}", meaning)
    return table


def _conclusion(report: Report) -> Text:
    if not report.complete:
        return Text("The run is incomplete: it ended before every item had its object.", style="bold red")
    if report.failed:
        return Text(f"{plural(report.failed, 'item')} could not be backed up.", style="bold red")
    if report.remaining:
        verb = "is" if report.remaining == 1 else "are"
        return Text(
            f"{plural(report.remaining, 'object')} {verb} not up to date: somebody else kept changing them.",
            style="bold yellow",
        )
    what = "Every item" if report.segment is None else f"Every item of segment {report.segment}"
    return Text(
        f"{what} has its object; diff-backup tells whether the whole folder is right.", style="bold green"
    )


def show_backup_record(console: Console, record: RecordDiff) -> None:
    """Print a record's attributes in the table and in the backup side by side, and whether the two agree."""
    if record.exists:
        show_attributes(console, record, ("table", "backup"))
    say(console, _record_conclusion(record))


def _record_conclusion(record: RecordDiff) -> Text:
    found = record.discrepancy
    if found is None:
        words = "The backup has the record as the table has it."
        return Text(words if record.exists else "Neither the table nor the backup has this record.", "green")
    if found.state is not State.FOUND:
        reason = f": {found.reason}" if found.reason else "."
        return Text(printable(f"The record is {found.state.replace('_', ' ')}{reason}"), style="bold")
    words = {
        "missing": "The backup does not have this record.",
        "extraneous": "The table does not have this record any more.",
        "different": "The record differs.",
    }[found.kind]
    return Text(f"{words} incremental-backup-record brings the backup up to date.", style="bold yellow")


def done_to_record(found: Discrepancy | None, *, exists: bool) -> str:
    """Say what became of the object of one record; ``exists`` says whether the table has the record."""
    if found is None:
        if exists:
            return "The backup has the record as the table has it; nothing was written."
        return "Neither the table nor the backup has this record; nothing was written."
    if found.state is State.REPAIRED:
        return {
            "missing": "The record was backed up: its object was put.",
            "different": "The record was backed up: its object was replaced.",
            "extraneous": "The table does not have this record any more: its object was deleted.",
        }[found.kind] + (f" {found.reason}" if found.reason else "")
    if found.state is State.FOUND:
        done = {"missing": "put", "different": "replaced", "extraneous": "deleted"}[found.kind]
        return f"Dry run: the record's object would be {done}."
    return (
        f"Nothing more was done: the record is {found.state.replace('_', ' ')}. {found.reason or ''}".strip()
    )
