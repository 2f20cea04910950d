"""What people read: the summary of a run, and a record side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asyncrep.cli.words import TABLES
from asyncrep.cost.plan import usd
from asyncrep.items.equality import decode_image, differing_attributes
from asyncrep.model import Cause, Different, Discrepancy, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asyncrep.cli.words import Words
    from asyncrep.model import WireValue
    from asyncrep.repair.record import AttributePair, RecordDiff
    from asyncrep.report import Report, Sampled

_WORTH_TELLING = 0.0001  # dollars

STORED = "stored diff"
"""The strategy of a report about a stored diff."""

SHOWN = 10
"""How many discrepancies a summary shows."""

_SIGILS = {
    "missing": Text("+", style="green"),
    "extraneous": Text("-", style="red"),
    "different": Text("*", style="yellow"),
}
_SHORT_CAUSES = {
    Cause.MISSED_PUT: "missed put",
    Cause.MISSED_DELETE: "missed delete",
    Cause.MISSED_TTL_DELETE: "missed TTL delete",
    Cause.OLDER_VERSION: "older version",
    Cause.NEWER_VERSION: "newer version",
    Cause.ATTRIBUTE_CHANGE: "differs",
}
"""In flight and expired are missing: their states say it."""
_encode = msgspec.json.Encoder().encode


class _Console(Console):
    """A console whose broken pipe is the caller's business; rich would exit with 1, which means drift."""

    def on_broken_pipe(self) -> None:
        """Tell of a lost reader of results; messages that nobody reads are no reason to stop."""
        if not self.stderr:
            raise BrokenPipeError


def message_console() -> Console:
    """Return the console of messages and progress, stderr."""
    return _Console(stderr=True)


def result_console(*, stdout_is_taken: bool = False) -> Console:
    """Return the console of results, stdout unless results for programs have it."""
    return _Console(stderr=stdout_is_taken)


def say(console: Console, text: Text | str, style: str = "") -> None:
    """Print a sentence, broken into lines only where a person reads it on a terminal."""
    shown = Text(printable(text)) if isinstance(text, str) else text
    console.print(shown, style=style, highlight=False, soft_wrap=not console.is_terminal)


def printable(text: str) -> str:
    """Return text in which nothing can steer a terminal: control characters are spelled out."""
    return "".join(
        character
        if character.isprintable() or character == " "
        else character.encode("unicode_escape").decode()
        for character in text
    )


def show_summary(
    console: Console,
    report: Report,
    shown: Sequence[Discrepancy],
    ignored: Collection[str],
    *,
    repairing: bool,
    dry_run: bool = False,
    words: Words = TABLES,
) -> None:
    """Print the summary of a run: the counts, some discrepancies, what it took, and what follows."""
    console.print()
    say(console, _headline(report))
    console.print(_counts(report, words))
    if shown:
        for found in shown[:SHOWN]:
            # On a terminal a line is cut at its width; in a pipe or a log nothing is.
            cut = console.is_terminal
            console.print(
                discrepancy_line(found, ignored),
                overflow="ellipsis" if cut else "ignore",
                no_wrap=True,
                crop=cut,
            )
        if (more := _listed(report) - len(shown[:SHOWN])) > 0:
            console.print(f"  … and {more:,} more; --output FILE has all of them", style="dim")
        console.print()
    say(console, effort(report), "dim")
    if report.sampled is not None and report.complete:
        say(console, _proven(report.sampled))
    say(console, _conclusion(report, words, repairing=repairing, dry_run=dry_run))


def _listed(report: Report) -> int:
    if report.strategy == STORED:
        return report.compared
    return report.drift + report.in_flight + report.expired


def _headline(report: Report) -> Text:
    return Text.assemble(
        (printable(report.primary), "bold"),
        " → ",
        (printable(report.replica), "bold"),
    )


