"""A proxy before S3 in which a seed decides what goes wrong, and that acts at a given call.

What befalls a request follows from the seed, from what is asked and from how often it was asked before: not from
the order in which requests that are under way together arrive.

    with in_thread(FaultyS3(url, seed=1)) as s3:
        s3.befall(0.2, "slow down", "cut upload")
        s3.at(40, lambda: process.send_signal(signal.SIGTERM))
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from tests.support.s3_proxy import Cut, Fault, Lose, Refuse, S3Proxy, operation_of, reset

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS: dict[str, tuple[str, ...]] = {
    "server error": (),
    "slow down": (),
    "reset": (),
    "lost answer": (),
    "latency": (),
    "cut upload": ("PutObject", "UploadPart"),
    "cut download": ("GetObject", "ListObjectsV2", "ListObjectVersions"),
    "damaged download": ("GetObject",),
}
"""What may befall which requests; any where none is named."""

EVERY = tuple(each for each in FAULTS if each != "damaged download")

WRITES = ("PutObject", "UploadPart", "CompleteMultipartUpload", "DeleteObject")

_AS_SAID: dict[str, Fault] = {
    "server error": Refuse(500, "InternalError"),
    "slow down": Refuse(503, "SlowDown"),
    "reset": Lose(carried_out=False),
    "lost answer": Lose(),
}
_FAULT = web.RequestKey("fault", str)
_CHANCE = web.RequestKey("chance", random.Random)
_LONGEST_SECONDS = 0.3
_READ_BYTES = 70_000
# Names of buckets, of uploads and of pages differ in every run.
_ACCIDENTAL = re.compile(r"^/[^/?]*|(?<=[?&])(uploadId|continuation-token|start-after)=[^&]*")


@dataclass(frozen=True)
class _Share:
    """What befalls a share of the requests; of those that are the same only so many, None for all."""

    share: float
    faults: tuple[str, ...]
    operations: tuple[str, ...]
    tries: int | None


@dataclass
class _Moment:
    """Something that happens once, when the nth of some calls arrives, or when it was carried out."""

    number: int
    run: Callable[[], object]
    operations: tuple[str, ...]
    landed: bool
    seen: int = 0

    def notice(self, operation: str, *, landed: bool) -> None:
        if landed is not self.landed or (self.operations and operation not in self.operations):
            return
        self.seen += 1
        if self.seen == self.number:
            self.run()


@dataclass
class FaultyS3(S3Proxy):
    """The proxy.

    Attributes:
        seed: decides which requests meet with what.
        struck: how many requests met with a fault, by its name.
        carried_out: how many requests S3 answered, by operation.
        under_way: how many requests are being answered, also of those who have gone.
    """

    seed: int = 1
    struck: Counter[str] = field(default_factory=Counter)
    carried_out: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    _shares: list[_Share] = field(default_factory=list)
    _moments: list[_Moment] = field(default_factory=list)
    _came: Counter[str] = field(default_factory=Counter)
    _refusal: tuple[Refuse, tuple[str, ...]] | None = None

    def befall(
        self, share: float, *faults: str, operations: tuple[str, ...] = (), tries: int | None = 3
    ) -> None:
        """Let a share of the requests meet with one of these faults; of the same request so many tries."""
        self._shares.append(_Share(share, faults or EVERY, operations, tries))

    def refuse(self, status: int, code: str, *operations: str) -> None:
        """Refuse every request from now on, or those of these operations."""
        self._refusal = Refuse(status, code), operations

    def at(self, number: int, run: Callable[[], object], *operations: str, landed: bool = False) -> None:
        """Act when the nth call of these operations (any, if none is named) arrives, or has ``landed``."""
        self._moments.append(_Moment(number, run, operations, landed))

    def forget(self) -> None:
        """Forget all faults, and the moments that have not come."""
        self._moments.clear()
        self._shares.clear()
        self._refusal = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.under_way += 1
        try:
            operation = operation_of(request.method, request.query)
            for moment in self._moments:
                moment.notice(operation, landed=False)
            fault, chance = self._drawn(request, operation)
            request[_FAULT], request[_CHANCE] = fault, chance
            if fault == "cut upload":
                await request.content.read(chance.randrange(1, _READ_BYTES))
                return reset(request)
            if fault == "latency":
                await asyncio.sleep(chance.random() * _LONGEST_SECONDS)
            return await super()._serve(request)
        finally:
            self.under_way -= 1

    def _drawn(self, request: web.Request, operation: str) -> tuple[str, random.Random]:
        """The name of what a request meets with, empty for nothing, and its draws."""
        asked = f"{operation} {_ACCIDENTAL.sub('', request.raw_path)} {request.headers.get('Range', '')}"
        self._came[asked] += 1
        chance = random.Random(f"{self.seed}/{asked}/{self._came[asked]}")
        for each in self._shares:
            possible = [fault for fault in each.faults if operation in (FAULTS[fault] or (operation,))]
            meant = not each.operations or operation in each.operations
            if each.tries is not None and self._came[asked] > each.tries:
                continue
            if possible and meant and chance.random() < each.share:
                fault = chance.choice(possible)
                self.struck[fault] += 1
                return fault, chance
        return "", chance

    def _fault_of(self, operation: str, request: web.Request, /) -> Fault | None:
        if self._refusal is not None and operation in (self._refusal[1] or (operation,)):
            self.struck["refusal"] += 1
            return self._refusal[0]
        if request[_FAULT] == "cut download":
            return Cut(request[_CHANCE].randrange(_READ_BYTES))
        return _AS_SAID.get(request[_FAULT]) or super()._fault_of(operation, request)

    async def _pass_on(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, headers, answer = await super()._pass_on(request, body)
        operation = operation_of(request.method, request.query)
        self.carried_out[operation] += 1
        for moment in self._moments:
            moment.notice(operation, landed=True)
        if request[_FAULT] == "damaged download" and answer and status < 300:
            place = request[_CHANCE].randrange(len(answer))
            answer = answer[:place] + bytes([answer[place] ^ 4]) + answer[place + 1 :]
        return status, headers, answer
