"""Backups removed: nothing else goes, and whatever an interruption leaves never looks whole."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.backup.catalog import find_backups
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.opening import open_backup
from asyncrep.backup.places import open_storage
from asyncrep.backup.prune import remove_backups
from asyncrep.errors import BackupError, StorageError
from asyncrep.flow.clock import VirtualClock
from asyncrep.location import S3Place
from tests.support.made_backups import aws_export, dump, names, snapshot, upload, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asyncrep.backup.listed import Listed
    from asyncrep.storage import Storage
    from tests.support.buckets import Bucket

STRANGERS = {
    "j/notes.txt": b"",
    "j/7": b"",
    "j/sub/0": b"",
    "s.gz.txt": b"",
    "notes.txt": b"",
    **dump("k"),
    **aws_export("e"),
}
"""What is not to be removed with the dump j and the snapshot s.gz."""


async def chosen(storage: Storage, *which: str) -> list[Listed]:
    return [each for each in await find_backups(storage) if each.name in which]


class Interrupted(LocalFolder):
    """A folder whose removals are interrupted after some objects."""

    def __init__(self, path: Path, after: int) -> None:
        super().__init__(path)
        self.left = after

    async def remove(self, names: Sequence[str]) -> None:
        for name in names:
            if not self.left:
                raise StorageError("There was an interruption.")
            self.left -= 1
            await super().remove([name])


async def test_a_backup_goes_with_all_that_is_its_own_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, dump("j") | snapshot("s.gz") | STRANGERS)
    storage = LocalFolder(tmp_path)
    pruned = await remove_backups(storage, await chosen(storage, "j", "s.gz"), clock=VirtualClock())
    assert names(tmp_path) == set(STRANGERS)
    assert (pruned.backups, pruned.objects) == (2, 7)


async def test_in_s3_too(bucket: Bucket) -> None:
    upload(bucket, "kept", dump("j", segments=3) | snapshot("s.gz") | STRANGERS)
    upload(bucket, "kept2", dump("j"))
    async with open_storage(S3Place(bucket.name, "kept")) as storage:
        await remove_backups(storage, await chosen(storage, "j", "s.gz"), clock=VirtualClock())
    there = {f"kept/{name}" for name in STRANGERS} | {f"kept2/{name}" for name in dump("j")}
    assert set(bucket.names()) == there


async def test_a_verified_backup_goes_with_its_note(tmp_path: Path) -> None:
    write(tmp_path, dump("j") | {"j/verification.json": b"{}"})
    storage = LocalFolder(tmp_path)
    await remove_backups(storage, await chosen(storage, "j"), clock=VirtualClock())
    assert names(tmp_path) == set()
    assert await storage.folders() == []


@pytest.mark.parametrize("after", range(1, 7))
async def test_whatever_an_interruption_leaves_does_not_look_whole_and_goes_next_time(
    tmp_path: Path, after: int
) -> None:
    write(tmp_path, dump("j", segments=3))
    storage: Any = Interrupted(tmp_path, after)
    with pytest.raises(StorageError, match="interruption"):
        await remove_backups(storage, await chosen(storage, "j"), clock=VirtualClock())
    [left] = await find_backups(LocalFolder(tmp_path))
    assert (left.name, left.state) == ("j", "removing")
    with pytest.raises(BackupError):
        async with open_backup(str(tmp_path / "j")):
            raise AssertionError("it was opened")
    await remove_backups(LocalFolder(tmp_path), [left], clock=VirtualClock())
    assert names(tmp_path) == set()


async def test_a_removal_that_removed_nothing_leaves_a_whole_backup(tmp_path: Path) -> None:
    write(tmp_path, dump("j"))
    storage: Any = Interrupted(tmp_path, 0)
    with pytest.raises(StorageError, match="interruption"):
        await remove_backups(storage, await chosen(storage, "j"), clock=VirtualClock())
    [left] = await find_backups(LocalFolder(tmp_path))
    assert (left.state, left.status) == ("whole", "whole")
    async with open_backup(str(tmp_path / "j")) as backup:
        assert backup.items == 20


async def test_an_incomplete_dump_that_is_interrupted_is_known_as_half_removed(tmp_path: Path) -> None:
    made = dump("j", segments=3)
    write(tmp_path, {name: made[name] for name in made if name not in {"j/manifest.json", "j/2"}})
    storage: Any = Interrupted(tmp_path, 1)
    with pytest.raises(StorageError, match="interruption"):
        await remove_backups(storage, await chosen(storage, "j"), clock=VirtualClock())
    [left] = await find_backups(LocalFolder(tmp_path))
    assert left.state == "removing"


async def test_the_manifest_goes_last(tmp_path: Path) -> None:
    write(tmp_path, dump("j", segments=12) | snapshot("s.gz"))
    order: list[str] = []

    class Noting(LocalFolder):
        async def remove(self, names: Sequence[str]) -> None:
            order.extend(names)
            await super().remove(names)

    storage: Any = Noting(tmp_path)
    await remove_backups(storage, await chosen(storage, "j"), clock=VirtualClock())
    assert order[:12] == [f"j/{each}" for each in range(12)]
    assert order[-2:] == ["j/manifest.json", "j/verification.json"]
    order.clear()
    await remove_backups(storage, await chosen(storage, "s.gz"), clock=VirtualClock())
    assert order == ["s.gz", "s.gz.manifest.json", "s.gz.verification.json"]


async def test_one_that_vanished_meanwhile_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, dump("j"))
    storage = LocalFolder(tmp_path)
    [backup] = await chosen(storage, "j")
    await remove_backups(storage, [backup], clock=VirtualClock())
    await remove_backups(storage, [replace(backup)], clock=VirtualClock())
    assert names(tmp_path) == set()


async def test_a_dump_of_the_name_of_one_that_was_half_removed_is_not_taken_for_what_is_left(
    tmp_path: Path,
) -> None:
    made = dump("j")
    write(tmp_path, made)
    storage: Any = Interrupted(tmp_path, 5)
    with pytest.raises(StorageError, match="interruption"):
        await remove_backups(storage, await chosen(storage, "j"), clock=VirtualClock())
    assert names(tmp_path) == {"j/verification.json"}
    [left] = await find_backups(LocalFolder(tmp_path))
    assert left.state == "removing"
    write(tmp_path, {name: made[name] for name in ("j/0", "j/0.manifest.json")})
    marked = (tmp_path / "j/verification.json").stat().st_mtime
    os.utime(tmp_path / "j/0", (marked + 2, marked + 2))
    [under_way] = await find_backups(LocalFolder(tmp_path))
    assert under_way.state == "incomplete"
