"""What a worker shows on a terminal: shards, the worst first, and sentences that scroll away above them."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from asyncrep import VirtualClock
from asyncrep.change import Unreadable
from asyncrep.cli.replicate_news import HELD_SECONDS, STALL_SECONDS, Sieve
from asyncrep.cli.replicate_view import LINES_AT_ONCE, REFRESH_SECONDS, TerminalView, watching
from asyncrep.replicate.events import (
    Conflicted,
    DataLost,
    Progressed,
    Refused,
    Remark,
    ShardFigures,
    ShardLeft,
    ShardTaken,
    Stalled,
    Trouble,
    WorkerStarted,
)
from tests.support.cli import Screen
from tests.support.consoles import HOSTILE, flat, shown
from tests.support.replications import SECRET, change, lease, reading, shard_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from asyncrep.aws.lease import Lease
    from asyncrep.cli.replicate_view import View
    from asyncrep.replicate.events import ReplicationEvent, WorkerFigures

HEIGHT = 30
SIZES = pytest.mark.parametrize("width", [80, 120])


def console(width: int = 80, height: int = HEIGHT) -> Console:
    # The environment of whoever runs the tests says nothing about these consoles.
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None,
        legacy_windows=False, _environ={"TERM": "xterm"},
    )  # fmt: skip


def watch(
    target: Console,
    clock: VirtualClock | None = None,
    *,
    quiet: bool = False,
    leases: Mapping[str, Lease] | None = None,
    destinations: tuple[str, ...] = ("eu-west-1/orders", "ap-south-1/orders"),
    task: str = "mirror",
    worker: str = "host:1",
) -> AbstractContextManager[View]:
    return watching(
        target,
        task=task,
        source="us-east-1/orders",
        destinations=destinations,
        worker=worker,
        quiet=quiet,
        clock=clock or VirtualClock(),
        leases=lambda: leases or {},
    )


def tell(view: View, *events: ReplicationEvent) -> None:
    for event in events:
        view.tell(event)
    assert isinstance(view, TerminalView)
    view.refresh()


def screen_of(target: Console) -> Screen:
    screen = Screen()
    screen.feed(shown(target).replace("\n", "\r\n"))
    return screen


def parts(target: Console) -> tuple[list[str], list[str]]:
    """The sentences above the rule, and the lines of the picture below it."""
    lines = screen_of(target).lines
    [rule] = [number for number, line in enumerate(lines) if line.startswith("───")]
    return lines[:rule], [line for line in lines[rule + 1 :] if line]


@pytest.fixture
def figures() -> WorkerFigures:
    """A worker with a shard in each state."""
    held = Trouble("The item is too large.", held=True)
    late = Trouble("PutItem on ap-south-1/orders: too much at once.")
    return reading(
        ShardFigures(shard_id(1), begun=True, records=1_234_567, millis_behind=0),
        ShardFigures(shard_id(2)),
        ShardFigures(shard_id(3), begun=True, records=5, millis_behind=7_512_000),
        ShardFigures(shard_id(4), True, {"ap-south-1/orders": late}, 7, 400),
        ShardFigures(shard_id(5), True, {"eu-west-1/orders": held}, 9, 65_000),
        ShardFigures(shard_id(6), True, {"ap-south-1/orders": late}, 8, 9_000),
    )


@SIZES
def test_every_line_fits_the_terminal_and_the_worst_shards_come_first(
    width: int, figures: WorkerFigures
) -> None:
    target = console(width)
    with watch(target) as view:
        tell(view, WorkerStarted(figures))
    _, [head, tables, titles, *rows] = parts(target)
    assert all(len(line) <= width for line in screen_of(target).lines)
    assert head.startswith("mirror  worker host:1 ")
    assert re.search(r" up 0 s$", head)
    assert tables == "us-east-1/orders → eu-west-1/orders, ap-south-1/orders"
    assert titles.split() == ["shard", "state", "behind", "records", "per", "second"]
    assert [re.split(r"  +", row.strip()) for row in rows[:8]] == [
        ["1414576573626-00000005", "held 0 s", "1 min 5 s", "9", "0"],
        ["╰ eu-west-1/orders: The item is too large."],
        ["1414576573627-00000006", "retrying 0 s", "9 s", "8", "0"],
        ["1414576573625-00000004", "retrying 0 s", "0.4 s", "7", "0"],
        ["╰ PutItem on ap-south-1/orders: too much at once."],
        ["1414576573624-00000003", "reading", "2 h 5 min", "5", "0"],
        ["1414576573622-00000001", "reading", "0 s", "1,234,567", "0"],
        ["1414576573623-00000002", "waiting", "—", "0", "0"],
    ]


@SIZES
@pytest.mark.parametrize("height", [24, 50])
def test_hundreds_of_shards_leave_room_and_the_rest_is_counted(width: int, height: int) -> None:
    target = console(width, height)
    figures = reading(*(ShardFigures(shard_id(n), n % 3 > 0, {}, n, n) for n in range(500)))
    figures.shards[shard_id(77)].troubles["eu-west-1/orders"] = Trouble("Too large.", held=True)
    with watch(target) as view:
        tell(view, WorkerStarted(figures))
    _, picture = parts(target)
    assert 1 + len(picture) <= height * 0.6
    assert "held" in picture[3]
    assert "Too large." in picture[4]
    assert shard_id(499)[-8:] in picture[5], "of the others, what is furthest behind"
    [more] = [line for line in picture if line.startswith("…")]
    found = re.fullmatch(r"… and (\d+) more: (\d+) reading, 167 waiting", more)
    assert found
    rows = sum(line.startswith("14145") for line in picture)
    assert rows >= 5
    assert int(found[1]) + rows == 500


@pytest.mark.parametrize("stuck", [1, 5, 6, 7, 8, 9, 10, 11, 12, 200])
@pytest.mark.parametrize("reasons", [1, 3])
def test_shards_shown_and_counted_are_all_whatever_fits(stuck: int, reasons: int) -> None:
    target = console(80, 24)
    figures = reading(*(ShardFigures(shard_id(n), begun=True) for n in range(stuck + 3)))
    for number in range(stuck):
        trouble = Trouble(f"Reason {number % reasons}.")
        figures.shards[shard_id(number)].troubles["eu-west-1/orders"] = trouble
    with watch(target) as view:
        tell(view, WorkerStarted(figures))
    _, picture = parts(target)
    assert 1 + len(picture) <= 24 * 0.6
    rows = [line for line in picture if line.startswith("14145")]
    more = [int(line.split()[2]) for line in picture if line.startswith("…")]
    assert len(rows) + sum(more) == stuck + 3
    for number, line in enumerate(picture):
        if line.startswith("  ╰"):
            assert "retrying" in picture[number - 1], "a reason stands below the shards that have it"


@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_narrow_terminal_cuts_and_breaks_nothing(width: int, figures: WorkerFigures) -> None:
    target = console(width)
    with watch(target) as view:
        tell(view, WorkerStarted(figures))
    assert all(len(line) <= width for line in screen_of(target).lines)
    assert any("…00000005" in line for line in screen_of(target).lines)


@SIZES
def test_the_sums_tell_everything_that_was_done(width: int) -> None:
    target, figures = console(width), reading()
    figures.read, figures.written, figures.retried, figures.conflicts = 1_000, 2_000, 30, 1
    figures.superseded, figures.failed, figures.gaps = 4, 3, 2
    with watch(target) as view:
        tell(view, WorkerStarted(figures))
        tell(view, Refused(shard_id(1), "eu-west-1/orders", change(1), "No.", kept=True))
    text = " · ".join(parts(target)[1])
    for words in (
        "1,000 read", "2,000 written", "30 retried", "1 conflict ", "4 superseded", "2 times data lost",
        "3 refused (1 put aside)", "This worker has no shards at the moment.",
    ):  # fmt: skip
        assert words in text


async def test_speed_is_that_of_the_last_seconds(figures: WorkerFigures) -> None:
    target, clock = console(), VirtualClock()
    shard = figures.shards[shard_id(1)]
    with watch(target, clock) as view:
        tell(view, WorkerStarted(figures))
        for second in range(60):
            await clock.sleep(1.0)
            records = 100 if second < 40 else 20
            shard.records += records
            figures.read += records
            tell(view, Progressed(shard.shard, records, 0))
    _, picture = parts(target)
    [row] = [line for line in picture if "-00000001" in line]
    assert row.split()[-1] == "20"
    assert any("20 records/s" in line for line in picture)
    assert "up 1 min" in picture[0]


async def test_a_shard_that_was_lost_and_taken_again_has_no_negative_speed(figures: WorkerFigures) -> None:
    target, clock = console(), VirtualClock()
    with watch(target, clock) as view:
        tell(view, WorkerStarted(figures))
        for _ in range(20):
            await clock.sleep(1.0)
            tell(view)
        figures.shards[shard_id(1)] = ShardFigures(shard_id(1), begun=True, records=40)
    [row] = [line for line in parts(target)[1] if "-00000001" in line]
    assert row.split()[-1] == "4.0"


async def test_it_tells_for_how_long_a_shard_has_not_got_on(figures: WorkerFigures) -> None:
    target, clock = console(), VirtualClock()
    with watch(target, clock) as view:
        tell(view, WorkerStarted(figures))
        await clock.sleep(200.0)
        tell(view)
        assert "held 3 min" in parts(target)[1][3]
        troubles = dict(figures.shards[shard_id(5)].troubles)
        figures.shards[shard_id(5)].troubles.clear()
        tell(view)
        figures.shards[shard_id(5)].troubles.update(troubles)
        await clock.sleep(7.0)
        tell(view)
        await clock.sleep(5.0)
        tell(view)
        assert "held 5 s" in parts(target)[1][3]


@SIZES
def test_it_tells_who_else_holds_how_many_leases(width: int) -> None:
    owners = ["host:1"] * 3 + ["b"] * 12 + ["c"] * 4 + [None] * 2
    leases = [lease(number, owner) for number, owner in enumerate(owners)]
    leases.append(lease(99, checkpoint="SHARD_END"))
    target = console(width)
    with watch(target, leases={each.key: each for each in leases}):
        pass
    assert parts(target)[1][-1] == "leases: this worker 3 · b 12 · c 4 · 2 free · 1 done with"


def test_hundreds_of_workers_do_not_fill_the_terminal() -> None:
    leases = [lease(number, f"ip-10-0-0-{number}.eu-west-1.compute.internal:4711") for number in range(300)]
    target = console()
    with watch(target, leases={each.key: each for each in leases}):
        pass
    text = flat(" ".join(parts(target)[1]))
    assert "this worker 0" in text
    assert "294 other workers 294" in text
    assert len(parts(target)[1]) <= HEIGHT * 0.6


def test_what_must_not_be_missed_stands_above_the_picture() -> None:
    target = console(200)
    with watch(target) as view:
        tell(view, WorkerStarted(reading()), ShardTaken(shard_id(1), "TRIM_HORIZON"))
        tell(view, ShardTaken(shard_id(2), "111000000000000000000123"))
        tell(view, Stalled(shard_id(2), "eu-west-1/orders", 17, "Too much at once"))
        tell(view, Refused(shard_id(1), "eu-west-1/orders", change(1), "The item is too large.", kept=False))
        tell(view, Refused(shard_id(2), None, Unreadable(sequence=7, reason="x"), "It is odd.", kept=True))
        tell(view, Conflicted(shard_id(2), "eu-west-1/orders", change(2), "Version 7 is there."))
        tell(view, Progressed(shard_id(2), 5, 0), Progressed(shard_id(2), 5, 0), Remark("All is well."))
        tell(view, ShardLeft(shard_id(2), "its end is reached"))
    above, _ = parts(target)
    assert [line.removeprefix("22:13:20Z  ") for line in above] == [
        "Shard 1414576573622-00000001 is taken, from the oldest record on that the stream has.",
        "Shard 1414576573623-00000002 is taken, from behind …000000123 on.",
        "eu-west-1/orders does not take 17 changes of shard 1414576573623-00000002 at the moment: Too much at once.",
        (
            'Shard 1414576573622-00000001 is held by what is refused for good by eu-west-1/orders: key {"id":{"S":"order-1"}}: '
            "The item is too large."
        ),
        "Refused for good, and put aside: record 7: It is odd.",
        'Conflict at eu-west-1/orders, key {"id":{"S":"order-2"}}: Version 7 is there.',
        "Shard 1414576573623-00000002 gets on again.",
        "Note: All is well.",
        "Shard 1414576573623-00000002 is left: its end is reached.",
    ]
    assert SECRET not in shown(target)


@SIZES
def test_lost_data_is_told_with_the_commands_that_mend_it(width: int) -> None:
    target = console(width)
    far = "arn:aws:dynamodb:ap-southeast-2:123456789012:table/orders-of-a-customer-with-a-long-name"
    with watch(target, destinations=("eu-west-1/orders", far)) as view:
        tell(
            view,
            DataLost(shard_id(1), "the stream has trimmed records of it"),
            DataLost(shard_id(2), "Gone."),
        )
    lines = screen_of(target).lines
    assert "22:13:20Z  DATA LOST: the stream has trimmed records of it." in lines
    assert "22:13:20Z  DATA LOST: Gone." in lines
    assert lines.count("  asyncrep diff-tables us-east-1/orders eu-west-1/orders --repair") == 1
    # The terminal breaks it, not we: it can be copied.
    assert f"  asyncrep diff-tables us-east-1/orders {far} --repair" in lines


async def test_the_same_stall_is_told_every_half_minute_at_most() -> None:
    target, clock = console(200), VirtualClock()
    with watch(target, clock) as view:
        for _ in range(int(STALL_SECONDS * 2)):
            for destination in ("a", "b"):
                tell(view, Stalled(shard_id(1), destination, 1, "Too much at once."))
            await clock.sleep(1.0)
        tell(view, Stalled(shard_id(1), "a", 1, "Another reason."))
    above = [line for line in parts(target)[0] if "does not take" in line]
    assert [line.split()[1] for line in above] == ["a", "b", "a", "b", "a"]


async def test_reasons_that_never_come_again_are_forgotten() -> None:
    clock = VirtualClock()
    sieve = Sieve(clock)
    for number in range(20_000):
        assert sieve.sift(Stalled(shard_id(1), "a", 1, f"Request {number} was refused."))
        await clock.sleep(0.1)
    assert len(sieve._quiet_until) < 3_000


async def test_a_record_that_holds_its_shard_is_told_again_after_minutes_only() -> None:
    target, clock = console(200), VirtualClock()
    with watch(target, clock) as view:
        for _ in range(int(HELD_SECONDS / 60) + 1):
            tell(view, Refused(shard_id(1), "a", change(1), "Too large.", kept=False))
            await clock.sleep(60.0)
    assert sum("is held by" in line for line in parts(target)[0]) == 2


def test_a_flood_is_counted_and_hides_no_loss() -> None:
    target = console(200)
    with watch(target) as view:
        flood = [Conflicted(shard_id(1), "a", change(number), "Settled.") for number in range(5_000)]
        tell(view, *flood, DataLost(shard_id(1), "Gone."), Remark("Still here."))
    above = parts(target)[0]
    assert sum("Conflict" in line for line in above) == LINES_AT_ONCE
    assert f"… and {5_000 - LINES_AT_ONCE:,} more conflicts" in above
    assert any("DATA LOST: Gone." in line for line in above)
    assert any("Still here." in line for line in above)


@pytest.mark.parametrize("quiet", [True, False])
def test_hostile_names_cannot_steer_the_terminal(quiet: bool) -> None:
    target = console(120)
    bad = f"[bold]{HOSTILE}"
    trouble = {bad: Trouble(bad)}
    figures = reading(ShardFigures(bad, begun=True, troubles=trouble))
    leases = {bad: lease(1, bad)}
    record = change(1, key=f'{{"id":{{"S":"{bad}"}}}}'.encode())
    with watch(target, task=bad, worker=bad, destinations=(bad,), leases=leases, quiet=quiet) as view:
        tell(view, WorkerStarted(figures), ShardTaken(bad, bad), ShardLeft(bad, bad), Remark(bad))
        tell(view, Stalled(bad, bad, 1, bad), Conflicted(bad, bad, record, bad), DataLost(bad, bad))
        tell(view, Refused(bad, bad, record, bad, kept=True), Refused(bad, None, record, bad, kept=False))
    raw = re.sub(r"\x1b\[(?:\?25[lh]|\d*[AK]|2K)", "", shown(target)).replace("\r", "")
    assert not [character for character in raw if not character.isprintable() and character != "\n"]
    assert "[bold]\\x1b[2J\\x9b1A\\n\\r\\u202e\\x07\\x00" in raw


def test_a_key_of_kilobytes_is_cut() -> None:
    target = console(400)
    key = b'{"id":{"S":"%s"}}' % (b"x" * 2_000)
    with watch(target) as view:
        tell(view, Conflicted(shard_id(1), "a", change(1, key), "Settled."))
    [line] = parts(target)[0]
    assert line.endswith("xxx…: Settled.")
    assert len(line) < 200


def test_quiet_shows_warnings_and_errors_and_nothing_else(figures: WorkerFigures) -> None:
    target = console(200)
    with watch(target, quiet=True) as view:
        tell(view, WorkerStarted(figures), ShardTaken(shard_id(1), "LATEST"), Remark("All is well."))
        tell(view, ShardLeft(shard_id(1), "End."), Stalled(shard_id(1), "a", 1, "Too much."))
        tell(view, Progressed(shard_id(1), 1, 1))
        tell(view, Conflicted(shard_id(1), "a", change(1), "Settled."))
    told = shown(target).splitlines()
    assert [line.split("  ", 1)[1].split()[0] for line in told] == ["a", "Conflict"]
    assert "\x1b" not in shown(target)


async def test_it_is_drawn_again_and_again_until_cancelled(figures: WorkerFigures) -> None:
    target, clock = console(), VirtualClock()
    with watch(target, clock) as view:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(view.run())
            await asyncio.sleep(0)
            view.tell(WorkerStarted(figures))
            view.tell(Remark("All is well."))
            assert "All is well." not in shown(target), "telling must be quick"
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert "All is well." in shown(target)
            running.cancel()
    assert set(clock.slept) == {REFRESH_SECONDS}


def test_what_was_told_last_is_shown_and_the_cursor_comes_back_when_a_worker_fails() -> None:
    target = console()

    def fail() -> None:
        with watch(target) as view:
            view.tell(Remark("These were its last words."))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    text = shown(target)
    assert "These were its last words." in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


class _Gone(io.StringIO):
    """A terminal that goes after a while."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self._left = writes

    def write(self, text: str) -> int:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("writes", [0, 1, 2, 3, 4, 5])
def test_a_terminal_that_is_gone_ends_no_worker_and_gathers_nothing(
    writes: int, quiet: bool, figures: WorkerFigures
) -> None:
    target = console()
    target.file = _Gone(writes)
    streams = sys.stdout, sys.stderr
    with watch(target, quiet=quiet) as view:
        tell(view, WorkerStarted(figures))
        for number in range(1_000):
            tell(view, DataLost(shard_id(number), "Gone."))
    assert (sys.stdout, sys.stderr) == streams
    assert len(target._buffer) < 1_000
    target.file = io.StringIO()
