"""A small DynamoDB endpoint in memory that fails, lags and races as a test's script says.

async with ScriptedDynamo() as endpoint:
    table = endpoint.create_table("t", "eu-west-1", items=[{"id": {"S": "a"}}])
    endpoint.on("BatchGetItem", table="t", times=2).throttle()
    endpoint.before("PutItem", lambda endpoint: table.delete("a"))
    ...  # run against endpoint.url
    assert table.items == {...}
    assert endpoint.count("BatchGetItem") == 3
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import zlib
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.support.operations import perform
from tests.support.request import Request, Tables
from tests.support.script import (
    Call,
    Corrupt,
    Cut,
    Drop,
    Hook,
    LeaveOut,
    Refuse,
    Selector,
    Statement,
    tables_of,
)
from tests.support.stream_operations import table_named_in
from tests.support.tables import ScriptedTable
from tests.support.values import Item, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

REGION = "us-east-1"

Answer = dict[str, Any] | ServiceError

_CONTENT_TYPE = "application/x-amz-json-1.0"
_LARGEST_REQUEST = 32 * 1024 * 1024
_CREDENTIAL_REGION = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/dynamodb/")
# A letter or digit that begins a text or a number: flipping its lowest bit leaves the JSON readable.
_FLIPPABLE = re.compile(rb'"[SN]":"([A-Za-z0-9])')


class ScriptedDynamo:
    """The endpoint: its tables, its script and what was asked of it.

    Attributes:
        url: where it listens, within `async with`.
        calls: every request in the order of arrival, those that met with a fault too.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.url = ""
        self._port = port
        self.calls: list[Call] = []
        self._tables: Tables = {}
        self._statements: list[Statement] = []
        self._before: list[Hook] = []
        self._after: list[Hook] = []
        self._crashes: list[Exception] = []
        self._runner: web.AppRunner | None = None

    def create_table(
        self,
        name: str,
        region: str = REGION,
        *,
        hash: tuple[str, str] = ("id", "S"),
        range: tuple[str, str] | None = None,
        ttl: str | None = None,
        items: Iterable[Item] = (),
        stream: str | None = None,
        shards: int = 1,
    ) -> ScriptedTable:
        """A new table; the same name in another Region is another table.

        With a `stream` of that view it has one, which tells what is written to it from now on.
        """
        table = ScriptedTable(name, region, [hash] if range is None else [hash, range], ttl)
        for item in items:
            table.put(item)
        if stream is not None:
            table.enable_stream(stream, shards=shards)
        self._tables[region, name] = table
        return table

    def table(self, name: str, region: str = REGION) -> ScriptedTable:
        """The table of this name and Region; KeyError when there is none."""
        return self._tables[region, name]

    def on(
        self,
        operation: str,
        *,
        table: str | None = None,
        region: str | None = None,
        times: int | None = 1,
        after: int = 0,
        when: Callable[[dict[str, Any]], bool] | None = None,
    ) -> Statement:
        """State a fault for the next matching calls.

        Each call meets with the first statement that still takes it; statements made one after the
        other are met one after the other.
        """
        statement = Statement(operation, table, region, times, after, when)
        self._statements.append(statement)
        return statement

    def before(
        self,
        operation: str,
        callback: Callable[[ScriptedDynamo], object],
        *,
        table: str | None = None,
        region: str | None = None,
        times: int | None = 1,
        after: int = 0,
        when: Callable[[dict[str, Any]], bool] | None = None,
    ) -> Hook:
        """Run the callback when a matching call has arrived and nothing was done about it yet."""
        hook = Hook(operation, table, region, times, after, when, run=lambda: callback(self))
        self._before.append(hook)
        return hook

    def after(
        self,
        operation: str,
        callback: Callable[[ScriptedDynamo], object],
        *,
        table: str | None = None,
        region: str | None = None,
        times: int | None = 1,
        after: int = 0,
        when: Callable[[dict[str, Any]], bool] | None = None,
    ) -> Hook:
        """Run the callback when a matching call was carried out and before it is answered."""
        hook = Hook(operation, table, region, times, after, when, run=lambda: callback(self))
        self._after.append(hook)
        return hook

    def requests(self, operation: str, *, table: str | None = None, region: str | None = None) -> list[Call]:
        """The calls of this operation so far."""
        wanted = Selector(operation, table, region, times=None)
        return [call for call in self.calls if wanted.notice(call)]

    def count(self, operation: str, *, table: str | None = None, region: str | None = None) -> int:
        """How many calls of this operation there were so far."""
        return len(self.requests(operation, table=table, region=region))

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=_LARGEST_REQUEST)
        self._route(application)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._crashes:
            raise ExceptionGroup("the scripted endpoint failed", self._crashes)

    def _route(self, application: web.Application) -> None:
        application.router.add_post("/", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            content = await request.read()
        except ConnectionError:
            return web.Response()  # who asked was killed in the middle of it
        try:
            return await self._answer(request, content)
        except Exception as crash:
            # A mistake in the double or in a test's callback fails the test, not only the request.
            self._crashes.append(crash)
            raise

    async def _answer(self, request: web.Request, content: bytes) -> web.StreamResponse:
        call = _read(request, content)
        self._note(call)
        _run(self._before, call)
        statement = self._statement_for(call)
        if statement.wait:
            await asyncio.sleep(statement.wait)
        answer: Answer = {}
        if statement.lands:
            answer = self._perform(call, statement)
            _run(self._after, call)
        match statement.fault:
            case Refuse(error):
                return _respond(error)
            case Drop(orderly=orderly):
                return _drop(request, orderly=orderly)
            case Cut():
                return await _send_half(request, _respond(answer))
            case fault:
                return _respond(answer, corrupt=isinstance(fault, Corrupt))

    def _note(self, call: Call) -> None:
        self.calls.append(call)

    def _statement_for(self, call: Call) -> Statement:
        taking = [statement for statement in self._statements if statement.notice(call)]
        statement = next((each for each in taking if each.fault is not None or each.wait), None)
        if statement is None:
            return Statement(call.operation)
        statement.fired += 1
        return statement

    def _perform(self, call: Call, statement: Statement) -> Answer:
        left_out = statement.fault.amount if isinstance(statement.fault, LeaveOut) else 0
        try:
            return perform(Request(self._tables, call.operation, call.region, call.body, left_out))
        except ServiceError as refusal:
            return refusal


def _read(request: web.Request, content: bytes) -> Call:
    operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    signed = _CREDENTIAL_REGION.search(request.headers.get("Authorization", ""))
    if signed is None:
        raise ValueError("a request must be signed: the Region is read from its credential scope")
    body = json.loads(content)
    return Call(operation, _table_named_in(body), signed[1], body)


def _table_named_in(body: dict[str, Any]) -> str:
    if "RequestItems" in body:
        return next(iter(body["RequestItems"]), "")
    if "TransactItems" in body:
        return next(iter(tables_of(body["TransactItems"])), "")
    if "StreamArn" in body or "ShardIterator" in body:
        return table_named_in(body)
    name: str = body.get("TableName", "")
    return name


def _run(hooks: list[Hook], call: Call) -> None:
    for hook in [each for each in hooks if each.notice(call)]:
        hook.fired += 1
        hook.run()


def _respond(answer: Answer, *, corrupt: bool = False) -> web.Response:
    status = 200
    if isinstance(answer, ServiceError):
        status = answer.status
        kind = f"com.amazonaws.dynamodb.v20120810#{answer.code}"
        answer = {"__type": kind, "message": answer.message, **answer.extra}
    body = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"Content-Type": _CONTENT_TYPE, "x-amz-crc32": str(zlib.crc32(body))}
    return web.Response(body=_flip(body) if corrupt else body, status=status, headers=headers)


def _flip(body: bytes) -> bytes:
    found = _FLIPPABLE.search(body)
    place = 0 if found is None else found.start(1)
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _drop(request: web.Request, *, orderly: bool) -> web.Response:
    """End the connection; the response is for aiohttp, which finds nobody to send it to."""
    if request.transport is not None:
        if not orderly:
            # Lingering for zero seconds makes closing a reset.
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


async def _send_half(request: web.Request, whole: web.Response) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes) else b""
    half = web.StreamResponse(status=whole.status, headers=whole.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half
