"""A proxy for DynamoDB that damages answers, leaves entries of batches undone, and acts at a given call.

Whether a request meets with a fault follows from the seed, the request and how often that very request
came before: not from the order in which requests that are under way together arrive.

    async with FaultProxy(engine.url, seed) as proxy:
        proxy.cut(0.2)
        proxy.leave_unprocessed(0.6)
        proxy.at(40, lambda: process.send_signal(signal.SIGTERM))
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import socket
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

UNPROCESSED = {"BatchGetItem": "UnprocessedKeys", "BatchWriteItem": "UnprocessedItems"}

_PASSED_ON = ("Content-Type", "X-Amz-Target", "X-Amz-Date", "X-Amz-Security-Token", "Authorization")
_LARGEST_REQUEST = 32 * 1024 * 1024
_CONTENT_TYPE = "application/x-amz-json-1.0"
_EXCEEDED = "ProvisionedThroughputExceededException"
_REGION = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/")
_TABLE = re.compile(rb"test-[0-9a-f]{12}")
# What a flip of its lowest bit leaves legible: the damage shows in the checksum and nowhere else.
_FLIPPABLE = re.compile(rb"[a-z0-9]")


@dataclass(frozen=True)
class Seen:
    """A request on its way.

    Attributes:
        repetition: how often this very request came, this time included.
        chance: the draws of this request.
    """

    repetition: int
    operation: str
    body: bytes
    headers: dict[str, str]
    chance: random.Random

    @property
    def tables(self) -> list[str]:
        """The tables it names."""
        decoded = json.loads(self.body)
        return list(decoded.get("RequestItems", ())) or [decoded.get("TableName", "")]


@dataclass(frozen=True)
class Answer:
    """What the engine said."""

    status: int
    body: bytes

    @classmethod
    def of(cls, status: int, content: dict[str, Any]) -> Answer:
        return cls(status, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())

    @classmethod
    def refusal(cls, code: str, message: str) -> Answer:
        return cls.of(400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})


@dataclass(frozen=True)
class Fault:
    """What befalls a share of the requests.

    Attributes:
        operations: those it befalls; any if none is named.
        tries: of requests that are the same to the byte, only so many meet with it; None for all.
    """

    share: float
    operations: tuple[str, ...] = ()
    tries: int | None = None

    def strikes(self, request: Seen) -> bool:
        """Draw whether this request meets with it."""
        if self.operations and request.operation not in self.operations:
            return False
        if self.tries is not None and request.repetition > self.tries:
            return False
        return request.chance.random() < self.share


@dataclass
class Moment:
    """Something that happens once, when the nth of the matching calls arrives, or when it was carried out."""

    number: int
    run: Callable[[], object]
    operations: tuple[str, ...]
    table: str | None
    landed: bool
    seen: int = 0

    def notice(self, request: Seen, *, landed: bool) -> None:
        """Count the call if it matches, and act if it is the one."""
        if landed is not self.landed or (self.operations and request.operation not in self.operations):
            return
        if self.table not in (None, *request.tables):
            return
        self.seen += 1
        if self.seen == self.number:
            self.run()


@dataclass
class FaultProxy:
    """The proxy, its faults and what it saw.

    Attributes:
        upstream: where the engine listens.
        seed: decides which requests meet with faults.
        url: where the proxy listens, within ``async with``.
        carried_out: how many requests the engine answered, by operation.
        struck: how many requests met with a fault, by kind.
        under_way: how many requests are with the engine or wait for it, also of those who have gone.
    """

    upstream: str
    seed: int
    url: str = ""
    carried_out: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    _faults: dict[str, Fault] = field(default_factory=dict)
    _leave: float = 0.0
    _leaves: int | None = None
    _moments: list[Moment] = field(default_factory=list)
    _refusal: Answer | None = None
    _came: Counter[bytes] = field(default_factory=Counter)
    _crashes: list[Exception] = field(default_factory=list)

    def cut(self, share: float, *operations: str, tries: int | None = None) -> None:
        """End this share of the answers at a random byte, and the connection with them."""
        self._faults["cut"] = Fault(share, operations, tries)

    def flip(self, share: float, *operations: str, tries: int | None = None) -> None:
        """Flip one bit of a letter or digit in this share of the answers."""
        self._faults["flip"] = Fault(share, operations, tries)

    def lose(self, share: float, *operations: str, tries: int | None = None) -> None:
        """Carry out this share of the requests and reset their connections without an answer."""
        self._faults["lose"] = Fault(share, operations, tries)

    def leave_unprocessed(self, share: float, batches: int | None = None) -> None:
        """Do not pass on this share of the entries of each batch, and say so in its answer.

        Args:
            share: of the entries.
            batches: after so many of them the service is well again; None for never. Who asks a table
                that throttles whatever it is asked for becomes ever slower, and rightly.
        """
        self._leave, self._leaves = share, batches

    def refuse(self, code: str, message: str) -> None:
        """Refuse every request from now on."""
        self._refusal = Answer.refusal(code, message)

    def mend(self) -> None:
        """Let every request pass from now on, and come back undamaged."""
        self._refusal = None
        self._faults.clear()
        self._leave = 0.0

    def at(
        self,
        number: int,
        run: Callable[[], object],
        *operations: str,
        table: str | None = None,
        landed: bool = False,
    ) -> None:
        """Act when the nth call of these operations (any, if none is named) arrives, or has ``landed``."""
        self._moments.append(Moment(number, run, operations, table, landed))

    def forget(self) -> None:
        """Forget the moments that have not come."""
        self._moments.clear()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=_LARGEST_REQUEST)
        application.router.add_post("/", self._serve)
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
        if self._crashes:
            raise ExceptionGroup("the proxy failed", self._crashes)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.under_way += 1
        try:
            seen = self._note(request, await request.read())
            answer = await self._answer(seen)
            return await self._damaged(request, seen, answer)
        except (ConnectionError, asyncio.CancelledError):
            raise  # whoever asked has gone
        except Exception as crash:
            self._crashes.append(crash)  # fails the test, not only the request
            raise
        finally:
            self.under_way -= 1

    def _note(self, request: web.Request, body: bytes) -> Seen:
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        self._came[body] += 1
        named = zlib.crc32(_TABLE.sub(b"", body))  # a table has another name in every run
        signed = _REGION.search(request.headers["Authorization"])
        region = signed[1] if signed else ""
        chance = random.Random(f"{self.seed}/{region}/{operation}/{named}/{self._came[body]}")
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        return Seen(self._came[body], operation, body, headers, chance)

    async def _answer(self, seen: Seen) -> Answer:
        for moment in self._moments:
            moment.notice(seen, landed=False)
        if self._refusal is not None:
            self.struck["refuse"] += 1
            return self._refusal
        if seen.operation in UNPROCESSED and self._leave and self.struck["leave"] != self._leaves:
            return await self._in_part(seen)
        return await self._pass_on(seen)

    async def _pass_on(self, seen: Seen) -> Answer:
        async with self._session.post(
            f"{self.upstream}/", data=io.BytesIO(seen.body), headers=seen.headers
        ) as answer:
            body = await answer.read()
        self.carried_out[seen.operation] += 1
        for moment in self._moments:
            moment.notice(seen, landed=True)
        return Answer(answer.status, body)

    async def _in_part(self, seen: Seen) -> Answer:
        """Carry out a part of a batch; none of it is what the service calls throttled."""
        asked = json.loads(seen.body)
        done, left = split(asked["RequestItems"], self._leave, seen.chance)
        if not done:
            self.struck["leave"] += 1
            return Answer.refusal(_EXCEEDED, "Throughput exceeds the current limit")
        answer = await self._pass_on(
            replace(seen, body=json.dumps(asked | {"RequestItems": done}).encode()) if left else seen
        )
        if not left or answer.status != 200:
            return answer
        self.struck["leave"] += 1
        content = json.loads(answer.body)
        content[UNPROCESSED[seen.operation]] = merged(content.get(UNPROCESSED[seen.operation]) or {}, left)
        return Answer.of(200, content)

    async def _damaged(self, request: web.Request, seen: Seen, answer: Answer) -> web.StreamResponse:
        fault = self._drawn(seen)
        headers = {"Content-Type": _CONTENT_TYPE, "x-amz-crc32": str(zlib.crc32(answer.body))}
        whole = web.Response(body=answer.body, status=answer.status, headers=headers)
        match fault:
            case "lose":
                return _reset(request)
            case "cut":
                return await _send_part(
                    request, whole, answer.body[: seen.chance.randrange(len(answer.body))]
                )
            case "flip":
                whole.body = flipped(answer.body, seen.chance)
        return whole

    def _drawn(self, seen: Seen) -> str | None:
        for name, fault in self._faults.items():
            if fault.strikes(seen):
                self.struck[name] += 1
                return name
        return None


Entries = dict[str, Any]


def split(entries: Entries, share: float, chance: random.Random) -> tuple[Entries, Entries]:
    """The tables' entries of a batch that are carried out, and those that are left."""
    done: Entries = {}
    left: Entries = {}
    for table, wanted in entries.items():
        # Keys come with the options of their table, writes as a bare list.
        rows = wanted["Keys"] if isinstance(wanted, dict) else wanted
        options = (
            {name: wanted[name] for name in wanted if name != "Keys"} if isinstance(wanted, dict) else None
        )
        sides: tuple[list[Any], list[Any]] = ([], [])
        for row in rows:
            sides[chance.random() < share].append(row)
        for side, picked in zip((done, left), sides, strict=True):
            if picked:
                side[table] = picked if options is None else options | {"Keys": picked}
    return done, left


def merged(theirs: Entries, ours: Entries) -> Entries:
    """What the engine and the proxy left undone together."""
    both = dict(theirs)
    for table, more in ours.items():
        known = both.get(table)
        if known is None:
            both[table] = more
        elif isinstance(more, dict):
            both[table] = more | {"Keys": [*known["Keys"], *more["Keys"]]}
        else:
            both[table] = [*known, *more]
    return both


def flipped(body: bytes, chance: random.Random) -> bytes:
    """The body with the lowest bit of one letter or digit flipped."""
    place = chance.choice([found.start() for found in _FLIPPABLE.finditer(body)] or [0])
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _reset(request: web.Request) -> web.Response:
    """Reset the connection; the response is for aiohttp, which finds nobody to send it to."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


async def _send_part(request: web.Request, whole: web.Response, part: bytes) -> web.StreamResponse:
    """Promise the whole length, send the part and close."""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(whole.body) if isinstance(whole.body, bytes) else 0
    await response.prepare(request)
    await response.write(part)
    if request.transport is not None:
        request.transport.close()
    return response
