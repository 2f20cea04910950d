"""Workers of `asyncrep replicate` as processes, beside writers in load: how they end, and what arrived in which order."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.cli import Cli, wait_until
from tests.support.streams_server import steered

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.streams_server import Steered

SOURCE, DESTINATION, OTHER = "us-east-1/orders", "eu-west-1/orders", "eu-west-1/other"
TASK = "mirror"
LEASES = f"us-east-1/DynamoDBCrossRegionReplication{TASK}"
FAILOVER = 3.0
PATIENCE_SECONDS = 45.0
"""Several of these tests may share one core."""

_TICK = 0.05


@dataclass
class Process:
    """A worker in a process of its own.

    Attributes:
        errors: the file that its stderr goes to.
    """

    process: subprocess.Popen[str]
    errors: Path

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it has logged so far; each line must be an object of its own."""
        whole, _, _ = self.errors.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.split("\n") if line]

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of one kind."""
        return [line for line in self.log if line["event"] == event]

    def is_owner_of(self, lease: dict[str, Any]) -> bool:
        """Whether a lease is this worker's."""
        return f":{self.process.pid}:" in lease.get("leaseOwner", {}).get("S", "")

    def kill(self) -> None:
        """End it without a last word."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it stand still."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self, patience: float = PATIENCE_SECONDS) -> int:
        """Ask it to end, wait for that, and return its exit code."""
        self.process.terminate()
        return self.process.wait(patience)


@contextmanager
def logging(cli: Cli, *arguments: str, **options: Any) -> Iterator[Process]:
    """Start a command with a file for its stderr; it is killed at the end, if it is still there."""
    errors = cli.folder / f"worker-{len(list(cli.folder.glob('worker-*')))}.jsonl"
    with errors.open("w") as file, cli.start(*arguments, stderr=file, **options) as process:
        yield Process(process, errors)


@dataclass
class Fleet:
    """The workers of one task and what they work on.

    Attributes:
        options: of every worker.
        destination: the location of what is written to.
    """

    endpoint: Steered
    cli: Cli
    options: tuple[str, ...] = ()
    source: str = SOURCE
    destination: str = DESTINATION

    def command(self, *options: str) -> tuple[str, ...]:
        """The command line of a worker."""
        pace = ("--failover", str(FAILOVER), "--poll", "0.1")
        return ("replicate", self.source, self.destination, *pace, *self.options, *options)

    @contextmanager
    def worker(self, *options: str) -> Iterator[Process]:
        """Start a worker; it is killed at the end, if it is still there."""
        with logging(self.cli, *self.command(*options)) as process:
            yield process

    def leases(self) -> dict[str, dict[str, Any]]:
        """The rows of the lease table by shard."""
        if LEASES not in self.endpoint.tell("tables"):
            return {}
        return {row["leaseKey"]["S"]: row for row in self.endpoint.tell("items", LEASES)}

    def held_by(self, worker: Process) -> dict[str, dict[str, Any]]:
        """The leases of one worker."""
        return {shard: lease for shard, lease in self.leases().items() if worker.is_owner_of(lease)}

    def items(self, place: str) -> dict[str, Any]:
        """What a table holds, by key."""
        return {item["id"]["S"]: item for item in self.endpoint.tell("items", place)}

    def wait_until_equal(self) -> None:
        """Wait until the destination holds what the source holds, which nobody writes to any more."""
        source = self.items(self.source)
        self.wait_until(lambda: self.items(self.destination) == source)

    def wait_until(self, condition: Callable[[], object], patience: float = PATIENCE_SECONDS) -> None:
        """Wait until something has come true.

        Raises:
            TimeoutError: it does not.
        """
        wait_until(condition, patience)

    def setbacks(self) -> dict[str, list[int | None]]:
        """The keys that went back at the destination, with their states there.

        For all others the destination's states are the source's: in their order, and each at most once.
        """
        return setbacks(self.history(self.source), self.history(self.destination))

    def inventions(self) -> dict[str, list[int | None]]:
        """The keys that had a state at the destination that they never had at the source."""
        source = self.history(self.source)
        return {
            key: states
            for key, states in self.history(self.destination).items()
            if not set(states) <= set(source[key])
        }

    def history(self, place: str) -> dict[str, list[int | None]]:
        """The states that each key went through: its versions, and None where it was deleted."""
        states: dict[str, list[int | None]] = defaultdict(list)
        for record in self.endpoint.tell("records", place):
            change = record["dynamodb"]
            image = change.get("NewImage")
            states[change["Keys"]["id"]["S"]].append(None if image is None else int(image["v"]["N"]))
        return states

    def takeover(self, dead: dict[str, dict[str, Any]], since: float) -> float:
        """Wait until another worker has applied a record of a shard whose lease was the dead one's.

        Args:
            dead: the leases as they were when their worker died.
            since: when that was.

        Returns:
            The seconds that passed until then.
        """

        def is_taken_over() -> bool:
            leases = self.leases()
            return any(
                _place(leases[shard]) > _place(lease)
                and leases[shard].get("leaseOwner") != lease["leaseOwner"]
                for shard, lease in dead.items()
            )

        self.wait_until(is_taken_over)
        return time.monotonic() - since


def _place(lease: dict[str, Any]) -> float:
    checkpoint = lease["checkpoint"]["S"]
    return int(checkpoint) if checkpoint.isdecimal() else float("inf") if checkpoint == "SHARD_END" else -1


def setbacks(
    source: dict[str, list[int | None]], destination: dict[str, list[int | None]]
) -> dict[str, list[int | None]]:
    """The keys whose states at the destination are no subsequence of those at the source."""
    odd = {}
    for key, states in destination.items():
        left = iter(source[key])
        if not all(state in left for state in states):  # `in` takes from the iterator what it passes
            odd[key] = states
    return odd


class Load:
    """Writes to a table, several hundred times a second, and lets its shards end, in a thread of its own.

    Args:
        endpoint: where the table is.
        place: the table.
        seed: decides what is written.
        keys: how many there are.
        batch: writes every twentieth of a second.
    """

    def __init__(self, endpoint: Steered, place: str, seed: int, *, keys: int = 150, batch: int = 25) -> None:
        self.written = 0
        self._endpoint = endpoint
        self._place = place
        self._random = random.Random(seed)
        self._keys = [f"k{number:03}" for number in range(keys)]
        self._batch = batch
        self._versions: dict[str, int] = defaultdict(int)
        self._there: set[str] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write for the length of the block."""
        over = threading.Event()

        def write() -> None:
            ticks = 0
            while not over.wait(_TICK):
                ticks += 1
                self.write(self._batch)
                if ticks % 20 == 0:
                    self.end_a_shard()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            try:
                yield
            finally:
                over.set()
                writing.result()

    def write(self, count: int) -> None:
        """Write so many times."""
        self._endpoint.tell("write", self._place, items=[self._one() for _ in range(count)])
        self.written += count

    def end_a_shard(self) -> None:
        """Let a shard split, or be followed by another."""
        open_shards = [
            shard["ShardId"]
            for shard in self._endpoint.tell("shards", self._place)
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        ]
        command = "split" if len(open_shards) < 8 else "roll"
        self._endpoint.tell(command, self._place, shard=self._random.choice(open_shards))

    def _one(self) -> dict[str, Any]:
        key = self._random.choice(self._keys)
        if key in self._there and self._random.random() < 0.2:
            self._there.discard(key)
            return {"id": {"S": key}}
        self._there.add(key)
        self._versions[key] += 1
        return {"id": {"S": key}, "v": {"N": str(self._versions[key])}, "secret": {"S": "x" * 40}}


@contextmanager
def fleet(folder: Path, *options: str, shards: int = 4) -> Iterator[Fleet]:
    """An endpoint with a source of some shards and a destination that has a stream, too; nothing runs yet."""
    tables = (f"{SOURCE}:NEW_AND_OLD_IMAGES:{shards}", DESTINATION, f"{OTHER}:none")
    with steered(*tables) as endpoint:
        yield Fleet(
            endpoint, Cli(folder, {"AWS_ENDPOINT_URL": endpoint.url}), ("--task-name", TASK, *options)
        )
