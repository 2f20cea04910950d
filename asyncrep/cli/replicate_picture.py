"""Draws how a worker gets on: its shards, the worst first, as many as fit, with sums below them."""

from __future__ import annotations

from collections import Counter, deque
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from asyncrep.cli.render import plural, printable
from asyncrep.cli.replicate_terms import duration, lag, per_second, shares, short_shard
from asyncrep.replicate.events import ShardState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncrep.aws.lease import Lease
    from asyncrep.cli.replicate_terms import Names
    from asyncrep.flow.clock import Clock
    from asyncrep.replicate.events import ShardFigures, WorkerFigures

_SAMPLE_SECONDS = 1.0
_SPEED_SECONDS = 10.0
_SHARE_OF_HEIGHT = 0.6
"""What is left shows the last sentences."""
_LEAST_ROWS = 3
_SHARD_WIDTH = 22  # of what is left of a shard's id
_LEAST_SHARD_WIDTH = 9
_OTHER_COLUMNS = (("state", 15), ("behind", 11), ("records", 14), ("per second", 10))
_GAP = "  "
_WORKER_WIDTH = 30
_WORKERS_SHOWN = 6

_WORST_FIRST = (ShardState.HELD, ShardState.RETRYING, ShardState.READING, ShardState.WAITING)
_STYLES = {
    ShardState.HELD: "bold red",
    ShardState.RETRYING: "yellow",
    ShardState.READING: "",
    ShardState.WAITING: "dim",
}


