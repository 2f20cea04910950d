"""Starts worker processes and sees them off."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrep.errors import AsyncrepError
from asyncrep.parallel.messages import Frames, framed

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.parallel.messages import Order

FAREWELL_SECONDS = 10.0
"""What a worker gets to end by itself; when the run ends early, to conclude the writes it has under way."""


def command() -> list[str]:
    """Return what starts a worker: this interpreter, importing what this process imports."""
    return [sys.executable, "-P", str(Path(__file__).with_name("start.py")), *map(str, sys.path)]


class Worker:
    """One worker process, and the way to it.

    Attributes:
        news: what it tells.
    """

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self.news = Frames(process.stdout)
        self._process = process

    @property
    def exit_code(self) -> int | None:
        """How it ended, below zero when a signal ended it; None while it lives."""
        return self._process.returncode

    def send(self, order: Order) -> None:
        """Send an order; whether it arrives is seen by what the worker answers."""
        assert self._process.stdin is not None
        with suppress(ConnectionError, RuntimeError):  # the latter is how uvloop says that the pipe is closed
            self._process.stdin.write(framed(order))

    def dismiss(self) -> None:
        """Let it end when it has done what it has been sent."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def terminate(self) -> None:
        """Have it end as soon as what it has under way is concluded."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._process.wait()


@asynccontextmanager
async def hired(arguments: Sequence[str]) -> AsyncIterator[Worker]:
    """Start a worker; see it off in the end, kindly if possible.

    Raises:
        AsyncrepError: no process can be started.
    """
    worker = await _start(arguments)
    try:
        yield worker
        worker.dismiss()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await worker.wait()
    finally:
        if worker.exit_code is None:
            worker.kill()
            await worker.wait()


async def _start(arguments: Sequence[str]) -> Worker:
    """Start a worker; when that is cancelled meanwhile, see to it that none is left."""
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe))
    try:
        return Worker(await asyncio.shield(starting))
    except OSError as error:
        raise AsyncrepError(f"A worker process could not be started: {error.strerror or error}.") from error
    except asyncio.CancelledError:
        with suppress(OSError):
            worker = Worker(await starting)
            worker.kill()
            await worker.wait()
        raise
