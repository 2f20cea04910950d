"""What people read of a backup that was made: its counts, what it took, and whether it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from asyncrep.cli.render import plural, printable, result_console, say, spelled_size
from asyncrep.cost.plan import usd

if TYPE_CHECKING:
    from asyncrep.backup.report import BackupReport

_WORTH_TELLING = 0.0001  # dollars


def show_backup(report: BackupReport, *, stdout_is_taken: bool = False) -> None:
    """Print the summary of a backup."""
    console = result_console(stdout_is_taken=stdout_is_taken)
    console.print()
    say(
        console,
        Text.assemble((printable(report.source), "bold"), " → ", (printable(report.destination), "bold")),
    )
    console.print(_counts(report))
    say(console, _effort(report), "dim")
    say(console, _conclusion(report))


def _counts(report: BackupReport) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(justify="right", style="bold")
    table.add_column()
    rows = [
        (f"{report.items:,}", "items written", True),
        (f"{report.skipped:,}", "items written by a run before this one", report.skipped > 0),
        (f"{report.failed:,}", "objects that hold no item", report.failed > 0),
        (f"{report.objects:,}", "objects" if report.objects != 1 else "object", True),
        (spelled_size(report.stored_bytes), f"stored, of {spelled_size(report.bytes)}", True),
    ]
    for number, meaning, is_shown in rows:
        if is_shown:
            table.add_row(number, meaning)
    return table


def _effort(report: BackupReport) -> str:
    seconds = report.seconds
    speed = f"{report.items / seconds if seconds else 0:,.0f} items/s"
    units = report.read_units
    parts = [
        report.format,
        *([plural(report.segments, "segment")] if report.segments else []),
        *([f"{units:,.0f} read units" if units != 1 else "1 read unit"] if units else []),
        f"{seconds:,.1f} s, {speed}",
    ]
    if report.cost_usd >= _WORTH_TELLING:
        parts.append(usd(report.cost_usd))
    if report.throttled:
        parts.append(f"throttled {plural(report.throttled, 'time')}")
    return "  " + " · ".join(parts)


def _conclusion(report: BackupReport) -> Text:
    if not report.complete:
        return Text("The backup is incomplete: what is not whole was taken back.", style="bold red")
    if report.failed:
        return Text("The backup lacks what could not be read.", style="bold red")
    if report.segment is not None:
        return Text(f"Segment {report.segment} of {report.segments:,} is whole.", style="bold green")
    return Text("The backup is whole.", style="bold green")
