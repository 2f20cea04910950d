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
    is_lost = _is_snapshot(report) and not report.complete  # its one file is there as a whole, or not at all
    rows = [
        (f"{report.items:,}", f"{_of(report.items, 'item')} {'read' if is_lost else 'written'}", True),
        (
            f"{report.skipped:,}",
            f"{_of(report.skipped, 'item')} written by a run before this one",
            report.skipped > 0,
        ),
        (
            f"{report.failed:,}",
            "object that holds no item" if report.failed == 1 else "objects that hold no item",
            report.failed > 0,
        ),
        (f"{report.objects:,}", _of(report.objects, "object"), not is_lost),
        (spelled_size(report.stored_bytes), f"stored, of {spelled_size(report.bytes)}", not is_lost),
    ]
    for number, meaning, is_shown in rows:
        if is_shown:
            table.add_row(number, meaning)
    return table


def _is_snapshot(report: BackupReport) -> bool:
    return not report.segments


def _of(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


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
    if _is_snapshot(report) and report.failed:
        return Text("No snapshot was made: a file of it would lack items.", style="bold red")
    if not report.complete:
        return Text("The backup is incomplete: what is not whole was taken back.", style="bold red")
    if report.segment is not None:
        return Text(f"Segment {report.segment} of {report.segments:,} is whole.", style="bold green")
    return Text("The backup is whole.", style="bold green")
