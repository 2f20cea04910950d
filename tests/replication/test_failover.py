"""Real worker processes of one task: whatever becomes of one, the others see to all of its work, in order."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import FAILOVER, SOURCE, Fleet, Load, Process, fleet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def three(stack: ExitStack, running: Fleet) -> list[Process]:
    """Start three workers, and wait until each has its share."""
    workers = [stack.enter_context(running.worker()) for _ in range(3)]
    running.wait_for_shares(*workers)
    return workers


def test_a_killed_workers_shards_are_taken_over_and_every_key_goes_on_in_order(tmp_path: Path) -> None:
    with fleet(tmp_path, "--guard", "sequence") as running, ExitStack() as stack:
        load = Load(running.endpoint, SOURCE, seed=1)
        with load.running():
            workers = three(stack, running)
            before = load.written
            running.wait_until(lambda: load.written > before + 600)
            dead = running.held_by(workers[0])
            assert dead
            workers[0].kill()
            seconds = running.takeover(dead, time.monotonic())
        print(f"takeover after {seconds:.1f} s with a failover of {FAILOVER} s")
        running.wait_until_equal()
        running.assert_in_order()
        for worker in workers[1:]:
            assert worker.end() == 0
    assert seconds < FAILOVER + 15
