"""The whole story of an incremental backup: followed beside writers, made one file, and gone back to a moment."""

from __future__ import annotations

import json
import random
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.backup_ordeal import lines_of
from tests.support.buckets import GONE, Bucket, bucket_on, seconds_apart
from tests.support.cli import Cli, ended, endpoint_in_thread, wait_until
from tests.support.fleet import logging
from tests.support.folders import name_of
from tests.support.s3_faults import FaultyS3
from tests.support.scenario import item, items
from tests.support.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.tables import ScriptedTable
    from tests.support.values import Item

pytestmark = pytest.mark.timeout(180)

SOURCE = "us-east-1/orders"
FOLDER = "incr/orders"
QUIET = ("--json", "--quiet")
PATIENCE_SECONDS = 60.0
MOST = 20
"""Different items."""


class Writers:
    """Put and delete items at random in a thread, beside whatever else runs."""

    def __init__(self, table: ScriptedTable, seed: str, writes: int) -> None:
        self._table = table
        self._chance = random.Random(seed)
        self._writes = writes
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _write(self) -> None:
        pause = threading.Event()
        for number in range(self._writes):
            name = f"k{self._chance.randrange(MOST):03}"
            if self._chance.random() < 0.3:
                self._table.delete(name)
            else:
                self._table.put(item(name, n=number, text="a\u2028b" * self._chance.randrange(9)))
            pause.wait(0.005)


def kept(bucket: Bucket) -> dict[str, Item]:
    """What the folder holds, each item under its own name."""
    found = {}
    for name in bucket.names():
        if name.startswith(f"{FOLDER}/"):
            made = json.loads(bucket.body(name))
            assert name == f"{FOLDER}/{name_of(made)}"
            found[made["id"]["S"]] = made
    return found


def has_arrived(bucket: Bucket, table: ScriptedTable) -> bool:
    """Whether the folder holds what the table holds; moto is asked in this process, as it is asked often."""
    names = (f"{FOLDER}/{name_of(item(f'k{number:03}'))}" for number in range(MOST))
    newest = [(bucket.history(name) or [GONE])[-1] for name in names]
    return {each["id"]["S"]: each for each in newest if each != GONE} == table.items


def last_change(bucket: Bucket) -> float:
    """When S3 has recorded something for the last time."""
    told = bucket.s3.list_object_versions(Bucket=bucket.name)
    both = [*told.get("Versions", []), *told.get("DeleteMarkers", [])]
    moment: float = max(each["LastModified"] for each in both).timestamp()
    return moment


def by_id(found: list[Item]) -> dict[Any, Item]:
    assert len({each["id"]["S"] for each in found}) == len(found)
    return {each["id"]["S"]: each for each in found}


def the_past() -> AbstractContextManager[None]:
    return seconds_apart(datetime.now(UTC) - timedelta(days=1))


@pytest.fixture
def bucket(moto_url: str) -> Iterator[Bucket]:
    """A bucket that keeps versions."""
    with bucket_on(moto_url) as bucket:
        yield bucket


@pytest.mark.parametrize(
    ("seed", "share"), [(1, 0.1), *(pytest.param(seed, 0.3, marks=pytest.mark.long) for seed in range(2, 6))]
)
def test_a_table_that_was_followed_beside_writers_goes_back_to_an_earlier_moment(
    bucket: Bucket, moto_url: str, tmp_path: Path, seed: int, share: float
) -> None:
    with endpoint_in_thread() as endpoint, in_thread(FaultyS3(moto_url, seed=seed)) as s3, the_past():
        table = endpoint.create_table("orders", "us-east-1", items=items(15, v=1))
        table.enable_stream()
        then_table = endpoint.create_table("then", "us-east-1")
        variables = {
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_REGION": "us-east-1",
        }
        cli = Cli(tmp_path, variables)
        s3.befall(share)

        options = ("--task-name", "t", "--failover", "3", "--poll", "0.1", "--bootstrap")
        with logging(cli, "replicate", SOURCE, f"s3://{bucket.name}/incr", *options) as worker:
            with Writers(table, f"{seed} first", 30):
                pass
            wait_until(lambda: has_arrived(bucket, table), PATIENCE_SECONDS)
            assert kept(bucket) == table.items
            then, moment = dict(table.items), last_change(bucket) + 0.5
            with Writers(table, f"{seed} second", 30):
                pass
            wait_until(lambda: has_arrived(bucket, table), PATIENCE_SECONDS)
            assert kept(bucket) == table.items
            worker.process.send_signal(signal.SIGTERM)
            assert ended(worker.process).code in (0, 130)
        assert then != table.items

        folder, shot = f"s3://{bucket.name}/{FOLDER}", f"s3://{bucket.name}/snapshots/now.gz"
        before = ("--at", str(moment))
        compare = ("--settle", "0", *QUIET)
        shown, checked, whole, restored, agrees, differs = cli.each(
            ("incremental-snapshot", folder, shot, *QUIET),
            ("diff-backup", shot, SOURCE, *compare),
            ("diff-backup", folder, SOURCE, *compare),
            ("restore", folder, "us-east-1/then", *before, *QUIET),
            ("diff-backup", folder, "us-east-1/then", *before, *compare),
            ("diff-backup", folder, "us-east-1/then", *compare),
            patience=PATIENCE_SECONDS,
        )
    assert [(ran.code, ran.stderr) for ran in (shown, checked, whole, restored, agrees, differs)] == [
        *[(0, "")] * 5,
        (1, ""),
    ]
    assert by_id(lines_of(bucket.body("snapshots/now.gz"))) == table.items
    assert then_table.items == then
    assert restored.summary["written"] == len(then)
    told = differs.summary
    now, names = table.items, then.keys() & table.items.keys()
    assert (told["missing"], told["different"], told["extraneous"]) == (
        len(now.keys() - then.keys()),
        sum(now[name] != then[name] for name in names),
        len(then.keys() - now.keys()),
    )
