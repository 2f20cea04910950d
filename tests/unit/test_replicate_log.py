"""What a worker logs where nobody watches: JSON lines that programs can read and nothing can break."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import VirtualClock
from asyncrep.change import Unreadable
from asyncrep.cli.replicate_log import PROGRESS_SECONDS
from asyncrep.cli.replicate_view import watching
from asyncrep.flow.tasks import beside
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
from tests.support.cli import json_lines
from tests.support.consoles import HOSTILE, console, shown
from tests.support.replications import SECRET, change, reading, shard_id

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console

    from asyncrep.cli.replicate_view import View

ALWAYS = {"time", "level", "event", "task", "worker"}


def watch(
    target: Console, clock: VirtualClock | None = None, *, quiet: bool = False, name: str = "mirror"
) -> AbstractContextManager[View]:
    return watching(
        target,
        task=name,
        source="us-east-1/orders",
        destinations=["eu-west-1/orders", "ap-south-1/orders"],
        worker=f"{name}-1",
        quiet=quiet,
        clock=clock or VirtualClock(),
        leases=dict,
    )


def logged(target: Console) -> list[dict[str, Any]]:
    return json_lines(shown(target))


def pipe() -> Console:
    return console(40, terminal=False)


def test_each_event_is_one_line_with_its_fields() -> None:
    target = pipe()
    with watch(target) as view:
        view.tell(WorkerStarted(reading()))
        view.tell(ShardTaken(shard_id(1), "TRIM_HORIZON"))
        view.tell(Conflicted(shard_id(1), "eu-west-1/orders", change(2), "Version 7 is there."))
        view.tell(Stalled(shard_id(1), "eu-west-1/orders", 17, "Too much at once."))
        view.tell(Progressed(shard_id(1), 5, 0))
        view.tell(Progressed(shard_id(1), 5, 0))
        view.tell(Refused(shard_id(1), "eu-west-1/orders", change(3), "Too large.", kept=False))
        view.tell(Refused(shard_id(1), None, Unreadable(sequence=None, reason="x"), "Odd.", kept=True))
        view.tell(DataLost(shard_id(1), "Trimmed."))
        view.tell(Remark("All is well."))
        view.tell(ShardLeft(shard_id(1), "Its end is reached."))
    *lines, stopped = logged(target)
    assert {line["time"] for line in lines} == {"2023-11-14T22:13:20.000Z"}
    assert {(line["task"], line["worker"]) for line in lines} == {("mirror", "mirror-1")}
    started, *lines = (
        {name: line[name] for name in line if name not in ALWAYS - {"level", "event"}} for line in lines
    )
    assert started.pop("version")
    shard = {"shard": shard_id(1)}
    there = shard | {"destination": "eu-west-1/orders"}
    sequence = 111_000_000_000_000_000_000_000
    assert [started, *lines] == [
        {
            "level": "info", "event": "started", "source": "us-east-1/orders",
            "destinations": ["eu-west-1/orders", "ap-south-1/orders"],
        },
        {"level": "info", "event": "shard_taken", "checkpoint": "TRIM_HORIZON"} | shard,
        {
            "level": "warning", "event": "conflict", "key": {"id": {"S": "order-2"}},
            "sequence": str(sequence + 2), "reason": "Version 7 is there.",
        } | there,
        {"level": "warning", "event": "stalled", "changes": 17, "reason": "Too much at once."} | there,
        {"level": "info", "event": "resumed"} | shard,
        {
            "level": "error", "event": "refused", "key": {"id": {"S": "order-3"}},
            "sequence": str(sequence + 3), "reason": "Too large.", "kept": False,
        } | there,
        {
            "level": "warning", "event": "refused", "destination": None, "key": None, "sequence": None,
            "reason": "Odd.", "kept": True,
        } | shard,
        {
            "level": "error", "event": "data_lost", "reason": "Trimmed.",
            "remedies": [
                "asyncrep diff-tables us-east-1/orders eu-west-1/orders --repair",
                "asyncrep diff-tables us-east-1/orders ap-south-1/orders --repair",
            ],
        } | shard,
        {"level": "info", "event": "remark", "message": "All is well."},
        {"level": "info", "event": "shard_left", "reason": "Its end is reached."} | shard,
    ]  # fmt: skip
    assert stopped["event"] == "stopped"
    assert SECRET not in shown(target)


async def test_the_figures_come_every_minute_and_at_the_end() -> None:
    target, clock = pipe(), VirtualClock()
    figures = reading(
        ShardFigures(shard_id(1), begun=True, records=600, millis_behind=1_500),
        ShardFigures(shard_id(2), True, {"a": Trouble("No.")}, 300, 9_000),
    )
    with watch(target, clock) as view:
        view.tell(WorkerStarted(figures))
        async with beside(view.run()):
            for _ in range(3):
                await asyncio.sleep(0)
            figures.read += 30
            figures.written, figures.retried, figures.gaps, figures.conflicts, figures.failed = 5, 4, 3, 2, 1
            figures.squashed = figures.superseded = 6
            await asyncio.sleep(0)
        await clock.sleep(30.0)
    lines = [line for line in logged(target) if line["event"] == "progress"]
    assert set(clock.slept[:-1]) == {PROGRESS_SECONDS}
    assert len(lines) >= 2
    assert [line["records"] for line in (lines[0], lines[-1])] == [900, 930]
    assert lines[0]["records_per_second"] == 15.0
    assert {name: lines[-1][name] for name in lines[-1] if name not in ALWAYS} == {
        "records": 930, "records_per_second": 0.5, "written": 5, "squashed": 6, "superseded": 6, "retried": 4,
        "conflicts": 2, "failed": 1, "put_aside": 0, "gaps": 3, "shards": 2, "stuck": 1, "millis_behind": 9_000,
    }  # fmt: skip
    stopped = logged(target)[-1]
    assert (stopped["event"], stopped["level"]) == ("stopped", "info")
    assert stopped["records"] == 930
    assert stopped["seconds"] == clock.monotonic()


def test_progress_is_not_logged_page_by_page() -> None:
    target = pipe()
    with watch(target) as view:
        for _ in range(1_000):
            view.tell(Progressed(shard_id(1), 1_000, 5))
    assert [line["event"] for line in logged(target)] == ["stopped"]


async def test_the_same_stall_is_logged_now_and_then_however_many_shards_have_it() -> None:
    target, clock = pipe(), VirtualClock()
    with watch(target, clock) as view:
        for _ in range(61):
            for number in range(1_500):
                view.tell(Stalled(shard_id(number), "a", 1, "Too much at once."))
            await clock.sleep(1.0)
    stalls = [line["shard"] for line in logged(target) if line["event"] == "stalled"]
    assert len(stalls) == 3 * 1_500
    assert len(set(stalls)) == 1_500


def test_quiet_logs_warnings_and_errors_only() -> None:
    target = pipe()
    with watch(target, quiet=True) as view:
        view.tell(WorkerStarted(reading()))
        view.tell(ShardTaken(shard_id(1), "LATEST"))
        view.tell(Remark("All is well."))
        view.tell(Conflicted(shard_id(1), "a", change(1), "Settled."))
        view.tell(DataLost(shard_id(1), "Trimmed."))
    assert [line["event"] for line in logged(target)] == ["conflict", "data_lost"]


def test_what_ended_a_worker_is_logged_as_an_error() -> None:
    target = pipe()
    with pytest.raises(RuntimeError), watch(target, quiet=True):
        raise RuntimeError("The stream is gone.")
    [line] = logged(target)
    assert (line["event"], line["level"], line["reason"]) == ("stopped", "error", "The stream is gone.")


def test_an_interrupted_worker_has_stopped_and_not_failed() -> None:
    target = pipe()
    with pytest.raises(asyncio.CancelledError), watch(target):
        raise asyncio.CancelledError
    [line] = logged(target)
    assert (line["event"], line["level"]) == ("stopped", "info")


@pytest.mark.parametrize("bad", [HOSTILE, "\x7f\x85\u2028", "\udc80 no text", '"}\n{"level":"info"}', "ü→𝄞"])
def test_names_come_back_as_they_are_and_steer_nothing(bad: str) -> None:
    target = pipe()
    key = json.dumps({"id": {"S": bad}}).encode()
    with watch(target, name=bad) as view:
        view.tell(ShardTaken(bad, bad))
        view.tell(Conflicted(bad, bad, change(1, key), bad))
    text = shown(target)
    assert all(" " <= character <= "~" for character in text.replace("\n", ""))
    taken, conflict, _ = logged(target)
    assert (taken["task"], taken["worker"], taken["shard"]) == (bad, f"{bad}-1", bad)
    assert conflict["key"] == {"id": {"S": bad}}
    assert conflict["reason"] == bad


def test_a_key_that_is_no_json_is_logged_as_text() -> None:
    target = pipe()
    with watch(target) as view:
        view.tell(Conflicted(shard_id(1), "a", change(1, b"\xff no json"), "Settled."))
    assert logged(target)[0]["key"] == "\ufffd no json"


class _Full(io.StringIO):
    """A disk that is full."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("closed", [True, False])
def test_a_log_that_cannot_be_written_ends_no_worker(closed: bool) -> None:
    target = pipe()
    target.file = _Full()
    if closed:
        target.file.close()
    with watch(target) as view:
        view.tell(WorkerStarted(reading()))
