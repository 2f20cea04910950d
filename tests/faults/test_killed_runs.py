"""Repairs that are killed or interrupted at any moment: nothing is lost, and another run finishes the work."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Ran, ended, group_is_gone, json_lines, wait_until
from tests.support.ordeal import OUTPUT, Ordeal

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.fault_proxy import FaultProxy

ITEMS = 200
KINDS = {"PutItem": "missing", "UpdateItem": "different", "DeleteItem": "extraneous"}


def repair_until_signal(
    ordeal: Ordeal, proxy: FaultProxy, number: signal.Signals, seed: int
) -> tuple[str, Ran]:
    """Repair until a signal comes at some call: before the service sees it, or before its answer is sent.

    Returns:
        The operation of that call, and the run.
    """
    chance = random.Random(seed)
    stage = chance.choice(("Scan", "BatchGetItem", *KINDS))
    most = ordeal.mixture.counts[KINDS[stage]] if stage in KINDS else 3
    processes: list[subprocess.Popen[str]] = []
    proxy.at(
        chance.randint(1, most),
        lambda: processes[0].send_signal(number),
        stage,
        landed=chance.random() < 0.5,
    )
    ordeal.cli.environment["AWS_ENDPOINT_URL"] = proxy.url
    command = (*ordeal.command, "--repair", "--segments", "2", "--output", OUTPUT)
    with ordeal.cli.start(*command) as process:
        processes.append(process)
        ran = ended(process)
    assert group_is_gone(process)
    wait_until(lambda: proxy.under_way == 0)
    return stage, ran


def survive(engine: Engine, proxy: FaultProxy, folder: Path, seed: int, number: signal.Signals) -> None:
    ordeal = Ordeal.of(engine, folder, seed, ITEMS)
    stage, ran = repair_until_signal(ordeal, proxy, number, seed)
    if number is signal.SIGKILL:
        assert (ran.code, ran.stdout, ran.stderr) == (-number, "", "")
    else:
        assert (ran.code, ran.stderr) == (130, "Interrupted.\n")
        assert ran.summary["complete"] is False
    if stage != "DeleteItem":
        assert proxy.carried_out["DeleteItem"] == 0
    ordeal.assert_half_way(deletions=stage == "DeleteItem")
    ordeal.assert_honest(whole_lines(ordeal))

    again = ordeal.run(engine.url, "--repair", "--output", OUTPUT)
    assert (again.code, again.stderr) == (0, "")
    ordeal.assert_equal()
    ordeal.assert_honest(ordeal.found)


def whole_lines(ordeal: Ordeal) -> list[dict[str, object]]:
    """The lines of the output file as far as they were written; there may be no file yet."""
    path = ordeal.cli.folder / OUTPUT
    text = path.read_text() if path.exists() else ""
    return json_lines(text[: text.rfind("\n") + 1])


def test_a_repair_that_is_killed_is_finished_by_the_next(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int
) -> None:
    survive(engine, proxy, tmp_path, seed, signal.SIGKILL)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(21, 27), indirect=True)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_repairs_that_end_at_any_moment_are_finished_by_the_next(
    engine: Engine, proxy: FaultProxy, tmp_path: Path, seed: int, number: signal.Signals
) -> None:
    survive(engine, proxy, tmp_path, seed, number)