class Speeds:
    """How fast records were read over the last seconds, and since when shards do not get on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._samples: deque[tuple[float, int, dict[str, int]]] = deque([(self._began, 0, {})])
        self._stuck: dict[str, float] = {}

    @property
    def uptime(self) -> float:
        """Seconds since the worker began."""
        return self._clock.monotonic() - self._began

    def note(self, figures: WorkerFigures) -> None:
        """Note what is the case now."""
        now = self._clock.monotonic()
        self._stuck = {each.shard: self._stuck.get(each.shard, now) for each in figures.stuck}
        if now - self._samples[-1][0] < _SAMPLE_SECONDS:
            return
        self._samples.append(
            (now, figures.read, {each.shard: each.records for each in figures.shards.values()})
        )
        while now - self._samples[1][0] >= _SPEED_SECONDS:
            self._samples.popleft()

    def total(self, figures: WorkerFigures) -> float:
        """Return the records per second of the worker."""
        return self._speed(figures.read - self._samples[0][1])

    def of(self, shard: ShardFigures) -> float:
        """Return the records per second of a shard."""
        before = self._samples[0][2].get(shard.shard, 0)
        # A shard that was left and taken again counts from zero again.
        return self._speed(shard.records - before if shard.records >= before else shard.records)

    def stuck_for(self, shard: ShardFigures) -> float:
        """Return for how many seconds a shard has not got on."""
        now = self._clock.monotonic()
        return now - self._stuck.get(shard.shard, now)

    def _speed(self, records: int) -> float:
        passed = self._clock.monotonic() - self._samples[0][0]
        return records / passed if passed > 0 else 0.0


def picture(
    names: Names,
    figures: WorkerFigures,
    speeds: Speeds,
    leases: Mapping[str, Lease],
    *,
    put_aside: int,
    width: int,
    height: int,
) -> Text:
    """Return the lines to be drawn on a terminal of that size; none is wider, and some height is left."""
    head = [Text("─" * width, "dim"), *_head(names, speeds, width)]
    foot = [
        *_wrapped(_totals(figures, speeds, put_aside), width),
        *_wrapped(_holders(names, leases), width),
    ]
    room = max(_LEAST_ROWS, int(height * _SHARE_OF_HEIGHT) - len(head) - len(foot))
    lines = [*head, *_shards(figures, speeds, width, room), *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    drawn = Text("\n").join(lines)
    drawn.no_wrap = True
    return drawn


def _head(names: Names, speeds: Speeds, width: int) -> list[Text]:
    uptime = f"up {duration(speeds.uptime)}"
    task = Text.assemble((printable(names.task), "bold"), (f"  worker {printable(names.worker)}", "dim"))
    task.truncate(max(width - len(uptime) - 2, 1), overflow="ellipsis")
    task.append(" " * max(width - task.cell_len - len(uptime), 1) + uptime, "dim")
    return [task, Text(printable(names.tables))]


# ── Shards ──────────────────────────────────────────────────────────────────────────────────────────


def _shards(figures: WorkerFigures, speeds: Speeds, width: int, room: int) -> list[Text]:
    """Return a line for each shard, and one for each reason why some do not get on; ``room`` lines at most."""
    if not figures.shards:
        return [Text("This worker has no shards at the moment.", "dim")]
    wide = max(min(_SHARD_WIDTH, width - _others_width()), _LEAST_SHARD_WIDTH)
    lines = [_titles(wide)]
    shown: set[str] = set()
    for reason, group in groupby(sorted(figures.shards.values(), key=_badness), key=_told_reason):
        lines_of_reason = 1 if reason else 0
        free = room - len(lines) - lines_of_reason
        members = list(group)
        left = len(figures.shards) - len(shown) - len(members)
        fitting = members if len(members) + (left > 0) <= free else members[: max(free - 1, 0)]
        lines += [_row(shard, speeds, wide) for shard in fitting]
        shown.update(shard.shard for shard in fitting)
        if fitting and reason:
            lines.append(Text(f"  ╰ {printable(reason)}", "dim"))
        if len(fitting) < len(members):
            break
    rest = [shard for shard in figures.shards.values() if shard.shard not in shown]
    if rest:
        lines.append(_more(rest))
    return lines


def _badness(shard: ShardFigures) -> tuple[int, str, int, str]:
    return (
        _WORST_FIRST.index(shard.state),
        _told_reason(shard),
        -1 if shard.millis_behind is None else -shard.millis_behind,
        shard.shard,
    )


def _told_reason(shard: ShardFigures) -> str:
    """Return why a shard does not get on, and where."""
    return " ".join(
        trouble.reason if place in trouble.reason else f"{place}: {trouble.reason}"
        for place, trouble in shard.troubles.items()
    )


def _others_width() -> int:
    return sum(len(_GAP) + width for _, width in _OTHER_COLUMNS)


def _titles(wide: int) -> Text:
    (state, state_width), *numbers = _OTHER_COLUMNS
    titles = [
        "shard".ljust(wide),
        state.ljust(state_width),
        *(title.rjust(width) for title, width in numbers),
    ]
    return Text(_GAP.join(titles), "dim")


def _row(shard: ShardFigures, speeds: Speeds, wide: int) -> Text:
    state = shard.state
    told = str(state)
    if shard.troubles:
        told += f" {duration(speeds.stuck_for(shard), 1)}"
    (_, state_width), *numbers = _OTHER_COLUMNS
    values = (lag(shard.millis_behind), f"{shard.records:,}", per_second(speeds.of(shard)))
    return Text.assemble(
        set_cell_size(printable(short_shard(shard.shard, wide)), wide),
        _GAP,
        (told.ljust(state_width), _STYLES[state]),
        *(_GAP + value.rjust(width) for value, (_, width) in zip(values, numbers, strict=True)),
        style="dim" if state is ShardState.WAITING else "",
    )


def _more(rest: Sequence[ShardFigures]) -> Text:
    counts = Counter(shard.state for shard in rest)
    told = ", ".join(f"{counts[state]:,} {state}" for state in _WORST_FIRST if counts[state])
    return Text(f"… and {len(rest):,} more: {told}", "dim")


# ── Sums ────────────────────────────────────────────────────────────────────────────────────────────


def _totals(figures: WorkerFigures, speeds: Speeds, put_aside: int) -> list[Text]:
    refused = f"{figures.failed:,} refused"
    if put_aside:
        refused += f" ({put_aside:,} put aside)"
    return [
        Text(f"{per_second(speeds.total(figures))} records/s", "bold"),
        Text(f"{figures.read:,} read"),
        Text(f"{figures.written:,} written"),
        _count(figures.superseded, "superseded"),
        _count(figures.retried, "retried", "yellow"),
        _count(figures.conflicts, plural(figures.conflicts, "conflict").split(" ", 1)[1], "yellow"),
        Text(refused, "bold red" if figures.failed > put_aside else "yellow" if figures.failed else "dim"),
        _count(figures.gaps, "times data lost" if figures.gaps != 1 else "time data lost", "bold red"),
    ]


def _count(number: int, noun: str, style: str = "") -> Text:
    return Text(f"{number:,} {noun}", style if number else "dim")


def _holders(names: Names, leases: Mapping[str, Lease]) -> list[Text]:
    """Return who holds how many leases: this worker, the others, nobody."""
    held = shares(leases.values())
    others = [(worker, number) for worker, number in held.workers.items() if worker != names.worker]
    parts = [Text(f"leases: this worker {held.workers.get(names.worker, 0):,}")]
    parts += [Text(f"{_cut(printable(worker))} {number:,}") for worker, number in others[:_WORKERS_SHOWN]]
    if rest := others[_WORKERS_SHOWN:]:
        parts.append(Text(f"{plural(len(rest), 'other worker')} {sum(number for _, number in rest):,}"))
    if held.free:
        parts.append(Text(f"{held.free:,} free", "yellow"))
    if held.finished:
        parts.append(Text(f"{held.finished:,} done with", "dim"))
    return parts


def _cut(text: str) -> str:
    return text if cell_len(text) <= _WORKER_WIDTH else set_cell_size(text, _WORKER_WIDTH - 1) + "…"


def _wrapped(parts: Iterable[Text], width: int) -> list[Text]:
    """Join parts to lines, broken between parts only."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 3 + part.cell_len <= width:
            lines[-1].append(" · ", "dim").append_text(part)
        else:
            lines.append(Text().append_text(part))
    return lines