def _counts(report: Report, words: Words) -> Table:
    """Return a small table of counts; only those that say something."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    table.add_column(justify="right", style="bold")
    table.add_column()
    if report.strategy == "backfill":
        rows = [
            (report.scanned_primary, "items in the primary", True),
            (report.repaired, "written to the replica", True),
            (report.matched, "there already, and equal", False),
            (report.present, "there already, and different: left alone", False),
            (report.expired, "expired: not copied", False),
            (report.failed, "refused by the replica", False),
        ]
    else:
        rows = [
            (report.compared, "compared", True),
            (report.matched + report.settled, _equal(report, words), report.strategy != STORED),
            (report.unjudged, "seen, and not judged when the run ended", False),
            (report.missing, words.missing, False),
            (report.different, "different", False),
            *_causes(report, words.different),
            (report.extraneous, words.extraneous, False),
            *_causes(report, words.only_replica),
            (report.in_flight, words.in_flight, False),
            (report.expired, words.expired, False),
            (report.repaired, "repaired and verified", False),
            (report.contested, "contested: somebody else kept changing them", False),
            (report.failed, "failed to be repaired", False),
            (report.skipped, "skipped", False),
            (report.changed, "changed since the diff: left alone", False),
        ]
    for number, meaning, always in rows:
        if number or always:
            table.add_row(f"{number:,}", meaning, style="dim" if meaning.startswith(" ") else "")
    return table


def _causes(report: Report, meanings: Mapping[Cause, str]) -> list[tuple[int, str, bool]]:
    """Return the causes within a kind, indented; nothing where all have the one that its name says already."""
    counts = [
        (report.causes.get(cause.value, 0), f"  {meaning}", False) for cause, meaning in meanings.items()
    ]
    return counts if any(number for number, *_ in counts[:-1]) else []


def _equal(report: Report, words: Words) -> str:
    if report.strategy == STORED:
        return "equal by now"
    if not report.settled:
        return "equal"
    return f"equal, {report.settled:,} of them {words.settled}"


def discrepancy_line(found: Discrepancy, ignored: Collection[str]) -> Text:
    """Return one discrepancy as a summary shows it: its sigil, its key, and what differs."""
    line = Text.assemble("  ", _SIGILS[found.kind], " ", printable(found.key.decode(errors="replace")))
    details = [_SHORT_CAUSES[found.cause]] if found.cause in _SHORT_CAUSES else []
    if isinstance(found, Different):
        names = differing_attributes(decode_image(found.primary), decode_image(found.replica), ignored)
        details.append(", ".join(names))
    if details:
        line.append("  " + printable(": ".join(details)), style="dim")
    if found.state not in {State.FOUND, State.REPAIRED}:
        line.append(f"  {found.state.replace('_', ' ')}", style="bold")
    return line


def effort(report: Report) -> str:
    """Return what a run took: segments, units, time, dollars."""
    stored = report.strategy == STORED
    seen = report.compared if stored else report.scanned_primary + report.scanned_replica
    speed = seen / report.seconds if report.seconds else 0
    parts = [
        f"{report.strategy}, {_segments(report)}" if report.segments else report.strategy,
        _units(report.read_units, "read")
        + (f", {_units(report.write_units, 'write')}" if report.write_units else ""),
        f"{report.seconds:,.1f} s, {speed:,.0f} items/s",
    ]
    if report.cost_usd >= _WORTH_TELLING:
        parts.append(usd(report.cost_usd))
    if report.throttled:
        parts.append(f"throttled {plural(report.throttled, 'time')}")
    return "  " + " · ".join(parts)


def _segments(report: Report) -> str:
    looked_at = f"{report.sampled.segments:,} of " if report.sampled is not None else ""
    return looked_at + plural(report.segments, "segment")


def _units(units: float, kind: str) -> str:
    return plural(int(units), f"{kind} unit") if units == int(units) else f"{units:,.1f} {kind} units"


def plural(number: int, noun: str) -> str:
    """Return a count and its noun, ``1 segment`` or ``1,024 segments``; discrepancy has its own plural."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def spelled_size(size: float) -> str:
    """Return a number of bytes in steps of a thousand, as storage and transfer are billed."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if size >= 10 or size == int(size) else f"{size:,.1f} {unit}"


def _conclusion(report: Report, words: Words, *, repairing: bool, dry_run: bool = False) -> Text:
    if not report.complete:
        return Text("The run is incomplete: it ended before everything was compared.", style="bold red")
    if report.strategy == "backfill":
        return _backfill_conclusion(report, repairing=repairing)
    if report.strategy == STORED:
        return _stored_conclusion(report, dry_run=dry_run)
    if report.remaining:
        return _what_remains(report, words, repairing=repairing, dry_run=dry_run)
    found = "every discrepancy was repaired and verified" if report.drift else "no discrepancies"
    if report.in_flight:
        found += f"; {plural(report.in_flight, 'record')} kept changing and could not be judged"
        return Text(f"{found[0].upper()}{found[1:]}.", style="bold yellow")
    what = (
        words.right if report.segment is None else f"Segment {report.segment} of {report.segments} is right"
    )
    if _is_partial(report):
        what = "The sample is right"
        found += "; the rest of the replica was not looked at" if report.drift else ""
    return Text(f"{what}: {found}.", style="bold green")


def _what_remains(report: Report, words: Words, *, repairing: bool, dry_run: bool) -> Text:
    verb = "remains" if report.remaining == 1 else "remain"
    advice = "." if repairing else words.advice
    if _is_partial(report) and not repairing:
        advice = "; --repair without --sample brings the replica in line."
    if dry_run:
        advice = "; nothing was written, this was a dry run."
    return Text(
        f"{words.wrong}: {plural(report.remaining, 'discrepancy')} {verb}{advice}", style="bold yellow"
    )


def _is_partial(report: Report) -> bool:
    """Whether the run looked at a sample that leaves some of the tables out."""
    return report.sampled is not None and report.sampled.segments < report.sampled.of


def _proven(sampled: Sampled) -> str:
    held = f"{sampled.drifted:,}" if sampled.drifted else "none"
    looked = f"{held} of them held discrepancies"
    if sampled.segments == sampled.of:
        return f"The sample is everything: all {plural(sampled.of, 'segment')} were looked at; {looked}."
    return (
        f"A sample: {sampled.segments:,} of {plural(sampled.of, 'segment')}, chosen at random; {looked}. With 95 % "
        f"confidence at most {_percent(sampled.at_most or 0.0)} of all segments did."
    )


def _percent(share: float) -> str:
    """Return a share in percent with two digits that count, rounded up: a bound must not shrink."""
    percent = share * 100
    digits = max(0, 1 - math.floor(math.log10(percent))) if percent > 0 else 0
    steps = 10**digits
    return f"{math.ceil(percent * steps - 1e-9) / steps:.{digits}f} %"


def _stored_conclusion(report: Report, *, dry_run: bool) -> Text:
    if report.remaining:
        verb = "remains" if report.remaining == 1 else "remain"
        dry = "; nothing was written, this was a dry run" if dry_run else ""
        return Text(
            f"Of the diff {plural(report.remaining, 'discrepancy')} {verb}{dry}.", style="bold yellow"
        )
    if report.in_flight:
        words = f"{plural(report.in_flight, 'record')} of the diff kept changing and could not be judged."
        return Text(words, style="bold yellow")
    if not report.compared:
        return Text("There was nothing to do.", style="bold green")
    words = "repaired and verified, or equal by now" if report.settled else "repaired and verified"
    return Text(f"Every discrepancy of the diff is gone: {words}.", style="bold green")


def _backfill_conclusion(report: Report, *, repairing: bool) -> Text:
    if not repairing:
        return Text("Nothing was written; add --repair to fill the replica.", style="bold")
    if report.failed:
        return Text(f"The replica refused {plural(report.failed, 'item')}.", style="bold red")
    return Text("The replica is filled; diff-tables tells whether it is right.", style="bold green")


def show_record(console: Console, record: RecordDiff) -> None:
    """Print one record's attributes side by side, and whether the sides agree."""
    if record.exists:
        show_attributes(console, record)
    say(console, _record_conclusion(record))


