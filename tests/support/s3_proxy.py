"""A proxy before S3 that lets chosen requests go wrong: cut, lost, refused or held up, and that remembers all."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_LARGEST_REQUEST = 64 * 1024 * 1024
_HOPS = frozenset({"connection", "content-length", "date", "server", "transfer-encoding", "expect"})
_QUERIES = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "partNumber"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "list-type"): "ListObjectsV2",
    ("POST", "delete"): "DeleteObjects",
}
_METHODS = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


def operation_of(method: str, query: Mapping[str, str]) -> str:
    """What S3 calls a request."""
    for (verb, name), operation in _QUERIES.items():
        if method == verb and name in query:
            return operation
    return _METHODS[method]


@dataclass(frozen=True)
class Cut:
    """The answer ends after so many bytes of its body, and the connection with it."""

    after: int


@dataclass(frozen=True)
class Lose:
    """The request is carried out, or not, and its connection reset instead of an answer."""

    carried_out: bool = True


@dataclass(frozen=True)
class Refuse:
    """The request is refused."""

    status: int
    code: str


@dataclass(frozen=True)
class Hold:
    """The request is carried out, and its answer held back until somebody lets it go."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)


Fault = Cut | Lose | Refuse | Hold


@dataclass
class S3Proxy:
    """The proxy, what it is to do, and what it saw.

    Attributes:
        upstream: where S3 is.
        url: where the proxy listens, within ``async with``.
        seen: how many requests came, by operation.
        headers: those of the requests, by operation.
        body_bytes: the sizes of their bodies.
    """

    upstream: str
    url: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    headers: dict[str, list[Mapping[str, str]]] = field(default_factory=lambda: defaultdict(list))
    body_bytes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _faults: dict[str, deque[Fault | None]] = field(default_factory=lambda: defaultdict(deque))

    def next(self, operation: str, *faults: Fault | None) -> None:
        """Let the next requests of an operation meet with these, one after the other; None: with nothing."""
        self._faults[operation].extend(faults)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=_LARGEST_REQUEST)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        operation = operation_of(request.method, request.query)
        body = await request.read()
        self.seen[operation] += 1
        self.headers[operation].append(request.headers)
        self.body_bytes[operation].append(len(body))
        fault = self._fault_of(operation, request)
        match fault:
            case Refuse(status, code):
                refusal = f"<Error><Code>{code}</Code><Message>By the proxy</Message></Error>"
                return web.Response(status=status, text=refusal, content_type="application/xml")
            case Lose(carried_out=False):
                return reset(request)
        status, headers, answer = await self._pass_on(request, body)
        if isinstance(fault, Lose):
            return reset(request)
        if isinstance(fault, Hold):
            fault.arrived.set()
            await fault.go.wait()
        if request.method == "HEAD":
            return web.Response(status=status, headers=headers)
        if isinstance(fault, Cut):
            return await _send_part(request, status, headers, answer, fault.after)
        headers.pop("Content-Length", None)
        return web.Response(status=status, headers=headers, body=answer)

    def _fault_of(self, operation: str, _: web.Request, /) -> Fault | None:
        """What a request meets with, which has been read."""
        waiting = self._faults[operation]
        return waiting.popleft() if waiting else None

    async def _pass_on(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOPS}
        url = URL(f"{self.upstream}{request.raw_path}", encoded=True)
        async with self._session.request(request.method, url, data=io.BytesIO(body), headers=kept) as answer:
            told = {name: value for name, value in answer.headers.items() if name.lower() not in _HOPS}
            if request.method == "HEAD":
                told["Content-Length"] = answer.headers["Content-Length"]
            return answer.status, told, await answer.read()


async def _send_part(
    request: web.Request, status: int, headers: dict[str, str], body: bytes, after: int
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:after])
    transport: Any = request.transport
    if transport is not None:
        transport.close()
    return response


def reset(request: web.Request) -> web.Response:
    """End a connection without an answer."""
    transport: Any = request.transport
    if transport is not None:  # else whoever asked has gone
        end = transport.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
