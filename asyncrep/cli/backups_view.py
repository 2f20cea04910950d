"""What people read of backups: the list, what a check found, and what goes and stays."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from asyncrep.cli.render import plural, printable, say, spelled_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.console import Console

    from asyncrep.backup.listed import Listed
    from asyncrep.backup.prune import Pruned
    from asyncrep.backup.retention import Verdict
    from asyncrep.backup.verify import Outcome, Verified

_ARN = re.compile(r"arn:[^:]+:dynamodb:([^:]+):([0-9]*):table/(.+)")
_WIDE = 10_000
_BREAKABLE = frozenset({"state", "why"})
"""The titles of columns that may be broken into lines."""
_STYLES = {
    "verified": "green",
    "incomplete": "yellow",
    "half removed": "yellow",
    "damaged": "bold red",
    "no manifest": "dim",
}
_OUTCOMES: dict[Outcome, tuple[str, str]] = {
    "sound": ("sound", "green"),
    "damaged": ("damaged", "bold red"),
    "unproven": ("no manifest", "yellow"),
    "failed": ("not checked", "bold red"),
}


# ── The list ────────────────────────────────────────────────────────────────────────────────────────


def show_backups(console: Console, label: str, found: Sequence[Listed]) -> None:
    """Print all backups, those of one table together, the newest first."""
    if not found:
        say(console, f"There are no backups in {label}.")
        return
    for number, (source, some) in enumerate(_by_source(found)):
        if number:
            console.print()
        say(console, f"{source or 'Of what, nothing tells'}:", "bold")
        _print_rows(
            console,
            [("backup", False), ("begun (UTC)", False), ("items", True), ("stored", True), ("state", False)],
            [_row(each) for each in some],
        )
    for each in found:
        if each.problem and each.state != "unproven":
            say(
                console,
                f"{_name(each)}: {each.problem}",
                "yellow" if each.state == "incomplete" else "bold red",
            )
        elif each.status == "damaged" and each.verification is not None:
            say(console, f"{_name(each)}: {each.verification.problems[0]}", "bold red")


def _by_source(found: Sequence[Listed]) -> list[tuple[str, list[Listed]]]:
    """Return backups by what they are of, the newest first; those of which nothing tells come last."""
    ordered = sorted(found, key=lambda each: (each.begun is None, each.begun or each.changed), reverse=True)
    ordered = sorted(ordered, key=lambda each: (not each.source, _source(each), each.source))
    groups = [list(group) for _, group in groupby(ordered, key=lambda each: each.source)]
    return [(_source(some[0]), some) for some in groups]


def _source(backup: Listed) -> str:
    """Return what a backup is of, as people call it."""
    found = _ARN.fullmatch(backup.source)
    if found is None:
        return backup.source
    region, account, table = found.groups()
    return f"{region}/{table}" + (f" of {account}" if account else "")


def _row(backup: Listed) -> list[Text]:
    kind = _kind(backup)
    return [
        Text(_name(backup)),
        Text(_when(backup.begun), "" if backup.items is not None else "dim"),
        Text("" if backup.items is None else f"{backup.items:,}"),
        Text(_stored(backup)),
        Text(kind + backup.status, _STYLES.get(backup.status, "")),
    ]


def _stored(backup: Listed) -> str:
    """Return its size where a listing tells it: the data of an incremental export lie elsewhere."""
    return "" if backup.kind == "folder" or backup.continues else spelled_size(backup.stored_bytes)


def _kind(backup: Listed) -> str:
    """Return what goes before the state of what is no dump."""
    if backup.kind in {"dump", "folder"}:
        return ""
    return f"{'incremental ' if backup.continues else ''}{backup.kind}, "


def _name(backup: Listed) -> str:
    return printable(backup.name) if backup.name else "(the place itself)"


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _print_rows(console: Console, columns: Sequence[tuple[str, bool]], rows: Sequence[list[Text]]) -> None:
    """Print a table where it fits, and else each row in lines of its own."""
    if not console.is_terminal:
        console.width = _WIDE  # in a pipe or a log nothing is cut or broken
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for number, (title, is_number) in enumerate(columns):
        widest = max(cell_len(each) for each in (title, *(row[number].plain for row in rows)))
        breakable = title in _BREAKABLE
        table.add_column(
            title,
            justify="right" if is_number else "left",
            no_wrap=not breakable,
            min_width=None if breakable else widest,
        )
    for row in rows:
        table.add_row(*row)
    needed = Measurement.get(console, console.options.update(max_width=_WIDE, width=_WIDE), table).minimum
    if needed <= console.width:
        console.print(table)
        return
    for name, *rest in rows:
        console.print(Text.assemble(name, style="bold"))
        told = [
            Text.assemble(f"{title} " if is_number else "", each)
            for (title, is_number), each in zip(columns[1:], rest, strict=True)
            if each.plain
        ]
        console.print(Padding(Text(", ").join(told), (0, 0, 0, 2)))


# ── Verified ────────────────────────────────────────────────────────────────────────────────────────


def show_verified(console: Console, label: str, found: Sequence[Verified]) -> None:
    """Print what a check found, each damage as a sentence."""
    for each in found:
        words, style = _OUTCOMES[each.outcome]
        say(
            console,
            Text.assemble(
                (_name(each.backup), "bold"),
                ": ",
                (words, style),
                f", {plural(each.items, 'item')} in {plural(each.objects, 'object')}, {spelled_size(each.stored_bytes)}",
            ),
        )
        for problem in each.problems:
            say(console, f"  {problem}", "red")
        for failure in each.failures:
            say(console, f"  {failure}", "yellow")
    say(console, _conclusion(label, found))


def _conclusion(label: str, found: Sequence[Verified]) -> Text:
    outcomes = [each.outcome for each in found]
    total = f"{plural(len(found), 'backup')} in {printable(label)}"
    if damaged := outcomes.count("damaged"):
        return Text(f"Of {total}, {damaged:,} {_be(damaged)} not as written.", "bold red")
    if unchecked := len(outcomes) - outcomes.count("sound"):
        return Text(f"Of {total}, {unchecked:,} could not be checked.", "bold red")
    return Text(f"Verified {total}: as written.", "green")


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


# ── Pruned ──────────────────────────────────────────────────────────────────────────────────────────


def show_verdicts(console: Console, label: str, verdicts: Sequence[Verdict]) -> None:
    """Print what goes and what stays, and why."""
    if not verdicts:
        say(console, f"There are no backups in {label}.")
    by_source = groupby(verdicts, key=lambda each: each.backup.source)
    for number, some in enumerate(list(group) for _, group in by_source):
        if number:
            console.print()
        say(console, f"{_source(some[0].backup) or 'Of what, nothing tells'}:", "bold")
        _print_rows(
            console,
            [("", False), ("backup", False), ("begun (UTC)", False), ("stored", True), ("why", False)],
            [_verdict(each) for each in some],
        )
        if not any(each.backup.is_verified for each in some) and not all(each.keeps for each in some):
            say(console, "None of these was verified; backups verify --newest does that.", "yellow")


def _verdict(verdict: Verdict) -> list[Text]:
    style = "" if verdict.keeps else "red"
    backup = verdict.backup
    return [
        Text("keep", "green") if verdict.keeps else Text("remove", "red"),
        Text(_name(backup), style),
        Text(_when(backup.begun), style),
        Text(_stored(backup), style),
        Text(", ".join(verdict.reasons), style),
    ]


def show_pruned(console: Console, verdicts: Sequence[Verdict], removed: Pruned | None) -> None:
    """Say what was removed, or would be."""
    if not verdicts:
        return
    console.print()
    going = [each.backup for each in verdicts if not each.keeps]
    freed = spelled_size(sum(each.stored_bytes for each in going))
    if not going:
        say(console, "Nothing is to be removed.")
    elif removed is None:
        say(console, f"Would remove {plural(len(going), 'backup')}, {freed}; --yes does it.", "bold")
    else:
        say(console, f"Removed {plural(removed.backups, 'backup')}, {freed}.", "bold")
    if strangers := sum(each.strangers for each in going):
        say(console, f"Left alone: {plural(strangers, 'object')} beside them, no part of any backup.", "dim")
