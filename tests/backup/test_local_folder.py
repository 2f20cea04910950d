"""A local folder as storage: private, whole files only, and no name leads out of it."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from asyncrep.backup import local
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.local_files import Draft
from asyncrep.errors import ConditionFailedError, StorageError, UsageError
from asyncrep.flow.tasks import side_by_side
from asyncrep.storage import Version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "kept")


def files(folder: LocalFolder) -> list[str]:
    """All there is, drafts as well."""
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_files_and_folders_are_for_their_owner_only(folder: LocalFolder) -> None:
    await folder.put("a/x", b"1")
    async with folder.upload("b/y") as upload:
        await upload.write(b"2")
        (draft,) = (folder.path / "b").iterdir()
        assert mode(draft) == 0o600
    assert {mode(folder.path / name) for name in ("a/x", "b/y")} == {0o600}
    assert {mode(folder.path / name) for name in (".", "a", "b")} == {0o700}


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "", "/etc/x", "a//b", "a/", "a/../../x", "a/./b", "a\0b", ".x.0123456789ab.part"]
)  # fmt: skip
async def test_no_name_leads_out_of_the_folder(folder: LocalFolder, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be the name of a file"):
        await folder.put(name, b"")
    with pytest.raises(StorageError, match="cannot be the name of a file"):
        await folder.get(name)
    with pytest.raises(StorageError, match="cannot be the name of a file"):
        await folder.delete(name)
    with pytest.raises(StorageError, match="cannot be the name of a file"):
        folder.upload(name)
    assert not folder.path.exists()


def test_no_place_within_the_folder_is_outside_of_it(folder: LocalFolder) -> None:
    with pytest.raises(StorageError):
        folder.under("a/../..")
    assert folder.under("/a/b/").label == f"{folder.label}/a/b"


async def test_links_to_folders_are_not_followed(folder: LocalFolder, tmp_path: Path) -> None:
    await folder.put("x", b"1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y").write_bytes(b"")
    (folder.path / "link").symlink_to(tmp_path / "elsewhere")
    (folder.path / "loop").symlink_to(folder.path)
    os.mkfifo(folder.path / "pipe")
    assert [entry.name async for entry in folder.entries()] == ["x"]
    assert await folder.folders() == []
    assert await folder.head("pipe") is None


async def test_what_is_being_written_is_not_there_yet(folder: LocalFolder) -> None:
    await folder.put("x", b"before")
    async with folder.upload("x") as upload:
        await upload.write(b"after" * 300_000)
        assert len(files(folder)) == 2
        assert [entry.name async for entry in folder.entries()] == ["x"]
        assert (folder.path / "x").read_bytes() == b"before"
    assert files(folder) == ["x"]


async def test_a_long_name_has_a_draft_all_the_same(folder: LocalFolder) -> None:
    name = "n" * 255
    await folder.put(name, b"1")
    assert files(folder) == [name]
    with pytest.raises(StorageError, match="File name too long"):
        await folder.put("ü" * 200, b"")


async def test_one_file_that_is_replaced_while_it_is_read_is_read_as_it_was(folder: LocalFolder) -> None:
    await folder.put("x", b"old" * 400_000)
    async with aclosing(folder.read("x")) as pieces:
        read = await anext(pieces)
        await folder.put("x", b"new" * 400_000)
        read += b"".join([piece async for piece in pieces])
    assert read == b"old" * 400_000


async def test_conditions_hold_against_writers_at_the_same_time(folder: LocalFolder) -> None:
    """Eight writers count up together; a number is lost if two take each other's place."""
    await folder.put("x", b"0")

    async def count_up() -> None:
        for _ in range(6):
            while True:
                found = await folder.get("x")
                assert found is not None
                try:
                    await folder.put("x", b"%d" % (int(found[0]) + 1), if_match=found[1])
                    break
                except ConditionFailedError:
                    continue

    await side_by_side(count_up() for _ in range(8))
    assert (folder.path / "x").read_bytes() == b"48"


async def test_folders_that_hold_nothing_any_more_are_gone(folder: LocalFolder) -> None:
    await folder.put("a/b/c/x", b"")
    await folder.put("a/y", b"")
    await folder.delete("a/b/c/x")
    assert await folder.folders("a/") == []
    await folder.remove(["a/y"])
    assert folder.path.is_dir()
    assert list(folder.path.iterdir()) == []
    await side_by_side(_come_and_go(folder, number) for number in range(6))


async def _come_and_go(folder: LocalFolder, number: int) -> None:
    for _ in range(5):
        await folder.put(f"shared/{number}", b"")
        await folder.delete(f"shared/{number}")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full after a megabyte."""
    written = 0
    write = os.write

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal written
        written += len(data)
        if written > 1_000_000:
            raise OSError(28, os.strerror(28))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", limited)


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_is_told_and_leaves_nothing(folder: LocalFolder) -> None:
    async def fill() -> None:
        async with folder.upload("x") as upload:
            for _ in range(10):
                await upload.write(b"x" * 300_000)

    with pytest.raises(StorageError, match=r"kept/x cannot be written: No space left on device\."):
        await fill()
    with pytest.raises(StorageError, match="No space left"):
        await folder.put("y", b"x" * 2_000_000)
    assert files(folder) == []


async def test_what_the_writer_itself_raises_is_not_called_a_failed_file(folder: LocalFolder) -> None:
    with pytest.raises(ConnectionResetError):
        async with folder.upload("x"):
            raise ConnectionResetError
    assert files(folder) == []


async def test_a_cancelled_upload_leaves_nothing(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = asyncio.Event()
    loop = asyncio.get_running_loop()
    write = Draft.write

    def noticed(draft: Draft, data: bytes) -> None:
        loop.call_soon_threadsafe(writing.set)
        write(draft, data)

    monkeypatch.setattr(Draft, "write", noticed)

    async def send() -> None:
        async with folder.upload("x") as upload:
            while True:
                await upload.write(b"x" * 700_000)

    sending = asyncio.ensure_future(send())
    await writing.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert files(folder) == []


async def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "within"):
        storage = LocalFolder(place)
        with pytest.raises(StorageError, match="Not a directory"):
            await storage.check()
        with pytest.raises(StorageError, match="Not a directory"):
            await storage.put("x", b"")
        assert await storage.get("x") is None


async def test_a_folder_keeps_no_versions(folder: LocalFolder) -> None:
    with pytest.raises(UsageError, match="keeps no versions"):
        folder.versions()
    with pytest.raises(UsageError, match="keeps no versions"):
        await folder.get_version(Version("x", "1", 0.0, is_deletion=False, is_latest=True))


async def test_a_listing_looks_at_many_files_in_turns(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_AT_ONCE", 7)
    names = sorted([*(f"{number:03}" for number in range(40)), "007a/x", "039/y"])
    for name in names:
        if name != "039":
            await folder.put(name, b"")
    assert [entry.name async for entry in folder.entries()] == [name for name in names if name != "039"]
