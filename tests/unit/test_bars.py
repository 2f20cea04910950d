"""Progress: bars on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.progress import Progress

from asyncrep import Advanced, Note, PassEnded, PassStarted, Report, RunStarted, VirtualClock
from asyncrep.backup.report import BackupReport, RestoreReport
from asyncrep.cli.bars import PLAIN_SECONDS, Bars, Lines, progress
from asyncrep.progress import BackupStarted
from tests.support.cli import Screen

if TYPE_CHECKING:
    from asyncrep import Event, Observer

HOSTILE = "\x1b[2J\x9b1A\n\u202e"


def console(width: int = 80, *, terminal: bool = False) -> Console:
    # The environment of whoever runs the tests says nothing about these consoles.
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None,
        legacy_windows=False, _environ={"TERM": "xterm"},
    )  # fmt: skip


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def tell(observer: Observer, *events: Event) -> None:
    for event in events:
        observer.notice(event)


@pytest.fixture
def report() -> Report:
    return Report("us-east-1/orders", "eu-west-1/orders")


async def test_lines_tell_nothing_before_their_time_and_then_everything(report: Report) -> None:
    clock, target = VirtualClock(), console()
    told = Lines(target, clock)
    tell(told, RunStarted(report), PassStarted("primary", 4_000))
    await clock.sleep(PLAIN_SECONDS - 1)
    tell(told, Advanced("primary", 800))
    assert lines(target) == []
    report.missing, report.read_units, report.seconds = 3, 500.0, PLAIN_SECONDS
    await clock.sleep(1)
    tell(told, Advanced("primary", 200))
    assert lines(target) == [
        "primary: 1,000 of about 4,000 items, 200 items/s, 100 units/s, 3 discrepancies, about 15 s left"
    ]


async def test_lines_tell_that_a_table_is_slowed_as_long_as_it_is(report: Report) -> None:
    clock, target = VirtualClock(), console()
    told = Lines(target, clock)
    tell(told, RunStarted(report), PassStarted("primary", None))
    for slowed_to in (None, 1_420.4, None):
        report.slowed_to = slowed_to
        await clock.sleep(PLAIN_SECONDS)
        tell(told, Advanced("primary", 100))
    report.slowed_to = 420.0
    tell(told, PassEnded("primary"))
    slowed = ["slowed to 1,420 units/s, 0 discrepancies" in line for line in lines(target)]
    assert slowed == [False, True, False, False]
    assert not any("slowed" in lines(target)[number] for number in (0, 2, 3))


async def test_lines_come_every_few_seconds_only(report: Report) -> None:
    clock, target = VirtualClock(), console()
    told = Lines(target, clock)
    tell(told, RunStarted(report), PassStarted("primary", None))
    for _ in range(100):
        await clock.sleep(0.25)
        tell(told, Advanced("primary", 10))
    assert len(lines(target)) == 5
    assert lines(target)[-1].startswith("primary: 1,000 items, 40 items/s, ")


async def test_a_pass_ends_with_a_line_however_short(report: Report) -> None:
    target = console()
    told = Lines(target, VirtualClock())
    tell(told, RunStarted(report), PassStarted("replica", 7), Advanced("replica", 5), PassEnded("replica"))
    assert lines(target) == ["replica: 5 items, 0 items/s, 0 units/s, 0 discrepancies, done"]


async def test_each_pass_counts_for_itself(report: Report) -> None:
    clock, target = VirtualClock(), console()
    told = Lines(target, clock)
    tell(told, RunStarted(report), PassStarted("primary", 10))
    report.read_units, report.seconds = 100.0, 10.0
    await clock.sleep(10)
    tell(told, Advanced("primary", 10), PassEnded("primary"), PassStarted("replica", 10))
    report.read_units, report.seconds = 120.0, 20.0
    await clock.sleep(10)
    tell(told, Advanced("replica", 30), PassEnded("replica"))
    assert lines(target)[-1] == "replica: 30 items, 3 items/s, 2 units/s, 0 discrepancies, done"


async def test_an_estimate_that_was_too_low_leaves_no_negative_time(report: Report) -> None:
    clock, target = VirtualClock(), console()
    told = Lines(target, clock)
    tell(told, RunStarted(report), PassStarted("primary", 10))
    await clock.sleep(PLAIN_SECONDS)
    tell(told, Advanced("primary", 1_000))
    assert lines(target)[0].endswith("about 0 s left")


async def test_one_discrepancy_is_singular(report: Report) -> None:
    target = console()
    report.missing = 1
    tell(Lines(target, VirtualClock()), RunStarted(report), PassStarted("primary", 1), PassEnded("primary"))
    assert "1 discrepancies" not in lines(target)[0]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_note_is_told_and_cannot_steer(report: Report, terminal: bool) -> None:
    target = console(200, terminal=terminal)
    with progress(target, quiet=False) as told:
        tell(told, RunStarted(report), Note(f"Only the primary has the index {HOSTILE}."))
    text = "".join(lines(target))
    assert "Note: Only the primary has the index \\x1b[2J\\x9b1A\\n\\u202e." in text


def test_quiet_shows_nothing(report: Report) -> None:
    target = console(terminal=True)
    with progress(target, quiet=True) as told:
        tell(told, RunStarted(report), PassStarted("primary", 5), Advanced("primary", 5), Note("x"))
        tell(told, PassEnded("primary"))
    assert lines(target) == []


def screen_of(target: Console) -> Screen:
    assert isinstance(target.file, io.StringIO)
    screen = Screen()
    screen.feed(target.file.getvalue().replace("\n", "\r\n"))
    return screen


def running(told: Observer, clock: VirtualClock) -> Progress:
    """The bars behind an observer, made to go by that clock."""
    assert isinstance(told, Bars)
    told._bars.get_time = clock.monotonic  # as its constructor would
    return told._bars


@pytest.mark.parametrize("width", [80, 120])
async def test_bars_fit_the_terminal_even_for_large_tables(report: Report, width: int) -> None:
    target, clock = console(width, terminal=True), VirtualClock()
    with progress(target, quiet=False) as told:
        bars = running(told, clock)
        tell(told, RunStarted(report), PassStarted("primary", 50_000_000))
        await clock.sleep(1_000)
        report.missing, report.read_units, report.seconds = 12_345, 12_345_678.0, 1_000.0
        tell(told, Advanced("primary", 12_345_678))
        bars.refresh()
    standing = [line for line in screen_of(target).lines if line]
    assert len(standing) == 1, "a bar is one line"
    assert len(standing[0]) <= width
    for words in ("━━", "12,345,678", "12,346/s", "12,346 units/s", "12,345 found"):
        assert words in standing[0]


@pytest.mark.parametrize("width", [80, 120])
async def test_a_bar_shows_estimate_speed_and_discrepancies(report: Report, width: int) -> None:
    target, clock = console(width, terminal=True), VirtualClock()
    with progress(target, quiet=False) as told:
        bars = running(told, clock)
        tell(told, RunStarted(report), PassStarted("primary", 4_000))
        await clock.sleep(4)
        report.different, report.read_units, report.seconds = 34, 3_720.0, 4.0
        tell(told, Advanced("primary", 3_200))
        bars.refresh()
        now = screen_of(target).lines[-1]
        tell(told, PassEnded("primary"))
    assert re.search(r"primary +━{8,}.* 3,200/~4,000 800/s 930 units/s.* 34 found$", now)
    done = [line for line in screen_of(target).lines if line][-1]
    assert re.search(r"primary +━{8,} 3,200/3,200 800/s 930 units/s.* 34 found$", done)


@pytest.mark.parametrize("width", [80, 120])
async def test_a_bar_of_a_large_table_shows_that_it_is_slowed_as_long_as_it_is(
    report: Report, width: int
) -> None:
    target, clock = console(width, terminal=True), VirtualClock()
    with progress(target, quiet=False) as told:
        bars = running(told, clock)
        tell(told, RunStarted(report), PassStarted("primary", 50_000_000))
        await clock.sleep(1_000)
        report.missing, report.read_units, report.seconds = 12_345, 12_345_678.0, 1_000.0
        report.slowed_to = 12_420.0
        tell(told, Advanced("primary", 12_345_678))
        bars.refresh()
        slowed = screen_of(target).lines[-1]
        report.slowed_to = None
        bars.refresh()
        free = screen_of(target).lines[-1]
        report.slowed_to = 420.0
        tell(told, PassEnded("primary"))
    done = [line for line in screen_of(target).lines if line][-1]
    assert len(slowed) <= width
    for words in ("━", "12,345,678/~50,000,000", "slowed to 12,420 units/s", "12,345 found"):
        assert words in slowed
    for line in (free, done):
        assert "slowed" not in line
        assert "12,346/s 12,346 units/s" in line


def test_an_ended_bar_is_full_whatever_the_estimate_was(report: Report) -> None:
    clock = VirtualClock()
    target = console(terminal=True)
    bars = Progress(console=target, auto_refresh=False, get_time=clock.monotonic)
    told = Bars(bars, target)
    tell(told, RunStarted(report), PassStarted("primary", 10), Advanced("primary", 25), PassEnded("primary"))
    tell(told, PassStarted("replica", None), Advanced("replica", 3), PassEnded("replica"))
    tell(told, PassStarted("delete", 0), PassEnded("delete"))
    assert [(task.description, task.completed, task.total, task.finished) for task in bars.tasks] == [
        ("primary", 25, 25, True), ("replica", 3, 3, True), ("delete", 0, 0, True),
    ]  # fmt: skip


def test_the_cursor_comes_back_when_a_run_fails(report: Report) -> None:
    target = console(terminal=True)

    def fail() -> None:
        with progress(target, quiet=False) as told:
            tell(told, RunStarted(report), PassStarted("primary", 10))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    text = "".join(lines(target))
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


async def test_of_a_backup_lines_tell_bytes_and_what_failed() -> None:
    clock, target = VirtualClock(), console()
    told, backup = Lines(target, clock), BackupReport("orders", "s3://b/x")
    tell(told, BackupStarted(backup), PassStarted("backup", 4_000))
    backup.bytes, backup.read_units, backup.seconds = 12_345_678, 500.0, PLAIN_SECONDS
    await clock.sleep(PLAIN_SECONDS)
    tell(told, Advanced("backup", 1_000))
    backup.failed = 2
    tell(told, PassEnded("backup"))
    assert lines(target) == [
        "backup: 1,000 of about 4,000 items, 200 items/s, 100 units/s, 12 MB, about 15 s left",
        "backup: 1,000 items, 200 items/s, 100 units/s, 12 MB, 2 failed, done",
    ]


async def test_a_pass_that_reads_no_table_tells_no_units() -> None:
    clock, target = VirtualClock(), console()
    told = Lines(target, clock)
    tell(told, BackupStarted(RestoreReport("s3://b/x", "orders")), PassStarted("check", None))
    await clock.sleep(1)
    tell(told, Advanced("check", 10), PassEnded("check"))
    without = Lines(target, clock)
    tell(without, PassStarted("verify", None))
    await clock.sleep(1)
    tell(without, Advanced("verify", 10), PassEnded("verify"))
    assert lines(target) == [
        "check: 10 items, 10 items/s, done",
        "verify: 10 items, 10 items/s, done",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_of_a_backup_a_bar_tells_bytes(width: int) -> None:
    target = console(width, terminal=True)
    backup = BackupReport("orders", "s3://b/x", bytes=2_000_000_000, read_units=10, seconds=1.0)
    with progress(target, quiet=False) as bars:
        tell(bars, BackupStarted(backup), PassStarted("backup", 1_234_567), Advanced("backup", 1_200_000))
        tell(bars, PassEnded("backup"))
        tell(bars, PassStarted("verify", None), Advanced("verify", 5), PassEnded("verify"))
    screen = Screen()
    assert isinstance(target.file, io.StringIO)
    screen.feed(target.file.getvalue())
    assert re.search(r"  backup .* 1,200,000/1,200,000 .* 2 GB", screen.text)
    assert re.search(r"  verify .* 5/5 .*/s", screen.text)
