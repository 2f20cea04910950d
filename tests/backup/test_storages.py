"""What holds for every kind of storage: a prefix in S3 and a local folder alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep.aws.objects import open_objects
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.errors import ConditionFailedError, ServiceError, StorageError
from asyncrep.flow.tasks import side_by_side
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from asyncrep.storage import Entry, Storage, Upload
    from tests.support.buckets import Bucket

HOSTILE = ("a b", "ü/🦄", "x?y=%2F&z", "quote'\"<>", "-", "\\n", "trailing.", "a\u2028b", "+", "#")
ORDERED = ("!", "a!", "a/b/c!", "a/b0", "a0", "é", "\uff5e", "🦄")
"""In the order of their bytes, which that of UTF-16 is not."""


@pytest.fixture(params=["s3", "folder"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "folder":
        yield LocalFolder(tmp_path / "made" / "on demand")
        return
    bucket: Bucket = request.getfixturevalue("bucket")
    async with open_objects(S3Place(bucket.name, "made/on demand"), session=session()) as objects:
        yield objects


async def names(storage: Storage, prefix: str = "", after: str = "") -> list[str]:
    return [entry.name async for entry in storage.entries(prefix, after=after)]


async def content(storage: Storage, name: str) -> bytes:
    return b"".join([piece async for piece in storage.read(name)])


async def written(upload: AbstractAsyncContextManager[Upload], data: bytes) -> None:
    async with upload as opened:
        await opened.write(data)


async def test_what_was_put_is_read_again(storage: Storage) -> None:
    etag = await storage.put("deep/within/x", b"\0one\xff")
    assert await storage.get("deep/within/x") == (b"\0one\xff", etag)
    assert await content(storage, "deep/within/x") == b"\0one\xff"
    head = await storage.head("deep/within/x")
    assert head is not None
    assert (head.etag, head.size) == (etag, 5)


async def test_what_is_not_there_is_told(storage: Storage) -> None:
    await storage.check()
    assert await storage.get("x") is None
    assert await storage.head("x") is None
    assert await names(storage) == []
    assert await storage.folders() == []
    await storage.delete("x")
    await storage.remove(["x", "y/z"])
    with pytest.raises((ServiceError, StorageError), match=r"x"):
        await content(storage, "x")


async def test_conditions_hold(storage: Storage) -> None:
    first = await storage.put("x", b"one", if_absent=True)
    with pytest.raises(ConditionFailedError):
        await storage.put("x", b"two", if_absent=True)
    second = await storage.put("x", b"two", if_match=first)
    assert second != first
    with pytest.raises(ConditionFailedError):
        await storage.put("x", b"three", if_match=first)
    with pytest.raises(ConditionFailedError):
        await storage.put("y", b"one", if_match=first)
    with pytest.raises(ConditionFailedError):
        await storage.delete("x", if_match=first)
    assert await storage.get("x") == (b"two", second)
    await storage.delete("x", if_match=second)
    assert await storage.get("x") is None
    with pytest.raises(ConditionFailedError):
        await storage.delete("x", if_match=second)


async def test_of_many_who_put_what_is_absent_one_succeeds(storage: Storage) -> None:
    async def put(number: int) -> int:
        try:
            await storage.put("x", str(number).encode(), if_absent=True)
        except ConditionFailedError:
            return 0
        return 1

    assert sum(await side_by_side(put(number) for number in range(12))) == 1


async def test_names_hold_whatever_s3_allows(storage: Storage) -> None:
    for name in HOSTILE:
        await storage.put(name, name.encode())
    assert sorted(await names(storage)) == sorted(HOSTILE)
    assert [await content(storage, name) for name in HOSTILE] == [name.encode() for name in HOSTILE]
    await storage.remove(HOSTILE)
    assert await names(storage) == []


async def test_entries_come_in_the_order_of_bytes_with_what_they_are(storage: Storage) -> None:
    for name in reversed(ORDERED):
        await storage.put(name, b"x" * len(name))
    found = [entry async for entry in storage.entries()]
    assert tuple(entry.name for entry in found) == ORDERED
    for entry in found:
        head = await storage.head(entry.name)
        assert head is not None
        assert (entry.size, entry.etag) == (len(entry.name), head.etag)
        assert 1_600_000_000 < entry.modified < 5_000_000_000


@pytest.mark.parametrize(
    ("prefix", "after"),
    [("", "a!"), ("a", ""), ("a/", ""), ("a/b", "a/b"), ("a/b/", "a/b/c"), ("", "a/b/c!"), ("a/b0", ""), ("z", ""), ("", "z")],
)  # fmt: skip
async def test_a_part_of_the_entries_can_be_listed(storage: Storage, prefix: str, after: str) -> None:
    for name in ORDERED:
        await storage.put(name, b"")
    wanted = [name for name in ORDERED if name.startswith(prefix) and name > after]
    assert await names(storage, prefix, after) == wanted


async def test_folders_are_told_without_what_is_in_them(storage: Storage) -> None:
    for name in ("job-1/0", "job-1/deep/er", "job-2/0", "other/0", "job"):
        await storage.put(name, b"")
    assert await storage.folders() == ["job-1", "job-2", "other"]
    assert await storage.folders("job-") == ["job-1", "job-2"]
    assert await storage.folders("job-1/") == ["job-1/deep"]
    assert await storage.folders("job-1") == ["job-1"]


async def test_a_place_within_a_place_has_names_of_its_own(storage: Storage) -> None:
    within = storage.under("incr/primary")
    await within.put("x", b"")
    await storage.under("incr/primary2").put("y", b"")
    assert await names(within) == ["x"]
    assert await names(storage) == ["incr/primary/x", "incr/primary2/y"]
    assert within.label == f"{storage.label}/incr/primary"
    assert within.name_of("x") == storage.name_of("incr/primary/x") == f"{within.label}/x"
    assert await names(storage.under("")) == await names(storage)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
async def test_what_was_uploaded_is_there_as_a_whole(storage: Storage, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with storage.upload("x") as upload:
        for start in range(0, size, 300_000):
            await upload.write(data[start : start + 300_000])
            assert await storage.head("x") is None
        assert upload.size == size
    assert await content(storage, "x") == data
    assert await names(storage) == ["x"]


async def test_of_an_upload_that_fails_nothing_is_left(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.upload("deep/x") as upload:
            await upload.write(b"x" * 2_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await names(storage) == []


async def test_an_upload_takes_the_place_of_nothing_that_must_not_be_there(storage: Storage) -> None:
    await storage.put("x", b"here first")
    too_late = storage.upload("x", if_absent=True)
    with pytest.raises(ConditionFailedError):
        await written(too_late, b"too late")
    assert await content(storage, "x") == b"here first"
    await written(storage.upload("x"), b"on purpose")
    assert await content(storage, "x") == b"on purpose"


async def test_a_place_is_opened_by_what_it_is(bucket: Bucket, tmp_path: Path) -> None:
    for place in (tmp_path / "kept", S3Place(bucket.name, "kept")):
        async with open_storage(place, S3Access(), session=session()) as storage:
            await storage.put("x", b"1")
            assert storage.label == str(place)
            entries: list[Entry] = [entry async for entry in storage.entries()]
            assert [entry.name for entry in entries] == ["x"]
    assert bucket.names() == ["kept/x"]
    assert (tmp_path / "kept" / "x").read_bytes() == b"1"
