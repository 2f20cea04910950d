"""Processes that work on a job and are ended by a signal at one of their calls."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.cli import Cli, ended, group_is_gone, wait_until
from tests.support.scenario import item, items, scene

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.support.cli import Ran
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
_SAVING = """
from asyncrep.diff import saving
from asyncrep.cli.app import main
for name in ("_FIRST_SECONDS", "_SECONDS", "_SHARE"):
    assert hasattr(saving, name)
    setattr(saving, name, {seconds})
main()
"""
SAVING_OFTEN = (sys.executable, "-c", _SAVING.format(seconds=0.01))
SAVING_SELDOM = (sys.executable, "-c", _SAVING.format(seconds=3))
SAVING_NEVER = (sys.executable, "-c", _SAVING.format(seconds=3600))
"""The command line, saving its jobs every few milliseconds, every few seconds, and only when a run begins and ends."""


DIFF = ("diff-tables", "us-east-1/orders", "eu-west-1/orders", "--settle", "0")


TASKS: dict[str, tuple[str, ...]] = {
    "check": (),
    "repair": ("--repair",),
    "repair by key": ("--repair", "--strategy", "batch-get"),
}


MISSING = 400


class Moment(NamedTuple):
    """A call at which a run is ended.

    Attributes:
        number: which of these calls, from 0.
        landed: the service has carried it out, and has not answered yet.
    """

    operation: str
    number: int
    landed: bool = False


def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Sixty equal items, and ten of each kind of discrepancy, in pages of five."""
    same = items(60)
    missing, extra = ([item(f"{kind}{number}") for number in range(10)] for kind in "mx")
    ours, theirs = ([item(f"d{number}", v=version) for number in range(10)] for version in (1, 2))
    played = scene(endpoint, [*same, *missing, *ours], [*same, *extra, *theirs])
    played.primary.page_items = played.replica.page_items = 5
    return played


def many_missing(endpoint: ScriptedDynamo) -> Scene:
    """So many missing items that they are confirmed before all is scanned."""
    played = scene(endpoint, items(MISSING + 60), items(60))
    played.primary.page_items = 50
    return played


def command(task: str, *options: str) -> tuple[str, ...]:
    return (*DIFF, "--segments", "2", "--json", "--output", "d.jsonl", "--job", "j", *TASKS[task], *options)


def other(*options: str) -> tuple[str, ...]:
    return command("check", *options)


def run_until(
    cli: Cli, endpoint: ScriptedDynamo, moment: Moment, number: int, arguments: tuple[str, ...]
) -> Ran:
    """Run until a signal comes at a moment."""
    processes: list[subprocess.Popen[str]] = []

    def end(_: ScriptedDynamo) -> None:
        processes[0].send_signal(number)

    at = endpoint.after if moment.landed else endpoint.before
    at(moment.operation, end, after=moment.number)
    endpoint.on(moment.operation, after=moment.number).delay(0.2)
    with cli.start(*arguments) as process:
        processes.append(process)
        ran = ended(process)
    assert group_is_gone(process)
    return ran


def run_until_told(cli: Cli, endpoint: ScriptedDynamo, *arguments: str) -> Ran:
    """Run until some discrepancies are told and that is saved, then send a SIGTERM."""
    slow = endpoint.on("Scan", after=3, when=lambda body: body.get("Segment") == 1).delay(60).forever()
    with cli.start(*arguments) as process:
        wait_until(lambda: endpoint.count("Scan") > 3)
        wait_until(lambda: state_of(cli)["mark"]["counts"]["missing"])
        process.send_signal(TERM)
        ran = ended(process)
    slow.wait = 0
    return ran


@contextmanager
def stopped_at_a_scan(cli: Cli, endpoint: ScriptedDynamo, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run that waits for the answer to a scan."""
    endpoint.on("Scan", after=3).delay(60).forever()
    with cli.start(*arguments) as process:
        wait_until(lambda: endpoint.count("Scan") > 3)
        yield process


def state_of(cli: Cli) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((cli.folder / "state/jobs/j/state.json").read_bytes())
    return state
