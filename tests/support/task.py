"""A task in virtual time: workers that share a lease table, over a network that throttles and loses answers.

The workers' coordinators are the real ones, on real requests to a scripted table. What they follow is a
made-up stream whose shards fill and split. A witness looks on: no shard may be followed by two workers at
once, none before its parent is done with, and no record may be left out.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from asyncrep.aws.capacity import Budget
from asyncrep.aws.client import WireClient
from asyncrep.aws.leases import LeaseTable
from asyncrep.aws.session import BODY
from asyncrep.aws.streams import Shard
from asyncrep.errors import LeaseLostError, ServiceError, ThrottledError, UnreachableError
from asyncrep.flow.retry import RetryPolicy
from asyncrep.options import Limits
from asyncrep.replicate.coordinator import Coordinator
from tests.support.operations import perform
from tests.support.request import Request
from tests.support.simulated.loop import VirtualLoop
from tests.support.tables import ScriptedTable
from tests.support.values import ServiceError as Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from asyncrep.replicate.held import HeldLease

    Listing = Callable[[], Awaitable[Sequence[Shard]]]

REGION = "us-east-1"
NAME = "task"
FAILOVER = 10.0
LOOKING = 0.1


@dataclass
class Stretch:
    """One shard: how many records it has, `applied` those that were applied up to now."""

    name: str
    parent: str | None
    records: int = 0
    closed: bool = False
    applied: int = 0
    finished: bool = False

    @property
    def shard(self) -> Shard:
        """The shard as a listing shows it."""
        return Shard(self.name, self.parent, 1, self.records if self.closed else None)


@dataclass(frozen=True)
class Weather:
    """What may go wrong: the share of calls that are throttled, and of those whose answer is lost."""

    latency: float = 0.02
    throttled: float = 0.0
    lost: float = 0.0


class Task:
    """The stream, the lease table and the workers.

    Attributes:
        weather: may be changed at any time.
        told: what happened, for those who look for a mistake.
    """

    def __init__(self, seed: int = 0, weather: Weather | None = None, shards: int = 4) -> None:
        self.loop = VirtualLoop()
        self.random = Random(seed)
        self.weather = weather or Weather()
        self.table = ScriptedTable(NAME, REGION, [("leaseKey", "S")])
        self.stretches: dict[str, Stretch] = {}
        self.workers: list[Worker] = []
        self.told: list[str] = []
        for _ in range(shards):
            self._grow(None)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Play a story to its end, with the witness looking on."""

        async def whole() -> None:
            async with asyncio.TaskGroup() as group:
                witness = group.create_task(self._witness())
                await story
                for worker in self.workers:
                    worker.crash()
                witness.cancel()

        try:
            self.loop.run_until_complete(whole())
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(1.0))
            self.loop.close()

    def tell(self, text: str) -> None:
        """Take a note."""
        self.told.append(f"{self.loop.time():8.2f} {text}")

    # ── The stream ──────────────────────────────────────────────────────────────────────────────────

    def _grow(self, parent: str | None) -> None:
        name = f"shard-{len(self.stretches):03}"
        self.stretches[name] = Stretch(name, parent)

    @property
    def open(self) -> list[Stretch]:
        """The shards that still get records."""
        return [each for each in self.stretches.values() if not each.closed]

    def split(self, stretch: Stretch, children: int = 2) -> None:
        """End a shard; its children go on."""
        stretch.closed = True
        for _ in range(children):
            self._grow(stretch.name)

    async def write(self, seconds: float, *, splits: float = 0.0) -> None:
        """Let records come, and shards end, for some time."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            await asyncio.sleep(self.random.uniform(0.1, 1.0))
            stretch = self.random.choice(self.open)
            stretch.records += self.random.randrange(4)
            if self.random.random() < splits and len(self.stretches) < 40:
                self.split(stretch, self.random.choice((1, 2)))

    async def caught_up(self, seconds: float) -> None:
        """Wait until all records are applied and all closed shards done with."""
        end = self.loop.time() + seconds
        while not all(
            each.applied == each.records and each.finished == each.closed for each in self.stretches.values()
        ):
            assert self.loop.time() < end, "\n".join(["not all was followed", *self.told[-200:]])
            await asyncio.sleep(0.5)

    async def listed(self) -> list[Shard]:
        """The listing of the shards."""
        await asyncio.sleep(self.weather.latency)
        return [each.shard for each in self.stretches.values()]

    # ── Workers ─────────────────────────────────────────────────────────────────────────────────────

    def worker(self, listed: Listing | None = None) -> Worker:
        """Another worker, which has not begun."""
        worker = Worker(self, f"w{len(self.workers)}", listed or self.listed)
        self.workers.append(worker)
        return worker

    def hire(self) -> Worker:
        """Start another worker."""
        worker = self.worker()
        worker.start()
        return worker

    @property
    def loads(self) -> list[int]:
        """How many shards each worker that runs is following."""
        return [len(worker.following) for worker in self.workers if worker.runs]

    def row(self, key: str) -> dict[str, Any]:
        """A lease as it is in the table."""
        return self.table.items[key]

    async def _witness(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOKING)

    def look(self) -> None:
        """See that nobody is at a shard beside another, and that nobody's task has failed."""
        for worker in self.workers:
            worker.check()
        for key in self.stretches:
            at_it = [
                worker.name for worker in self.workers if key in worker.following and worker.may_act(key)
            ]
            assert len(at_it) <= 1, "\n".join([f"{at_it} are at {key}", *self.told[-100:]])


