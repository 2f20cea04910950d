"""What people read of jobs: the list, one job, what was removed, and what several add up to."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from asyncrep.backup.restore_progress import CREATING
from asyncrep.cli.journals import undo_command
from asyncrep.cli.render import plural, printable, say, show_summary
from asyncrep.cli.storage_options import s3_arguments
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.listing import (
    arguments_of,
    command_of,
    journal_of,
    saved_at,
    segments_done,
    sides_of,
    task_of,
    writes,
)
from asyncrep.jobs.state import spelled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from asyncrep.jobs.listing import Seen
    from asyncrep.jobs.mark import Mark
    from asyncrep.jobs.merge import Merged
    from asyncrep.jobs.state import State
    from asyncrep.model import Side
    from asyncrep.options import S3Access

_STYLES = {"running": "bold cyan", "interrupted": "yellow", "done": "green", "damaged": "bold red"}
_COUNTS = (
    "scanned_primary", "scanned_replica", "matched", "settled", "missing", "different", "extraneous",
    "in_flight", "expired", "repaired", "contested", "failed", "skipped", "present",
)  # fmt: skip
_SEGMENTS_SHOWN = 64
_WIDE = 10_000


# ── The list ────────────────────────────────────────────────────────────────────────────────────────


def show_list(console: Console, seen: Sequence[Seen]) -> None:
    """Print a table of jobs, and where journals are whose jobs were removed."""
    jobs = [each for each in seen if each.status != "removed"]
    if not jobs:
        say(console, "There are no jobs in the state folder; a command with --job NAME begins one.")
    else:
        _show_jobs(console, jobs)
    for each in jobs:
        if each.problem is not None:
            say(console, f"{each.name}: {each.problem}", "bold red")
    for each in seen:
        if each.status == "removed":
            say(
                console,
                f"Of {each.name}, which was removed, the journal is left: {' '.join(each.journals)}",
                "dim",
            )


def _show_jobs(console: Console, jobs: Sequence[Seen]) -> None:
    if not console.is_terminal:
        console.width = _WIDE  # in a pipe or a log nothing is cut or broken
    table = _table(jobs)
    needed = Measurement.get(console, console.options.update(max_width=_WIDE, width=_WIDE), table).maximum
    if needed <= console.width:
        console.print(table)
        return
    for each in jobs:
        console.print(_stacked(each), soft_wrap=True)


def _stacked(seen: Seen) -> Text:
    """Return a job in a few lines, for narrow terminals."""
    name, tables, task, status, segments, items, discrepancies, saved = _row(seen)
    lines = Text.assemble(name, ": ", task, ", " if task else "", status, style="bold")
    if seen.state is not None:
        lines.append_text(Text.assemble("\n  ", tables, style="not bold"))
        counts = [f"{segments} segments"] if segments else []
        counts += [f"{items} items", *([f"{discrepancies} discrepancies"] if discrepancies else [])]
        lines.append_text(Text(f"\n  {', '.join(counts)}\n  saved {saved}", style="not bold dim"))
    return lines


def _table(jobs: Sequence[Seen]) -> Table:
    """Return the jobs, each in one line."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold")
    for title in ("job", "tables", "task", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("segments", "items", "discrepancies"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("saved (UTC)", no_wrap=True)
    for each in jobs:
        table.add_row(*_row(each))
    return table


def _row(seen: Seen) -> list[Text | str]:
    status = Text(seen.status, _STYLES.get(seen.status, ""))
    state = seen.state
    if state is None:
        return [Text(printable(seen.name)), "", "", status, "", "", "", ""]
    told = seen.as_dict()
    segments = f"{told['segments_done']:,} of {told['segments']:,}" if told["segments"] else ""
    checks = command_of(state.options) == "diff-tables"
    return [
        Text(printable(seen.name)),
        Text(f"{printable(str(told['source']))} → {printable(str(told['destination']))}"),
        _task(state),
        status,
        segments,
        f"{told['scanned']:,}",
        f"{told['discrepancies']:,}" if checks else "",
        f"{saved_at(state):%Y-%m-%d %H:%M:%S}, {_ago(saved_at(state))}",
    ]


def _task(state: State) -> str:
    task = task_of(state.options)
    dry = task in {"repair", "backfill"} and not writes(state.options)
    return f"{task} (dry run)" if dry else task


def _ago(moment: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    passed = datetime.fromtimestamp(SystemClock().now(), UTC) - moment
    for unit, length in (
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    ):
        if passed >= length:
            return f"{plural(int(passed / length), unit)} ago"
    return "just now"


# ── One job ─────────────────────────────────────────────────────────────────────────────────────────


def details(seen: Seen, state: State, access: S3Access | None = None) -> dict[str, Any]:
    """Return what ``jobs show --json`` prints; ``access`` is how S3 was reached."""
    mark, sides = state.mark, sides_of(state.options)
    return seen.as_dict() | {
        "options": state.options,
        "version": state.version,
        "work": state.work,
        "strategy": mark.strategy if mark else None,
        "progress": [_progress(mark, sides, index) for index in mark.segments] if mark else [],
        "counts": mark.counts if mark else {},
        "undecided": len(mark.undecided) if mark else 0,
        "to_delete": mark.to_delete if mark else 0,
        "deleted_or_begun": mark.deletions if mark else None,
        "journal": journal_of(state),
        "outputs": [
            {"option": option, "file": state.options.get(option), "bytes": length}
            for option, length in state.outputs.items()
            if state.options.get(option)
        ],
        "command": command(seen.name, state.options, access),
    }


def _progress(mark: Mark, sides: Sequence[Side], index: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "segment": index,
        "primary": None,
        "replica": None,
    }  # what is not walked gets nowhere
    for side in sides:
        reached = mark.at(side, index)
        told[side] = {"key": _key(reached.key), "ended": reached.ended}
    return told


def _key(key: str | None) -> Any:
    if key is None:
        return None
    try:
        return msgspec.json.decode(key)
    except msgspec.DecodeError:
        return key


def command(name: str, options: Mapping[str, Any], access: S3Access | None = None) -> str:
    """Return the command that goes on with a job, but for the tables' profiles and the pace, which may be others.

    Args:
        name: the job's.
        options: what it was begun with.
        access: how S3 was reached to find it; of what its own options tell, they have the say.
    """
    words = ["asyncrep", command_of(options)]
    endpoints: list[str] = []
    if options.get("COMMAND"):
        words += arguments_of(options)
    for side in () if options.get("COMMAND") else ("primary", "replica"):
        place, _, endpoint = str(options.get(side.upper())).partition(" ")
        words.append(place)
        if endpoint and not endpoint.endswith(place.partition("/")[0]):
            endpoints += [f"--{side}-endpoint", endpoint]
    for option, value in options.items():
        if not option.startswith("--") or not _is_given(value):
            continue
        for each in value if isinstance(value, list) else [value]:
            words += [option] if each is True else [option, str(each)]
    return shlex.join([*words, *endpoints, "--job", name, *_reaching(options, access)])


def _reaching(options: Mapping[str, Any], access: S3Access | None) -> list[str]:
    given = s3_arguments(access)
    pairs = zip(given[::2], given[1::2], strict=True)
    return [word for option, value in pairs if option not in options for word in (option, value)]


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != []


def show_job(console: Console, seen: Seen, state: State, access: S3Access | None = None) -> None:
    """Print one job; ``access`` is how S3 was reached."""
    status = Text(seen.status, _STYLES.get(seen.status, ""))
    say(console, Text.assemble((printable(seen.name), "bold"), ": ", _task(state), ", ", status))
    facts = [
        ("kept in", str(seen.place)),
        ("begun", _when(state.begun)),
        ("saved", f"{_when(state.saved)}, {_ago(saved_at(state))}, by asyncrep {state.version}"),
        ("runs", f"{state.runs:,}"),
        *(
            (option, spelled(value))
            for option, value in state.options.items()
            if _is_given(value) and option != "COMMAND"
        ),
        *((f"{option} holds", f"{length:,} bytes") for option, length in state.outputs.items() if length),
    ]
    if journal := journal_of(state):
        facts.append(("journal", f"{journal}; to take it back: {undo_command(journal, access)}"))
    for title, value in facts:
        say(console, f"  {title}: {value}")
    if state.mark is not None:
        _show_mark(console, state, state.mark)
    elif state.work is not None:
        _show_work(console, state.work)
    if seen.status == "interrupted":
        say(console, "To go on (profiles and the pace may be others than before):")
        say(console, f"  {command(seen.name, state.options, access)}", "bold")


def _when(stamp: str) -> str:
    return stamp[:19].replace("T", " ") + " UTC"


def _show_mark(console: Console, state: State, mark: Mark) -> None:
    console.print()
    done = segments_done(state)
    say(console, f"{done:,} of {plural(len(mark.segments), 'segment')} done, {mark.strategy}.")
    if not state.done:
        console.print(_segments(mark, sides_of(state.options)))
    counts = [f"{mark.counts[name]:,} {name.replace('_', ' ')}" for name in _COUNTS if mark.counts.get(name)]
    say(console, f"Counted: {', '.join(counts) or 'nothing yet'}.")
    if not state.done:
        say(console, f"Met and not decided: {plural(len(mark.undecided), 'record')}.")
    if mark.deletions is not None and not state.done:
        say(console, f"Deletions have begun: {mark.deletions:,} of {mark.to_delete:,}.")


def _show_work(console: Console, work: Mapping[str, Any]) -> None:
    """Print how far a job is that is no walk over two tables, as far as it says so."""
    console.print()
    if work.get("segments"):
        say(console, f"{work.get('segments_done', 0):,} of {plural(work['segments'], 'segment')} done.")
    if CREATING in work:
        say(console, "It was making the table; nothing is restored yet.")
    if "items" in work:
        say(console, f"Counted: {plural(work['items'], 'item')}.")


def _segments(mark: Mark, sides: Sequence[Side]) -> Table:
    """Return how far each segment is: the last key that was passed on each side that is walked."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold")
    table.add_column("segment", justify="right")
    for side in sides:
        table.add_column(side if len(sides) > 1 else "reached", overflow="fold")
    for index in mark.segments[:_SEGMENTS_SHOWN]:
        table.add_row(f"{index:,}", *(_reached(mark, side, index) for side in sides))
    if len(mark.segments) > _SEGMENTS_SHOWN:
        table.add_row("…", Text("--json has all of them", "dim"))
    return table


def _reached(mark: Mark, side: Side, index: int) -> Text:
    reached = mark.at(side, index)
    if reached.ended:
        return Text("done", "green")
    return Text("not begun", "dim") if reached.key is None else Text(printable(reached.key))


# ── What was removed, and what was added up ─────────────────────────────────────────────────────────


def show_removed(
    console: Console, seen: Seen, *, with_journal: bool, dry_run: bool, access: S3Access | None = None
) -> None:
    """Say what was removed of a job, and what was not; ``access`` is how S3 was reached."""
    verb = "Would remove" if dry_run else "Removed"
    how = f" ({seen.status})" if seen.status != "removed" else ""
    say(console, f"{verb} the job {seen.name}{how} in {seen.place}.")
    for journal in seen.journals:
        if with_journal:
            say(console, f"{verb} its journal {journal}: what it wrote can no longer be taken back.")
        else:
            say(console, f"Its journal is kept; to take back what it wrote: {undo_command(journal, access)}")
    if seen.contents.others:
        names = ", ".join(map(repr, seen.contents.others[:5]))
        say(console, f"What else is there stays: {names}{', …' if len(seen.contents.others) > 5 else ''}.")


def show_merged(console: Console, whole: Merged, access: S3Access | None = None) -> None:
    """Print the sum of several jobs; ``access`` is how S3 was reached."""
    show_summary(
        console,
        whole.report,
        (),
        whole.options.get("--ignore-attribute") or (),
        repairing=writes(whole.options),
        dry_run=bool(whole.options.get("--dry-run")),
    )
    total = whole.report.segments
    if whole.missing:
        say(console, f"No job looked at {_ranges(whole.missing)} of {total:,}.", "bold red")
    for index, name in whole.unfinished.items():
        say(console, f"Segment {index} of {total:,} is not finished: {name}.", "bold red")
    for journal in whole.journals:
        say(console, f"To take back what was written: {undo_command(journal, access)}", "dim")


def _ranges(indexes: Sequence[int]) -> str:
    """Return numbers in order as ``segments 1, 4-7``."""
    ranges: list[list[int]] = []
    for index in indexes:
        if ranges and ranges[-1][-1] == index - 1:
            ranges[-1][1:] = [index]
        else:
            ranges.append([index])
    words = ["-".join(map(str, each)) for each in ranges]
    return f"segment{'s' if len(indexes) > 1 else ''} {', '.join(words)}"
