"""How a worker tells whether it is well: in a file that is replaced every few seconds, and on a port."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncrep.flow.clock import Clock

PATH = "/healthz"

_LONGEST_HEAD = 8 * 1024
_SLOWEST_SECONDS = 5.0
_MOST_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a worker is well, as of some moment.

    Attributes:
        time: the moment, in seconds since the epoch.
        healthy: whether it does its work.
        reason: why not, in one sentence; empty when it is well.
        shards: how many shards it holds.
        millis_behind: how far the slowest of them is behind; None while nothing is known.
    """

    time: float
    healthy: bool
    reason: str = ""
    shards: int = 0
    millis_behind: int | None = None

    def as_json(self) -> bytes:
        """Return it as one line of JSON."""
        return msgspec.json.encode(self) + b"\n"


async def keep_health_file(
    path: Path,
    health: Callable[[], Health],
    clock: Clock,
    *,
    every: float = 5.0,
    on_failure: Callable[[str], None] = lambda _sentence: None,
) -> None:
    """Replace a file by the present health again and again, until cancelled; then it is removed.

    Whoever reads it sees a whole state, and by its ``time`` whether anybody still writes it.

    Args:
        path: the file.
        health: tells the present health.
        clock: passes the time between two writes.
        every: seconds between them.
        on_failure: is told once when writing begins to fail; and again only after it has worked in between.

    Raises:
        UsageError: the first write fails: the folder does not exist, or may not be written to.
    """
    write_health(path, health())
    is_failing = False
    try:
        while True:
            await clock.sleep(every)
            try:
                _replace(path, health().as_json())
                is_failing = False
            except OSError as error:
                if not is_failing:
                    on_failure(
                        f"The health file {path} cannot be written any more: {error.strerror or error}."
                    )
                is_failing = True
    finally:
        _remove(path)


def write_health(path: Path, health: Health) -> None:
    """Replace a file by the present health.

    Raises:
        UsageError: it cannot be written: the folder does not exist, or may not be written to.
    """
    try:
        _replace(path, health.as_json())
    except OSError as error:
        raise UsageError(f"The health file {path} cannot be written: {error.strerror or error}.") from error


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)  # whoever supervises the worker may be another user
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@asynccontextmanager
async def serve_health(
    health: Callable[[], Health], port: int, *, host: str = "127.0.0.1", slowest: float = _SLOWEST_SECONDS
) -> AsyncIterator[int]:
    """Answer ``GET /healthz`` with 200 or 503 and the health as JSON, for the length of the block.

    One request a connection. What is no request, or takes too long to become one, is answered or dropped
    without any effect on the block.

    Args:
        health: tells the present health.
        port: where to listen; 0 takes a free one.
        host: the address to listen on; an address of all interfaces lets others ask, too.
        slowest: seconds that a client may take to ask, and again to take its answer.

    Yields:
        The port.

    Raises:
        UsageError: nothing can listen there.
    """
    answering = _Answering(health, slowest)
    try:
        server = await asyncio.start_server(answering.answer, host, port, limit=_LONGEST_HEAD)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Health cannot be told on {host}:{port}: {reason}.") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await answering.end()
        await server.wait_closed()


class _Answering:
    """Answers connections, and ends those that are open when nobody answers any more."""

    def __init__(self, health: Callable[[], Health], slowest: float) -> None:
        self._health = health
        self._slowest = slowest
        self._open: set[asyncio.Task[Any]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            # A client that is slow, gone or talks nonsense is no concern of the worker's.
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._exchange(reader, writer)
        except asyncio.CancelledError:
            # The end of the block, which is of nobody's concern who asks how the worker is.
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._slowest):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        writer.write(self._answer_to(head))
        async with asyncio.timeout(self._slowest):
            await writer.drain()

    def _answer_to(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response("400 Bad Request", b'{"error":"This is no HTTP request."}\n')
        method, target, _ = words
        if method not in {b"GET", b"HEAD"}:
            return _response(
                "405 Method Not Allowed",
                b'{"error":"Only GET and HEAD are answered."}\n',
                "Allow: GET, HEAD\r\n",
            )
        if target.split(b"?", 1)[0] != PATH.encode():
            status, body = "404 Not Found", b'{"error":"Only /healthz is here."}\n'
        else:
            health = self._health()
            status, body = "200 OK" if health.healthy else "503 Service Unavailable", health.as_json()
        return _response(status, body, bodiless=method == b"HEAD")

    async def end(self) -> None:
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)


def _response(status: str, body: bytes, headers: str = "", *, bodiless: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n{headers}\r\n"
    )
    return head.encode() + (b"" if bodiless else body)
