"""The system's clock counts on while the machine is suspended, where the system can tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asyncrep import SystemClock

if TYPE_CHECKING:
    import pytest

SUSPENDED = 10_000_000.0
BOOTTIME = 7
"""What Linux calls the clock that counts on."""


def test_the_time_in_which_the_machine_was_suspended_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    suspended = 0.0
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", BOOTTIME, raising=False)
    read = {BOOTTIME: lambda: time.monotonic() + suspended}
    monkeypatch.setattr(time, "clock_gettime", lambda clock: read[clock](), raising=False)
    clock = SystemClock()
    before = clock.monotonic()
    suspended = SUSPENDED
    assert SUSPENDED <= clock.monotonic() - before < SUSPENDED + 60


def test_where_there_is_no_such_clock_the_process_s_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()


def test_where_the_system_refuses_that_clock_the_process_s_one_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_clock: int) -> float:
        raise OSError

    monkeypatch.setattr(time, "clock_gettime", refuse)
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()