class Worker:
    """One worker, in a process that can be paused and can crash.

    Attributes:
        following: the leases of the shards it is at.
        is_deaf: no answer to a write reaches it.
    """

    def __init__(self, task: Task, name: str, listed: Listing) -> None:
        self.task = task
        self.name = name
        self.following: dict[str, HeldLease] = {}
        self.is_deaf = False
        self.table = LeaseTable(
            WireClient(
                _Client(self),  # type: ignore[arg-type]
                NAME,
                NAME,
                RetryPolicy(attempts=4, silences=2, patience=3.0, longest=1.0, random=task.random),
                self,
            ),
            Budget(Limits(), self),
        )
        self.coordinator = Coordinator(
            self.table,
            name,
            listed,
            source="s",
            destinations="d",
            clock=self,
            failover=FAILOVER,
            sync_every=30.0,
            random=task.random,
        )
        self._stopping = False
        self._awake_at = 0.0
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._running = self.task.loop.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self.coordinator.prepare()
                break
            except (ThrottledError, UnreachableError):
                await self.sleep(1.0)
        await self.coordinator.run(self._follow)

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._running is not None and not self._running.done()

    def may_act(self, key: str) -> bool:
        """Whether it holds itself to be allowed to follow a shard."""
        return self.runs and self.following[key].is_mine

    def crash(self) -> None:
        """End the process without a last word."""
        if self._running is not None:
            self._running.cancel()
        self.following.clear()
        self.task.tell(f"{self.name} crashes")

    def pause(self, seconds: float) -> None:
        """Let the process stand still; the world goes on."""
        self._awake_at = self.task.loop.time() + seconds
        self.task.tell(f"{self.name} pauses for {seconds:.1f}")

    def ask_to_stop(self) -> None:
        """Let it end in good order."""
        self._stopping = True
        self.coordinator.stop()
        self.task.tell(f"{self.name} is to stop")

    async def stop(self) -> None:
        """Let it end in good order, and wait for that."""
        self.ask_to_stop()
        assert self._running is not None
        await self._running

    def check(self) -> None:
        """Raise what ended it."""
        if self._running is not None and self._running.done() and not self._running.cancelled():
            self._running.result()

    # ── As a Clock ──────────────────────────────────────────────────────────────────────────────────

    def monotonic(self) -> float:
        return self.task.loop.time()

    def now(self) -> float:
        return self.task.loop.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.awake()

    async def awake(self) -> None:
        """Wait until the process goes on."""
        while (left := self._awake_at - self.task.loop.time()) > 0:  # noqa: ASYNC110 - may be put off
            await asyncio.sleep(left)

    # ── Following ───────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, held: HeldLease) -> None:
        stretch = self.task.stretches[held.key]
        parent = self.task.stretches.get(stretch.parent or "")
        assert parent is None or parent.finished, f"{held.key} is followed before its parent"
        assert held.key not in self.following
        self.following[held.key] = held
        self.task.tell(f"{self.name} follows {held.key} from {held.lease.checkpoint}")
        self.task.look()
        try:
            await self._bring(held, stretch, held.lease.sequence or 0)
        finally:
            self.following.pop(held.key, None)
            self.task.tell(f"{self.name} leaves {held.key}")

    async def _bring(self, held: HeldLease, stretch: Stretch, done: int) -> None:
        while not self._stopping:
            await self.sleep(self.task.random.uniform(0.2, 1.5))
            page = range(done + 1, min(done + 4, stretch.records + 1))
            is_last = stretch.closed and done == stretch.records
            if not held.is_mine:
                raise LeaseLostError(held.key)
            assert done <= stretch.applied, f"records of {held.key} were left out"
            stretch.applied = max(stretch.applied, *page) if page else stretch.applied
            try:
                if is_last:
                    await held.finish()
                    return
                if page:
                    await held.checkpoint(page[-1], len(page))
                    done = page[-1]
            except ServiceError:
                continue


