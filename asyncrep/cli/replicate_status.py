"""What the lease table tells of a task: its shards, who follows them, and how far they have come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from asyncrep.cli.render import plural, printable, say
from asyncrep.cli.replicate_terms import Shares, duration, lag, shares, short_checkpoint, short_shard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from asyncrep.aws.lease import Lease

_SHARD_WIDTH = 22
_GAP = "  "
_TITLES = ("shard", "owner", "checkpoint", "behind")
_OWNER = _TITLES.index("owner")


@dataclass(frozen=True, slots=True)
class Status:
    """The leases of a task, looked at once or twice.

    Attributes:
        task: the task's name.
        table: the lease table.
        leases: as they were last seen, those of unfinished shards first, then by shard.
        renewed: shards whose leases were written between two looks; None after a single look.
        seconds: how far apart the looks were.
    """

    task: str
    table: str
    leases: tuple[Lease, ...]
    renewed: frozenset[str] | None = None
    seconds: float = 0.0

    @property
    def shares(self) -> Shares:
        """Who holds how many leases."""
        return shares(self.leases)

    @property
    def open(self) -> list[Lease]:
        """The leases whose shards are not done with."""
        return [lease for lease in self.leases if not lease.is_finished]

    @property
    def millis_behind(self) -> int | None:
        """How far the shard is behind that is furthest, as of its last renewal; None where nobody told."""
        return max((each.millis_behind for each in self.open if each.millis_behind is not None), default=None)

    def waits_for(self, lease: Lease) -> list[str]:
        """Return the parents that must be done with before a shard is begun."""
        unfinished = {each.key for each in self.open}
        return [] if lease.is_finished else sorted(lease.parents & unfinished)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--status --json`` prints; sequence numbers as text, as floats would round them."""
        told = self.shares
        first = self.leases[0] if self.leases else None
        return {
            "task": self.task,
            "lease_table": self.table,
            "source": first and first.source,
            "destinations": first and first.destinations,
            "open": told.open,
            "free": told.free,
            "finished": told.finished,
            "workers": told.workers,
            "millis_behind": self.millis_behind,
            "renewed": None if self.renewed is None else len(self.renewed),
            "seconds_watched": self.seconds if self.renewed is not None else None,
            "leases": [self._lease(lease) for lease in self.leases],
        }

    def _lease(self, lease: Lease) -> dict[str, Any]:
        return {
            "shard": lease.key,
            "owner": lease.owner,
            "checkpoint": lease.checkpoint,
            "finished": lease.is_finished,
            "millis_behind": lease.millis_behind,
            "owner_switches": lease.switches,
            "counter": lease.counter,
            "parents": sorted(lease.parents),
            "waits_for": self.waits_for(lease),
            "renewed": None if self.renewed is None else lease.key in self.renewed,
        }


def status(
    task: str,
    table: str,
    leases: Sequence[Lease],
    later: Sequence[Lease] | None = None,
    *,
    seconds: float = 0.0,
) -> Status:
    """Return what one look at a lease table tells, or two.

    Args:
        task: the task's name.
        table: the lease table.
        leases: all leases.
        later: all leases, some time later. Only this tells whether a worker is alive: it renews its leases
            about three times within the time after which others take them.
        seconds: how much later.
    """
    renewed = None
    if later is not None:
        before = {lease.key: lease.counter for lease in leases}
        renewed = frozenset(
            lease.key for lease in later if lease.owner is not None and before.get(lease.key) != lease.counter
        )
    last = leases if later is None else later
    in_order = sorted(last, key=lambda lease: (lease.is_finished, lease.key))
    return Status(task, table, tuple(in_order), renewed, seconds)


def show_status(console: Console, shown: Status) -> None:
    """Print the leases of a task whose shards are not done with, and what all of them add up to."""
    full = not console.is_terminal  # in a pipe or a log nothing is cut or broken
    say(console, Text.assemble((printable(shown.task), "bold"), (f"  {printable(shown.table)}", "dim")))
    if not shown.leases:
        say(console, "There are no leases: no worker of this task has begun yet.")
        return
    first = shown.leases[0]
    if first.source is not None:
        say(console, f"{first.source} → {first.destinations or 'unknown'}")
    if shown.open:
        console.print()
        for line in _lines(shown, width=None if full else console.width):
            console.print(line, no_wrap=True, overflow="ignore" if full else "ellipsis", crop=not full)
        console.print()
    for sentence, style in _sums(shown):
        say(console, sentence, style)


def _lines(shown: Status, *, width: int | None) -> list[Text]:
    """Return a table of leases, fitted to a terminal of that width; None: each in one line, whole."""
    rows = [_cells(lease, full=width is None) for lease in shown.open]
    widths = [max(cell_len(cell) for cell in column) for column in zip(_TITLES, *rows, strict=True)]
    if width is not None:
        others = sum(widths) - widths[_OWNER] + len(_GAP) * (len(widths) - 1)
        # Names of workers are what is cut, for they stand below as a whole.
        widths[_OWNER] = max(min(widths[_OWNER], width - others), len(_TITLES[_OWNER]))
    lines = [_line(_TITLES, widths, "bold")]
    for lease, row in zip(shown.open, rows, strict=True):
        line, note = _line(row, widths, "yellow" if lease.owner is None else ""), _note(shown, lease)
        lines.append(line)
        if note and width is None:
            line.append(_GAP + note)
        elif note:
            lines.append(Text(f"  ╰ {note}", "dim"))
    return lines


def _cells(lease: Lease, *, full: bool) -> tuple[str, ...]:
    return (
        printable(lease.key if full else short_shard(lease.key, _SHARD_WIDTH)),
        "free" if lease.owner is None else printable(lease.owner),
        lease.checkpoint if full else short_checkpoint(lease.checkpoint),
        lag(lease.millis_behind),
    )


def _line(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    *left, last = zip(cells, widths, strict=True)
    fitted = []
    for cell, width in left:
        cut = cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"
        fitted.append(set_cell_size(cut, width))
    return Text(_GAP.join([*fitted, last[0].rjust(last[1])]), style)


def _note(shown: Status, lease: Lease) -> str:
    """Return what is not as it mostly is."""
    notes = []
    if lease.owner is not None and shown.renewed is not None and lease.key not in shown.renewed:
        notes.append(f"not renewed within {duration(shown.seconds)}")
    if lease.switches:
        times = plural(lease.switches, "time")
        notes.append(f"its owner has changed {times} since the checkpoint")
    if parents := shown.waits_for(lease):
        notes.append(f"waits for {' and '.join(map(short_shard, parents))}")
    return printable(", ".join(notes))


def _sums(shown: Status) -> list[tuple[str, str]]:
    """Return sentences about all leases, each with its style."""
    told = shown.shares
    if not shown.open:
        return [(f"No shards to follow, {told.finished:,} done with.", "bold")]
    behind = shown.millis_behind
    far = "" if behind is None else f"; the slowest was {lag(behind)} behind when its lease was renewed last"
    sums = [(f"{plural(told.open, 'shard')} to follow, {told.finished:,} done with{far}.", "bold")]
    if told.workers:
        holders = ", ".join(f"{worker} {number:,}" for worker, number in told.workers.items())
        sums.append((f"Leases of workers: {holders}.", ""))
    if told.free:
        sums.append((f"{plural(told.free, 'lease')} held by nobody.", "yellow"))
    if shown.renewed is not None:
        held = told.open - told.free
        words = f"{len(shown.renewed):,} of {held:,} held were renewed within {duration(shown.seconds)}."
        sums.append((words, "" if len(shown.renewed) == held else "yellow"))
    return sums
