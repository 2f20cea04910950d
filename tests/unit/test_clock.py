"""The system's clock counts on while the machine is suspended, where the system can tell."""

from __future__ import annotations

import time

import pytest

from asyncrep import SystemClock

SUSPENDED = 10_000_000.0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has this clock")
def test_the_time_in_which_the_machine_was_suspended_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, read = SystemClock(), time.clock_gettime
    before = clock.monotonic()
    late = {time.CLOCK_BOOTTIME: SUSPENDED}
    monkeypatch.setattr(time, "clock_gettime", lambda clock: read(clock) + late.get(clock, 0.0))
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
