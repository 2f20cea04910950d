"""An incremental folder is read as S3 had recorded it at a moment, deletions included, and never as a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.backup.opening import open_backup
from asyncrep.backup.point_in_time import moment, open_folder_at
from asyncrep.errors import BackupError, ServiceError, UsageError
from asyncrep.flow.clock import VirtualClock
from tests.support.buckets import Bucket, bucket_on
from tests.support.folders import START, FolderScene, lines, local_folder, name_of, read
from tests.support.scenario import item, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.values import Item


@pytest.fixture
def scene(bucket: Bucket) -> Iterator[FolderScene]:
    yield (made := FolderScene(bucket))
    made.clear()


@pytest.fixture
def unversioned(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderScene]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    with bucket_on(moto_url, versioned=False) as bucket:
        yield FolderScene(bucket)


def short(made: Item) -> str:
    return name_of(made)[:8]


async def at(scene: FolderScene, seconds: float) -> dict[str, Any]:
    """The items of the folder at that second of the history."""
    async with scene.open() as objects:
        return await read(await open_folder_at(objects, START + seconds))


async def values(scene: FolderScene, *moments: float) -> list[int | None]:
    """What the item "a" had in n at each of these seconds; None where there was none."""
    found = [(await at(scene, each)).get(short(item("a"))) for each in moments]
    return [None if each is None else int(each["n"]["N"]) for each in found]


# ── The state at a moment ───────────────────────────────────────────────────────────────────────────


async def test_each_item_is_as_it_was_then(scene: FolderScene) -> None:
    a = scene.put(item("a", n=1), at=10)
    scene.put(item("a", n=2), at=20)
    scene.put(item("b"), at=5)
    scene.put(item("late"), at=100)
    assert await at(scene, 10) == {a[:8]: item("a", n=1), short(item("b")): item("b")}
    assert await values(scene, 9, 10, 19, 20, 99) == [None, 1, 1, 2, 2]
    assert list(await at(scene, 100)) == sorted(map(short, [item("a"), item("b"), item("late")]))


async def test_a_deleted_item_is_absent_until_it_is_written_again(scene: FolderScene) -> None:
    scene.put(item("witness"), at=0)
    name = scene.put(item("a", n=1), at=10)
    scene.delete(name, at=20)
    scene.put(item("a", n=3), at=30)
    scene.delete(name, at=40)
    assert await values(scene, 10, 19, 20, 29, 30, 39, 40, 1000) == [1, 1, None, None, 3, 3, None, None]


async def test_of_the_versions_of_one_second_the_last_counts(scene: FolderScene) -> None:
    scene.put(item("witness"), at=0)
    name = scene.put(item("a", n=1), at=5.1)
    scene.put(item("a", n=2), at=5.2)
    scene.delete(name, at=6.1)
    scene.put(item("a", n=3), at=6.2)
    scene.put(item("a", n=4), at=7.1)
    scene.delete(name, at=7.2)
    assert await values(scene, 4, 5, 6, 7) == [None, 2, 3, None]


async def test_a_folder_that_is_empty_by_now_can_be_rebuilt(scene: FolderScene) -> None:
    name = scene.put(item("a", n=1), at=10)
    scene.delete(name, at=20)
    assert await at(scene, 15) == {short(item("a")): item("a", n=1)}
    assert await at(scene, 25) == {}


async def test_pages_that_break_within_the_versions_of_one_object_hide_none(
    scene: FolderScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    before, broken, after = sorted((item(f"k{number}") for number in range(3)), key=short)
    for each in (before, after):
        scene.put(each, at=1)
    for number in range(20):
        name = scene.put(broken | {"n": wire(number)}, at=2 * number)
        if number % 3 == 2:
            scene.delete(name, at=2 * number + 1)
    there = {short(before): before, short(after): after}
    assert await at(scene, 4) == there | {short(broken): broken | {"n": wire(2)}}
    assert await at(scene, 5) == there
    assert await at(scene, 31) == there | {short(broken): broken | {"n": wire(15)}}


async def test_the_folder_of_another_table_is_none_of_it(scene: FolderScene) -> None:
    scene.put(item("a"), at=1)
    FolderScene(scene.bucket, "incr/orders2").put(item("b"), at=1)
    FolderScene(scene.bucket, "incr/orders/within").put(item("c"), at=1)
    assert await at(scene, 2) == {short(item("a")): item("a")}


async def test_what_is_no_item_is_told_if_it_was_there(scene: FolderScene) -> None:
    scene.put(item("a"), at=1)
    scene.put(b"README", "README", at=1)
    scene.put(b"x", "00 notes", at=1)
    scene.put(b"{}x", "3" * 64, at=1)
    scene.put(b"late", "LATE", at=50)
    scene.put(b"late", "0late", at=50)
    async with scene.open() as objects:
        told = await lines(await open_folder_at(objects, START + 2))
    assert sorted(file.rpartition("/")[2][:8] for file, _ in told) == sorted(
        ["README", "00 notes", "33333333", short(item("a"))]
    )


async def test_an_object_of_the_other_name_is_not_raised_from_the_dead(scene: FolderScene) -> None:
    """dynamodb-replicator has named it by the sorted key; asyncrep has deleted it under its own name."""
    for number in range(8):
        scene.put({"zone": wire("z"), "age": wire(number)}, at=1, by="zone,age")
    dead = {"zone": wire("z"), "age": wire(99)}
    scene.put(dead, at=1, by="age,zone")
    name = scene.put(dead, at=2, by="zone,age")
    scene.delete(name, at=3)
    ages = [sorted(int(each["age"]["N"]) for each in (await at(scene, now)).values()) for now in (1, 2, 3)]
    assert ages == [[*range(8), 99], [*range(8), 99], [*range(8)]]


async def test_a_folder_that_is_empty_by_now_is_found_as_a_backup(scene: FolderScene) -> None:
    name = scene.put(item("a", n=1), at=10)
    scene.delete(name, at=20)
    root = f"s3://{scene.bucket.name}/incr"
    for place, table in ((f"{root}/orders", None), (root, "orders"), (f"{root}/orders/", "orders")):
        async with open_backup(place, table_name=table, at=START + 15) as backup:
            assert (backup.kind, backup.label) == ("folder", f"{root}/orders")
            assert [told for _, told in await lines(backup)] == [item("a", n=1)]
    with pytest.raises(BackupError):
        async with open_backup(f"{root}/orders"):
            pass


# ── Moments that are none ───────────────────────────────────────────────────────────────────────────


async def test_a_moment_before_everything_is_refused(scene: FolderScene) -> None:
    scene.put(item("a"), at=10)
    with pytest.raises(BackupError) as refused:
        await at(scene, 9)
    assert str(refused.value) == (
        f"Nothing was recorded in s3://{scene.bucket.name}/incr/orders at {moment(START + 9)}: its first "
        f"version is of {moment(START + 10)}."
    )
    async with scene.open() as objects:
        with pytest.raises(BackupError, match="Nothing was recorded"):
            await lines(await open_folder_at(objects, START))


async def test_the_future_is_refused_and_the_present_is_not(scene: FolderScene) -> None:
    scene.put(item("a"), at=10)
    clock = VirtualClock(START + 100)
    async with scene.open() as objects:
        await open_folder_at(objects, START + 100, clock=clock)
        with pytest.raises(
            UsageError, match=r"^2023-11-14T22:15:01Z is in the future: nothing is recorded yet\.$"
        ):
            await open_folder_at(objects, START + 101, clock=clock)
        with pytest.raises(UsageError, match="is in the future"):
            await open_folder_at(objects, 1e12)


async def test_a_place_without_items_is_no_folder(scene: FolderScene) -> None:
    FolderScene(scene.bucket, "incr/orders2").put(item("a"))
    async with scene.open() as objects:
        with pytest.raises(BackupError, match="no object of an item was ever there"):
            await open_folder_at(objects, START)


async def test_a_local_folder_keeps_no_versions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="keeps no versions: what it was at a moment only S3 tells"):
        await open_folder_at(local_folder(tmp_path / "orders", [item("a")]), START)


# ── Versions that S3 has not kept ───────────────────────────────────────────────────────────────────


async def test_without_versions_only_what_has_not_changed_since_is_known(unversioned: FolderScene) -> None:
    scene = unversioned
    scene.put(item("a"), at=10)
    async with scene.open() as objects:
        folder = await open_folder_at(objects, START + 10)
        assert await read(folder) == {short(item("a")): item("a")}
        assert "seems to keep no versions: what was deleted before is not known." in folder.notes[-1]
    name = scene.put(item("b"), at=20)
    with pytest.raises(BackupError) as refused:
        await at(scene, 15)
    assert str(refused.value) == (
        f"s3://{scene.bucket.name}/incr/orders/{name} was written at {moment(START + 20)}, when the bucket kept no "
        f"versions: what it was at {moment(START + 15)} is not known. The folder can be rebuilt as it was at "
        f"{moment(START + 20)} or later."
    )


async def test_objects_of_the_time_before_versions_were_kept_are_known_from_then_on(
    unversioned: FolderScene,
) -> None:
    scene = unversioned
    name = scene.put(item("a", n=1), at=10)
    keep = {"Status": "Enabled"}
    scene.bucket.s3.put_bucket_versioning(Bucket=scene.bucket.name, VersioningConfiguration=keep)
    assert scene.version_ids(name) == ["null"]
    scene.put(item("a", n=2), at=20)
    assert await values(scene, 10, 19, 20) == [1, 1, 2]
    with pytest.raises(BackupError, match="when the bucket kept no versions"):
        await at(scene, 9)


async def test_a_time_without_versions_in_between_is_not_guessed(scene: FolderScene) -> None:
    """While versioning is suspended a version takes the place of another one of that time."""
    name = scene.put(item("a", n=1), at=10)
    scene.put(item("a", n=2), at=20)
    scene.change(name, -1, _version_id="null")
    scene.put(item("a", n=3), at=30)
    assert await values(scene, 20, 29, 30) == [2, 2, 3]
    with pytest.raises(BackupError, match="when the bucket kept no versions"):
        await at(scene, 15)


async def test_a_version_that_is_lost_while_it_is_read_fails(scene: FolderScene) -> None:
    name = scene.put(item("a", n=1), at=10)
    scene.put(item("a", n=2), at=20)
    [_, old] = scene.version_ids(name)
    async with scene.open() as objects:
        folder = await open_folder_at(objects, START + 10)
        key = f"incr/orders/{name}"
        [found] = [each async for each in folder._listing.objects(name[0])]
        scene.bucket.s3.delete_object(Bucket=scene.bucket.name, Key=key, VersionId=old)
        with pytest.raises(ServiceError):
            await folder._listing.read(found)
