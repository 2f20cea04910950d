"""An event loop in virtual time: when everybody waits, the time passes at once; the same seed, the same turns."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, NoReturn

EPOCH = 1_700_000_000.0


class StuckError(AssertionError):
    """Everybody waits for something that nobody will do."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    _serial = 0

    def __hash__(self) -> int:
        return self._serial


class _NoSelector(selectors.SelectSelector):
    """Nothing is ever ready: waiting only lets virtual time pass."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StuckError("everybody waits for something that nobody will do")
        self.passed += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose ``time`` is virtual. It is also a ``Clock`` of asyncrep. Threads are refused."""

    def __init__(self) -> None:
        self._waiting = _NoSelector()
        self._tasks_made = 0
        super().__init__(self._waiting)
        self.set_task_factory(self._make_task)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Future[Any]:
        task = _Task(coroutine, loop=loop, **options)
        self._tasks_made += 1
        task._serial = self._tasks_made
        return task

    def time(self) -> float:
        return self._waiting.passed

    def run_in_executor(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise AssertionError("a thread would make the order of events a matter of luck")

    # ── As a Clock ──────────────────────────────────────────────────────────────────────────────────

    def monotonic(self) -> float:
        return self._waiting.passed

    def now(self) -> float:
        return EPOCH + self._waiting.passed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