@dataclass
class _Client:
    """What stands for botocore's client: requests arrive late, or never, and so do answers."""

    worker: Worker
    landed: list[str] = field(default_factory=list)

    @property
    def meta(self) -> Any:
        """Its events, of which there are none: so nobody learns how to send requests without it."""
        return SimpleNamespace(events=SimpleNamespace(register=lambda *_: None))

    def __getattr__(self, method: str) -> Callable[..., Any]:
        operation = "".join(part.capitalize() for part in method.split("_"))

        async def call(**parameters: Any) -> Any:
            return await self._call(operation, parameters)

        return call

    async def _call(self, operation: str, parameters: dict[str, Any]) -> Any:
        loop, raw = self.worker.task.loop, BODY in parameters
        body = json.loads(parameters[BODY]) if raw else parameters
        await self.worker.awake()
        answered: asyncio.Future[Any] = loop.create_future()

        def arrive() -> None:
            answer = self._fate() or self._perform(operation, body)
            loop.call_later(self._delay(), settle, answer)

        def settle(answer: Any) -> None:
            if not answered.done():
                answered.set_result(answer)

        # A request that is on its way arrives, whoever gave up waiting for it.
        loop.call_later(self._delay(), arrive)
        answer = await answered
        await self.worker.awake()
        if isinstance(answer, Refusal):
            raise _client_error(answer, operation)
        is_unheard = self.worker.is_deaf and operation == "UpdateItem"
        if isinstance(answer, Exception) or is_unheard or self._is_unlucky(self.worker.task.weather.lost / 2):
            raise answer if isinstance(answer, Exception) else ConnectionResetError("on the way back")
        return {BODY: json.dumps(answer).encode()} if raw else answer

    def _fate(self) -> Exception | None:
        """What becomes of a request instead of being carried out."""
        weather = self.worker.task.weather
        if self._is_unlucky(weather.lost / 2):
            return ConnectionResetError("on the way there")
        return Refusal("ThrottlingException", "Slow down") if self._is_unlucky(weather.throttled) else None

    def _is_unlucky(self, share: float) -> bool:
        return self.worker.task.random.random() < share

    def _delay(self) -> float:
        return self.worker.task.random.expovariate(1 / self.worker.task.weather.latency)

    def _perform(self, operation: str, body: dict[str, Any]) -> Any:
        task = self.worker.task
        before = dict(task.table.items)
        try:
            return json.loads(
                json.dumps(perform(Request({(REGION, NAME): task.table}, operation, REGION, body)))
            )
        except Refusal as refusal:
            return refusal
        finally:
            for key, row in task.table.items.items():
                _see_progress(before.get(key), row)
                task.stretches[key].finished = row["checkpoint"]["S"] == "SHARD_END"


def _client_error(refusal: Refusal, operation: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": refusal.code, "Message": refusal.message},
            "ResponseMetadata": {"HTTPStatusCode": refusal.status},  # type: ignore[typeddict-item]
        },
        operation,
    )


def _see_progress(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    """A row's counter goes up with every change, and its checkpoint never goes back."""
    if before is None or before == after:
        return
    assert int(after["leaseCounter"]["N"]) == int(before["leaseCounter"]["N"]) + 1, (before, after)
    places = [_place(row["checkpoint"]["S"]) for row in (before, after)]
    assert places == sorted(places), (before, after)


def _place(checkpoint: str) -> float:
    return {"TRIM_HORIZON": 0.0, "SHARD_END": float("inf")}.get(checkpoint) or float(
        checkpoint if checkpoint.isdecimal() else 0
    )
