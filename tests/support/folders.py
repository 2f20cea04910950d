"""Incremental folders in a bucket, made object by object, whose versions came to be when a test says so."""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.s3.models import s3_backends

from asyncrep import S3Place
from asyncrep.aws.objects import open_objects
from asyncrep.backup.local import LocalFolder
from asyncrep.flow.retry import RetryPolicy
from tests.support.buckets import ACCOUNT, Bucket
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from asyncrep.aws.objects import Objects
    from asyncrep.backup.folder_reading import FolderBackup
    from asyncrep.backup.reading import Backup
    from tests.support.values import Item

START = 1_700_000_000
"""2023-11-14T22:13:20Z: the second 0 of histories."""


def compact(made: Item) -> bytes:
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


def name_of(made: Item, *attributes: str) -> str:
    """The name of the object of an item, by its key's attributes in this order."""
    return hashlib.sha256(compact({each: made[each] for each in attributes or ("id",)})).hexdigest()


@dataclass(frozen=True)
class FolderScene:
    """An incremental folder in a bucket, written to behind everybody's back."""

    bucket: Bucket
    prefix: str = "incr/orders"

    def put(
        self, made: Item | bytes, name: str | None = None, *, at: float | None = None, by: str = "id"
    ) -> str:
        """Put an item, or whatever it is, as a version of its object; at that second of the history."""
        if isinstance(made, bytes):
            assert name is not None
            body = made
        else:
            name, body = name or name_of(made, *by.split(",")), compact(made)
        self._write(name, body)
        self._stamp(name, at)
        return name

    def put_all(self, items: Iterable[Item]) -> None:
        for each in items:
            self._write(name_of(each), compact(each))

    def delete(self, name: str, *, at: float | None = None) -> None:
        s3_backends[ACCOUNT]["aws"].delete_object(self.bucket.name, f"{self.prefix}/{name}")
        self._stamp(name, at)

    def change(self, name: str, version: int, **attributes: Any) -> None:
        """Change what moto has of a version of an object: its time, its id, its storage class."""
        made = self._versions(name)[version]
        for attribute, value in attributes.items():
            setattr(made, attribute, value)

    def version_ids(self, name: str) -> list[str]:
        """The ids of an object's versions, the newest first."""
        return [each.version_id for each in reversed(self._versions(name))]

    def clear(self) -> None:
        """Forget everything in the bucket at once."""
        s3_backends[ACCOUNT]["aws"].buckets[self.bucket.name].keys.clear()

    def _write(self, name: str, body: bytes) -> None:
        """Put an object past moto's server, which takes its time."""
        s3_backends[ACCOUNT]["aws"].put_object(self.bucket.name, f"{self.prefix}/{name}", body)

    def _stamp(self, name: str, at: float | None) -> None:
        if at is not None:
            self.change(name, -1, last_modified=datetime.fromtimestamp(START + at, UTC).replace(tzinfo=None))

    def _versions(self, name: str) -> Sequence[Any]:
        keys = s3_backends[ACCOUNT]["aws"].buckets[self.bucket.name].keys
        versions: Sequence[Any] = keys.getlist(f"{self.prefix}/{name}")
        return versions

    @asynccontextmanager
    async def open(self, place: str | None = None) -> AsyncIterator[Objects]:
        """The folder, or another place in its bucket."""
        where = S3Place(self.bucket.name, self.prefix if place is None else place)
        async with open_objects(
            where, session=session(), retry=RetryPolicy(attempts=2, first=0.001)
        ) as objects:
            yield objects


def local_folder(path: Path, items: Iterable[Item], *by: str) -> LocalFolder:
    """A local folder with the objects of these items."""
    path.mkdir(parents=True, exist_ok=True)
    for each in items:
        (path / name_of(each, *by)).write_bytes(compact(each))
    return LocalFolder(path)


async def read(folder: FolderBackup) -> dict[str, Any]:
    """All items that a folder yields, by the first 8 digits of their names; of what is none, the problem."""
    return {
        held.found.name[:8]: json.loads(held.image) if held.problem is None else held.problem
        async for batch in folder.everything()
        for held in batch
    }


async def lines(folder: Backup) -> list[tuple[str, Any]]:
    """The same through the files of the backup: what each line is, and where."""
    return [
        (line.file, json.loads(line.image) if not line.problem else line.problem)
        for file in folder.files
        async for chunk in folder.chunks(file)
        for line in chunk.lines
    ]