def show_attributes(
    console: Console, record: RecordDiff, sides: tuple[str, str] = ("primary", "replica")
) -> None:
    """Print the table of a record's attributes on the two sides, which are called so."""
    title = Text(printable(record.key.decode(errors="replace")))  # a plain str would be read as rich's markup
    table = Table(title=title, title_justify="left", expand=False)
    table.add_column("", width=1)
    table.add_column("attribute", overflow="fold")
    for side in sides:
        table.add_column(side, overflow="fold")
    for pair in record.attributes:
        mark, style = _mark(pair)
        name = Text(printable(pair.name))
        table.add_row(mark, name, _value(pair.primary), _value(pair.replica), style=style)
    console.print(table)


def _mark(pair: AttributePair) -> tuple[str, str]:
    if not pair.compared:
        return "~", "dim"
    if pair.equal:
        return "", ""
    if pair.replica is None:
        return "+", "green"
    return ("-", "red") if pair.primary is None else ("*", "yellow")


def _value(value: WireValue | None) -> Text:
    return Text("—", style="dim") if value is None else Text(printable(_encode(value).decode()))


def _record_conclusion(record: RecordDiff) -> Text:
    found = record.discrepancy
    if found is None:
        return Text(
            "The record is the same on both sides." if record.exists else "Neither side has this record.",
            "green",
        )
    if found.state is not State.FOUND:
        reason = f": {found.reason}" if found.reason else "."
        return Text(printable(f"The record is {found.state.replace('_', ' ')}{reason}"), style="bold")
    words = {
        "missing": "The replica does not have this record.",
        "extraneous": "The primary does not have this record.",
        "different": "The record differs.",
    }
    return Text(f"{words[found.kind]} replicate-record brings the replica in line.", style="bold yellow")
