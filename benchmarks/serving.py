"""Serves a protocol on 127.0.0.1 in a process of its own, until it is told to stop or its starter is gone."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class _EndOfInput(asyncio.Protocol):
    """Tells when standard input is closed: the process that started this one is gone."""

    def __init__(self, closed: asyncio.Event) -> None:
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Standard input was closed."""
        self._closed.set()


async def serve(
    protocol: Callable[[], asyncio.Protocol], port: int, counts: str, *, until_input_closes: bool
) -> None:
    """Print the URL as the first line and `counts` as the second, and serve.

    Args:
        protocol: makes what answers one connection.
        port: 0 picks a free one.
        counts: what is served, as JSON.
        until_input_closes: stop when standard input is closed, too.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_input_closes:
        await loop.connect_read_pipe(lambda: _EndOfInput(stopped), sys.stdin)
    server = await loop.create_server(protocol, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    print(counts, flush=True)
    await stopped.wait()
    server.close()
