"""Two real processes mirror two tables to each other, with writers at both: they fall silent, and agree."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.cli import PATIENCE_SECONDS, Cli
from tests.support.fleet import Fleet
from tests.support.streams_server import Steered, steered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME, GUARD = "orders", "asyncrep-guard"
REGIONS = ("us-east-1", "eu-west-1")
PLACES = tuple(f"{region}/{NAME}" for region in REGIONS)
KEYS = [f"k{number}" for number in range(12)]
QUIET_SECONDS = 1.5
"""Many times as long as a worker waits between two polls."""


class Application:
    """Writes at one side as an application should that is mirrored: each write makes the version higher that it has read.

    What it creates goes on from the version at which it was deleted: here, as it knows itself, or at the other
    side, as the guard table knows.
    """

    def __init__(self, url: str, region: str, seed: int) -> None:
        self.writes = 0
        self._deleted: dict[str, int] = {}
        self._random = random.Random(f"{region} {seed}")
        self._region = region
        self._client = boto3.client("dynamodb", region_name=region, endpoint_url=url)

    def write(self) -> None:
        """Change, delete or create an item, unless somebody else is faster."""
        key = {"id": {"S": self._random.choice(KEYS)}}
        item = self._client.get_item(TableName=NAME, Key=key, ConsistentRead=True).get("Item")
        try:
            if item is None:
                self._create(key)
            elif self._random.random() < 0.3:
                self._client.delete_item(TableName=NAME, Key=key, **_is_still(item))
                self._deleted[key["id"]["S"]] = self._highest(key, int(item["version"]["N"]))
            else:
                higher = {"N": str(self._highest(key, int(item["version"]["N"])) + 1)}
                self._client.put_item(TableName=NAME, Item=self._item(key, higher), **_is_still(item))
        except ClientError as error:
            if "Condition" not in str(error):
                raise
        else:
            self.writes += 1

    def _create(self, key: dict[str, Any]) -> None:
        text = f'{{"id":{{"S":"{key["id"]["S"]}"}}}}'.encode()
        row = {"id": {"S": f"{NAME}/{hashlib.sha256(text).hexdigest()}"}}
        buried = self._client.get_item(TableName=GUARD, Key=row, ConsistentRead=True).get("Item")
        there = 0 if buried is None else int(buried["version"]["N"])
        version = {"N": str(self._highest(key, there) + 1)}
        put = {"TableName": NAME, "Item": self._item(key, version)}
        check = {"TableName": GUARD, "Key": row, "ExpressionAttributeNames": {"#v": "version"}}
        self._client.transact_write_items(
            TransactItems=[
                {"Put": put | {"ConditionExpression": "attribute_not_exists(id)"}},
                {
                    "ConditionCheck": check
                    | {
                        "ConditionExpression": "attribute_not_exists(#v) OR #v < :v",
                        "ExpressionAttributeValues": {":v": version},
                    }
                },
            ]
        )

    def _highest(self, key: dict[str, Any], version: int) -> int:
        """The version to go on from: a mirror that is late can bring back what was deleted here at a higher one."""
        return max(version, self._deleted.get(key["id"]["S"], 0))

    def _item(self, key: dict[str, Any], version: dict[str, str]) -> dict[str, Any]:
        return key | {"version": version, "by": {"S": f"{self._region} {self._random.randrange(3)}"}}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write again and again for the length of the block."""
        over = threading.Event()

        def write() -> None:
            while not over.is_set():
                self.write()

        with ThreadPoolExecutor(1) as pool, closing(self._client):
            writing = pool.submit(write)
            try:
                yield
            finally:
                over.set()
                writing.result()


def _is_still(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "ConditionExpression": "#v = :v",
        "ExpressionAttributeNames": {"#v": "version"},
        "ExpressionAttributeValues": {":v": item["version"]},
    }


def mirrors(endpoint: Steered, folder: Path) -> list[Fleet]:
    """The two directions."""
    options = ("--guard", "version")
    cli = Cli(folder, {"AWS_ENDPOINT_URL": endpoint.url})
    return [
        Fleet(endpoint, cli, ("--task-name", name, *options), source, destination)
        for name, source, destination in (("there", *PLACES), ("back", *reversed(PLACES)))
    ]


def records(endpoint: Steered) -> list[int]:
    """How many records both streams have."""
    return [len(endpoint.tell("records", place)) for place in PLACES]


def fallen_silent(endpoint: Steered, wait: Callable[[Callable[[], object]], None]) -> None:
    """Wait until neither stream has got a record for a while."""
    seen, since = records(endpoint), time.monotonic()

    def is_silent() -> bool:
        nonlocal seen, since
        now = records(endpoint)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    wait(is_silent)


def played(folder: Path, seed: int, seconds: float, *, kills: bool = False) -> None:
    """Let both applications write for a while, then see that the tables agree and that nothing goes round."""
    tables = [f"{place}:NEW_AND_OLD_IMAGES:2" for place in PLACES]
    with steered(*tables) as endpoint, ExitStack() as stack:
        for region, place in zip(REGIONS, PLACES, strict=True):
            item = {"id": {"S": "on purpose"}, "version": {"N": "7"}, "by": {"S": region}}
            endpoint.tell("write", place, items=[item])
        both = mirrors(endpoint, folder)
        workers = [stack.enter_context(fleet.worker()) for fleet in both]
        both[0].wait_until(lambda: all(worker.told("started") for worker in workers))
        applications = [Application(endpoint.url, region, seed) for region in REGIONS]
        with ExitStack() as writing:
            for each in applications:
                writing.enter_context(each.running())
            for _ in range(3):
                time.sleep(seconds / 3)  # what they do is the test; how much of it is up to the machine
                for place in PLACES:
                    endpoint.tell("roll", place)
                if kills:
                    workers[0].kill()
                    workers[0] = stack.enter_context(both[0].worker())
        assert min(each.writes for each in applications) > 20
        both[0].wait_until(lambda: both[0].items(PLACES[0]) == both[0].items(PLACES[1]))
        fallen_silent(endpoint, both[0].wait_until)
        assert both[0].items(PLACES[0]) == both[0].items(PLACES[1])
        for worker in workers:
            worker.process.terminate()
        assert [worker.process.wait(PATIENCE_SECONDS) for worker in workers] == [0, 0]
        told = [line for worker in workers for line in worker.told("conflict")]
        assert any(line["key"] == {"id": {"S": "on purpose"}} for line in told)
        written = sum(each.writes for each in applications) + 2
        print(f"{written} writes, {sum(records(endpoint))} records, {len(told)} conflicts told")  # noqa: T201
        # Each write is mirrored once at the most, and of two that conflict one is taken back.
        assert sum(records(endpoint)) <= 3 * written


def test_two_mirrors_with_writers_at_both_sides_agree_and_fall_silent(tmp_path: Path) -> None:
    played(tmp_path, 1, 2.5)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_so_they_do_when_one_of_them_is_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    played(tmp_path, seed, 12.0, kills=True)
