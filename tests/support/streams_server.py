"""The scripted endpoint as a process of its own, steered over HTTP: for tests with real worker processes.

    python -m tests.support.streams_server us-east-1/orders eu-west-1/orders:none

prints its URL and serves until it is ended, or until its standard input is closed. A table is named as
REGION/NAME[:VIEW[:SHARDS[:HASH[:RANGE]]]], VIEW being `none` for a table without a stream and keys being
written as `id=S`. `Steered` starts one and steers it; each of its commands is a POST of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.support.scripted import ScriptedDynamo
from tests.support.streams import NEW_AND_OLD, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.script import Call
    from tests.support.streams import ScriptedShard
    from tests.support.tables import ScriptedTable

Json = dict[str, Any]

_FAULTS = (
    "throttle",
    "error",
    "unprocessed",
    "reset",
    "land_then_reset",
    "hang_up",
    "corrupt",
    "cut",
    "delay",
)
_SELECTION = ("table", "region", "times", "after")
_SECONDS = 30.0


class SteeredDynamo(ScriptedDynamo):
    """The endpoint with commands. It counts the calls it gets instead of keeping them."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._commands: dict[str, Callable[[Json], Any]] = {
            "split": lambda given: _ids(self._table(given).stream.split(given.get("shard"))),
            "roll": lambda given: _ids([self._table(given).stream.roll(given.get("shard"))]),
            "disable": lambda given: self._table(given).stream.disable(),
            "enable": lambda given: self._table(given).enable_stream(given.get("view", NEW_AND_OLD)).arn,
            "trim": lambda given: self._table(given).stream.trim(given.get("before")),
            "expire_iterators": lambda given: self._table(given).stream.expire_iterators(),
            "expire": self._expire,
            "shards": self._shards,
            "items": lambda given: list(self._table(given).items.values()),
            "records": lambda given: self._table(given).stream.records,
            "write": self._write,
            "tables": lambda _: [f"{region}/{name}" for region, name in self._tables],
            "fault": self._fault,
            "forgive": lambda _: self._statements.clear(),
            "count": self._count,
        }

    def _route(self, application: web.Application) -> None:
        super()._route(application)
        application.router.add_post("/_{command}", self._steer)

    def _note(self, call: Call) -> None:
        self._counts[call.operation, call.region, call.table] += 1

    async def _steer(self, request: web.Request) -> web.Response:
        try:
            answer = self._commands[request.match_info["command"]](await request.json())
        except Exception as mistake:  # noqa: BLE001 - told to the test that made it
            return web.json_response({"error": repr(mistake)}, status=400)
        return web.json_response({"answer": answer})

    def _table(self, given: Json) -> ScriptedTable:
        return self.table(given["table"], given["region"])

    def _expire(self, given: Json) -> None:
        table = self._table(given)
        table.expire(table.key_of(given["key"]))

    def _write(self, given: Json) -> None:
        table = self._table(given)
        for written in given["items"]:
            if written.keys() == dict(table.keys).keys():
                table.delete(table.key_of(written))
            else:
                table.put(written)

    def _shards(self, given: Json) -> list[Json]:
        return [
            shard.describe() | {"records": len(shard.entries)}
            for shard in self._table(given).stream.shards.values()
        ]

    def _fault(self, given: Json) -> None:
        if given["fault"] not in _FAULTS:
            raise ValueError(given["fault"])
        selection = {name: given[name] for name in _SELECTION if name in given}
        statement = self.on(given["operation"], **selection)
        getattr(statement, given["fault"])(*given.get("arguments", []))

    def _count(self, given: Json) -> int:
        return sum(
            count
            for (operation, region, table), count in self._counts.items()
            if operation == given["operation"]
            and given.get("region", region) == region
            and given.get("table", table) == table
        )


class Steered:
    """An endpoint in another process.

    Attributes:
        url: where it listens.
    """

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process

    def tell(self, command: str, place: str = "", **arguments: Any) -> Any:
        """Carry out a command on the table at `REGION/NAME` and return what it answers.

        The commands: split, roll (shard) · disable · enable (view) · trim (before) · expire_iterators ·
        expire (key) · shards · items · records · write (items: those that are only keys are deleted) · tables ·
        fault (operation, fault, arguments, times, after, table, region) · forgive · count (operation).

        Raises:
            urllib.error.HTTPError: the command is unknown or cannot be carried out.
        """
        region, _, table = place.partition("/")
        named = {"region": region, "table": table} if place else {}
        body = json.dumps(named | arguments).encode()
        request = urllib.request.Request(f"{self.url}/_{command}", body, method="POST")
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return json.load(answer)["answer"]


@contextmanager
def steered(*tables: str) -> Iterator[Steered]:
    """Start an endpoint with these tables; it ends with the block, or with this process."""
    command = [sys.executable, "-m", "tests.support.streams_server", *tables]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the endpoint did not start: it ended with {process.wait(_SECONDS)}")
        yield Steered(url, process)
    finally:
        process.stdin.close()
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _ids(shards: list[ScriptedShard]) -> list[str]:
    return [shard.id for shard in shards]


def _create(endpoint: ScriptedDynamo, text: str) -> None:
    """Make the table that a command line describes."""
    place, *rest = text.split(":")
    view, shards, *keys = rest + [NEW_AND_OLD, "1", "id=S"][len(rest) :]
    region, _, name = place.partition("/")
    hash, *range = [(attribute, kind) for attribute, _, kind in (key.partition("=") for key in keys)]
    endpoint.create_table(
        name,
        region,
        hash=hash,
        range=range[0] if range else None,
        stream=view if view in VIEWS else None,
        shards=int(shards),
    )


async def _serve(tables: list[str]) -> None:
    async with SteeredDynamo() as endpoint:
        for text in tables:
            _create(endpoint, text)
        print(endpoint.url, flush=True)  # noqa: T201 - whoever started this reads it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1:]))
