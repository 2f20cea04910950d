"""An ordeal of backups: a table, a bucket, commands over both through proxies, and the truth behind their backs."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.buckets import Bucket, bucket_on
from tests.support.cli import Cli, Ran, ended, group_is_gone, wait_until
from tests.support.engines import REGION
from tests.support.fault_proxy import FaultProxy
from tests.support.folders import compact, name_of
from tests.support.mixture import Mixture
from tests.support.s3_faults import FaultyS3
from tests.support.scenario import item
from tests.support.threads import in_thread
from tests.support.values import canonical

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Hashable, Iterable, Iterator
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.values import Item

DUMP = "dumps"
INCREMENTAL = "incr"
PATIENCE_SECONDS = 90.0


def every_type() -> list[Item]:
    """Attributes of every type, and of what other tools have lost."""
    digits = "1234567890123456789012345678901234567.8"
    return [
        {"n": {"N": digits}, "tiny": {"N": "0." + "0" * 120 + "1"}, "set": {"NS": ["-1.5", digits]}},
        item("", b=b"\x00\xff", bs={b"a", b"b"}),
        item("", s="", b=b"", l=[], m={}),
        {"__proto__": {"S": "x"}, "m": {"M": {"__proto__": {"M": {"constructor": {"N": "1"}}}}}},
        item("", s="a\u2028b\u2029c\r\n\x85d", quotes='"\\N":"1e5"'),
        item("", yes=True, no=False, nothing=None, ss={"é", "e"}, l=[1, "1", b"1", [True]]),
        item("", s="x" * 390_000),
    ]


@dataclass
class BackupOrdeal:
    """A table with items of every type in an engine, an empty bucket, and the command line before both.

    Attributes:
        table: the name of the table.
        dynamo: what the commands reach instead of the engine.
        s3: what they reach instead of S3.
        keys: the names of the key attributes, and their types.
        segments: how many to cut dumps into. Of a table with MBs only one, which no single request can put.
        truth: what the table holds.
    """

    engine: Engine
    bucket: Bucket
    cli: Cli
    dynamo: FaultProxy
    s3: FaultyS3
    table: str
    keys: tuple[tuple[str, str], ...]
    segments: str = "2"
    truth: dict[Hashable, Item] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def of(
        cls, engine: Engine, s3_url: str, folder: Path, seed: int, count: int, *, megabytes: int = 0
    ) -> Iterator[Self]:
        """Fill a table with so many items of every type, and with so many MB that do not deflate."""
        print(f"seed {seed}")  # noqa: T201 - shown when a test fails
        mixture = Mixture.of(seed, count)
        extras = every_type()
        for place, extra in enumerate(extras):
            mixture.primary[place] = extra | {name: mixture.primary[place][name] for name, _ in mixture.keys}
        items = [*mixture.primary, *_bulk(mixture, seed, megabytes)]
        with (
            bucket_on(s3_url) as bucket,
            in_thread(FaultProxy(engine.url, seed)) as dynamo,
            in_thread(FaultyS3(s3_url, seed=seed)) as s3,
        ):
            cli = Cli(
                folder,
                {
                    "AWS_ENDPOINT_URL_DYNAMODB": dynamo.url,
                    "AWS_ENDPOINT_URL_S3": s3.url,
                    "AWS_REGION": REGION,
                },
            )
            ordeal = cls(engine, bucket, cli, dynamo, s3, "", mixture.keys, "1" if megabytes else "2")
            ordeal.table = ordeal.new_table(items)
            ordeal.truth = ordeal.items(ordeal.table)  # an engine may spell things in its own way
            yield ordeal

    def new_table(self, items: Iterable[Item] = ()) -> str:
        """Make a table of the same key."""
        hash_key, *range_key = self.keys
        return self.engine.create_table(hash=hash_key, range=next(iter(range_key), None), items=list(items))

    @property
    def source(self) -> str:
        """The table as commands call it."""
        return f"{REGION}/{self.table}"

    def place(self, prefix: str) -> str:
        """A place in the bucket as commands call it."""
        return f"s3://{self.bucket.name}/{prefix}"

    def run(self, *arguments: str) -> Ran:
        """Run a command to its end."""
        with self.cli.start(*arguments) as process:
            return ended(process, PATIENCE_SECONDS)

    def each(self, *commands: tuple[str, ...]) -> list[Ran]:
        """Run several, one after the other."""
        return self.cli.each(*commands, patience=PATIENCE_SECONDS)

    def run_until(
        self,
        number: signal.Signals,
        side: FaultProxy | FaultyS3,
        call: int,
        *operations: str,
        landed: bool,
        command: tuple[str, ...],
    ) -> Ran:
        """Run a command until a signal comes at the nth of these calls, or to its end if that comes first."""
        processes: list[subprocess.Popen[str]] = []
        side.at(call, lambda: processes[0].send_signal(number), *operations, landed=landed)
        with self.cli.start(*command) as process:
            processes.append(process)
            ran = ended(process, PATIENCE_SECONDS)
        assert group_is_gone(process)
        wait_until(lambda: self.dynamo.under_way == self.s3.under_way == 0)
        self.dynamo.forget()
        self.s3.forget()
        return ran

    def key(self, item: Item) -> Hashable:
        """What tells an item from others."""
        return canonical({"M": {name: item[name] for name, _ in self.keys}})

    def items(self, table: str) -> dict[Hashable, Item]:
        """What a table holds, asked of the engine itself."""
        return self.by_key(self.engine.items(table))

    def by_key(self, items: Iterable[Item]) -> dict[Hashable, Item]:
        """Items by key, of which none comes twice."""
        found: dict[Hashable, Item] = {}
        for each in items:
            assert self.key(each) not in found, "an item is there twice"
            found[self.key(each)] = each
        return found

    @property
    def description(self) -> dict[str, Any]:
        """How the table is made, as manifests tell it."""
        roles = zip(self.keys, ("HASH", "RANGE"), strict=False)
        return {
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in self.keys
            ],
            "KeySchema": [{"AttributeName": name, "KeyType": role} for (name, _), role in roles],
            "BillingMode": "PAY_PER_REQUEST",
        }

    @property
    def names(self) -> list[str]:
        """The objects in the bucket."""
        return self.bucket.names()

    def uploads(self) -> list[str]:
        """The names that multipart uploads are under way to."""
        told = self.bucket.s3.list_multipart_uploads(Bucket=self.bucket.name)
        return [each["Key"] for each in told.get("Uploads", [])]

    def dump(self, job: str) -> dict[Hashable, Item]:
        """What a dump holds, read by its manifests and nothing of asyncrep."""
        manifest = json.loads(self.bucket.body(f"{DUMP}/{job}/manifest.json"))
        found: list[Item] = []
        for part in manifest["parts"]:
            stored = self.bucket.body(f"{DUMP}/{job}/{part['name']}")
            lines = lines_of(stored)
            assert hashlib.sha256(stored).hexdigest() == part["sha256"]
            assert (len(stored), len(lines)) == (part["stored_bytes"], part["items"])
            found += lines
        assert manifest["items"] == len(found)
        return self.by_key(found)

    def folder(self) -> dict[Hashable, Item]:
        """What the incremental folder of the table holds; every object has the name of its item."""
        found = []
        prefix = f"{INCREMENTAL}/{self.table}/"
        for name in self.names:
            if name.startswith(prefix):
                made = json.loads(self.bucket.body(name))
                assert name == prefix + name_of(made, *(key for key, _ in self.keys))
                found.append(made)
        return self.by_key(found)

    def keep(self, made: Item) -> None:
        """Put an item into the incremental folder of the table, behind everybody's back."""
        name = name_of(made, *(key for key, _ in self.keys))
        self.bucket.put(f"{INCREMENTAL}/{self.table}/{name}", compact(made))

    def assert_holds(self, found: dict[Hashable, Item]) -> None:
        """What was found is what the table holds: nothing is lost, doubled or changed."""
        assert found.keys() == self.truth.keys()
        assert [key for key, made in found.items() if not _same(made, self.truth[key])] == []

    def assert_part(self, found: dict[Hashable, Item]) -> None:
        """What was found is some of what the table holds."""
        assert found.keys() <= self.truth.keys()
        assert [key for key, made in found.items() if not _same(made, self.truth[key])] == []

    def assert_dumped(self, job: str) -> None:
        """The dump is whole and what the table holds, and nothing else is in the bucket, seen or unseen."""
        self.assert_holds(self.dump(job))
        assert self.uploads() == []


def lines_of(stored: bytes) -> list[Item]:
    """The items of gzipped lines, of which each has its end; only a line feed is one."""
    *lines, rest = gzip.decompress(stored).split(b"\n")
    assert not rest
    return [json.loads(line) for line in lines]


def _same(left: Item, right: Item) -> bool:
    return canonical({"M": left}) == canonical({"M": right})


def _bulk(mixture: Mixture, seed: int, megabytes: int) -> Iterator[Item]:
    """Items of 250 KB with keys of their own, of which four make a MB of lines that hardly deflate."""
    chance = random.Random(seed)
    for number in range(4 * megabytes):
        whole = {"S": {"S": f"bulk{number}"}, "N": {"N": str(10**6 + number)}, "B": {"B": "////"}}
        key = {name: whole[kind] for name, kind in mixture.keys}
        yield item("", bulk=chance.randbytes(190_000)) | key
