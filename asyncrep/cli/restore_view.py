"""What people read of a restore: its counts, the items that are not in the table, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw
from rich.table import Table
from rich.text import Text

from asyncrep.cli.output import harmless
from asyncrep.cli.render import SHOWN, plural, printable, result_console, say, spelled_size
from asyncrep.cost.plan import usd

if TYPE_CHECKING:
    from asyncrep.backup.report import Refused, RestoreReport

_encode = msgspec.json.Encoder().encode
_WORTH_TELLING = 0.0001  # dollars


def show_restore(report: RestoreReport, *, ended: bool, goes_on: bool, stdout_is_taken: bool) -> None:
    """Print the summary of a restore.

    Args:
        report: its counts.
        ended: it came to its end by itself.
        goes_on: a job is kept with which the same command goes on.
        stdout_is_taken: by results for programs, so that this goes to stderr.
    """
    console = result_console(stdout_is_taken=stdout_is_taken)
    console.print()
    at = f" as it was at {report.at}" if report.at is not None else ""
    say(
        console,
        Text.assemble((printable(report.source), "bold"), at, " → ", (printable(report.table), "bold")),
    )
    console.print(_counts(report))
    shown = sorted(report.refused, key=lambda each: (each.file, each.line))[:SHOWN]
    for refused in shown:
        say(console, _line(refused))
    if (more := report.failed - len(shown)) > 0:
        say(console, f"  … and {more:,} more; --output FILE has all of them", "dim")
    say(console, _effort(report), "dim")
    say(console, _conclusion(report, ended=ended, goes_on=goes_on))


def _counts(report: RestoreReport) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(justify="right", style="bold")
    table.add_column()
    for number, meaning, always in (
        (report.items, f"read from the backup, {spelled_size(report.bytes)}", True),
        (report.written, "written" + (" to a new table" if report.created else ""), True),
        (report.deleted, "deleted, as the backup has it", False),
        (report.present, "there already: left alone", report.mode == "only-missing"),
        (report.failed, "could not be written", False),
    ):
        if number or always:
            table.add_row(f"{number:,}", meaning)
    return table


def _line(refused: Refused) -> Text:
    where = f"{refused.file}, line {refused.line}" if refused.line else refused.file
    line = Text.assemble("  ", (printable(where), "bold"))
    if refused.key is not None:
        line.append(f"  {printable(refused.key.decode(errors='replace'))}")
    line.append(f"  {printable(refused.reason)}", style="dim")
    return line


def _effort(report: RestoreReport) -> str:
    speed = f"{report.items / report.seconds if report.seconds else 0:,.0f} items/s"
    parts = [plural(round(report.write_units), "write unit"), f"{report.seconds:,.1f} s, {speed}"]
    if report.cost_usd >= _WORTH_TELLING:
        parts.append(usd(report.cost_usd))
    if report.throttled:
        parts.append(f"throttled {plural(report.throttled, 'time')}")
    return "  " + " · ".join(parts)


def _conclusion(report: RestoreReport, *, ended: bool, goes_on: bool) -> Text:
    if report.complete and not report.items:
        return Text("The backup holds no items: nothing was written.", style="bold yellow")
    if report.complete:
        what = "What was missing" if report.mode == "only-missing" else "Everything"
        return Text(f"{what} was restored.", style="bold green")
    if ended:
        left = "1 item" if report.failed == 1 else f"{report.failed:,} items"
        return Text(f"All was restored but {left} that could not be written.", style="bold red")
    if not report.items:
        return Text("The restore is incomplete: nothing was written.", style="bold red")
    more = "" if goes_on else " Run it again with --overwrite, or with --only-missing, to restore the rest."
    return Text(f"The restore is incomplete.{more}", style="bold red")


def refused_line(refused: Refused) -> bytes:
    """Return an item that could not be written as one line of JSON."""
    key = None if refused.key is None else Raw(refused.key)
    told = {"file": refused.file, "line": refused.line, "key": key, "reason": refused.reason}
    return harmless(_encode(told)) + b"\n"
