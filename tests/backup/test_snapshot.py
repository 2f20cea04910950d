"""A snapshot is one file with every item of a folder; there is none if there is anything wrong with the folder."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.backup.folder_reading import open_folder
from asyncrep.backup.layout import read_dump_manifest
from asyncrep.backup.opening import open_backup
from asyncrep.backup.point_in_time import open_folder_at
from asyncrep.backup.snapshot import check_name, snapshot
from asyncrep.errors import AsyncrepError, BackupError, IncompleteBackupError, UsageError
from asyncrep.flow.clock import VirtualClock
from asyncrep.options import S3Access
from asyncrep.progress import Advanced, BackupStarted, Note, PassEnded, PassStarted
from tests.support.folders import START, FolderScene, local_folder, name_of
from tests.support.hooked import Hooked
from tests.support.scenario import item, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asyncrep import Event
    from asyncrep.backup.report import BackupFormat, BackupReport
    from tests.support.buckets import Bucket
    from tests.support.values import Item

FILE = "orders.json.gz"


@pytest.fixture
def scene(bucket: Bucket) -> Iterator[FolderScene]:
    yield (made := FolderScene(bucket))
    made.clear()


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notice(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notes(self) -> list[str]:
        return [each.message for each in self.events if isinstance(each, Note)]


async def make(scene: FolderScene, *, at: float | None = None, **options: Any) -> BackupReport:
    async with scene.open() as source, scene.open("snapshots") as target:
        folder = await (open_folder(source) if at is None else open_folder_at(source, START + at))
        return await snapshot(folder, target, FILE, **options)


def kept(scene: FolderScene, name: str = f"snapshots/{FILE}") -> list[Item]:
    """The items of a file, line by line."""
    text = gzip.decompress(scene.bucket.body(name)).decode()
    *lines, rest = text.split("\n")
    assert rest == ""
    return [json.loads(line) for line in lines]


def snapshots(scene: FolderScene) -> list[str]:
    return [name for name in scene.bucket.names() if not name.startswith("incr/")]


async def as_of(scene: FolderScene, name: str) -> float | None:
    """The moment that a backup in the bucket says that it is of."""
    access = S3Access(endpoint_url=scene.bucket.s3.meta.endpoint_url)
    async with open_backup(f"s3://{scene.bucket.name}/snapshots/{name}", access) as backup:
        return backup.as_of


@pytest.mark.parametrize("format", ["jsonl", "export"])
async def test_a_snapshot_tells_of_which_moment_it_is(scene: FolderScene, format: BackupFormat) -> None:
    scene.put(item("a"), at=1)
    made = START + 1000
    name = FILE if format == "jsonl" else ""
    await make(scene, at=5, format=format, clock=VirtualClock(made))
    assert await as_of(scene, name) == START + 5
    for each in snapshots(scene):
        scene.bucket.delete(each)
    await make(scene, format=format, clock=VirtualClock(made))
    assert await as_of(scene, name) == made


async def test_a_snapshot_has_every_item_as_it_is_stored_in_the_order_of_names(scene: FolderScene) -> None:
    made = sorted([item(f"k{number}", text="\u2028 é\n") for number in range(25)], key=name_of)
    scene.put_all(made)
    FolderScene(scene.bucket, "incr/orders2").put(item("other"))
    report = await make(scene)
    assert kept(scene) == made
    stored = scene.bucket.body(f"snapshots/{FILE}")
    plain = gzip.decompress(stored)
    assert plain == b"".join(scene.bucket.body(f"incr/orders/{name_of(each)}") + b"\n" for each in made)
    manifest = read_dump_manifest(scene.bucket.body(f"snapshots/{FILE}.manifest.json"), "m")
    [part] = manifest.parts
    assert (part.name, part.items, part.bytes, part.stored_bytes) == (FILE, 25, len(plain), len(stored))
    assert part.sha256 == hashlib.sha256(stored).hexdigest()
    assert (manifest.table, manifest.source) == (None, f"s3://{scene.bucket.name}/incr/orders")
    assert (report.items, report.bytes, report.stored_bytes) == (25, len(plain), len(stored))
    assert (report.complete, report.failed, report.objects, report.format) == (True, 0, 1, "jsonl")
    assert report.destination == f"s3://{scene.bucket.name}/snapshots/{FILE}"


async def test_the_same_objects_make_the_same_bytes_from_wherever_they_are_read(
    scene: FolderScene, tmp_path: Path
) -> None:
    made = [item(f"k{number}") for number in range(120)]
    scene.put_all(made)
    await make(scene)
    local = local_folder(tmp_path / "orders", made)
    await snapshot(await open_folder(local), local_folder(tmp_path / "to", []), FILE)
    assert (tmp_path / "to" / FILE).read_bytes() == scene.bucket.body(f"snapshots/{FILE}")
    assert sorted(each.name for each in (tmp_path / "to").iterdir()) == [FILE, f"{FILE}.manifest.json"]


async def test_a_snapshot_is_read_as_a_backup(scene: FolderScene) -> None:
    made = [item(f"k{number}") for number in range(7)]
    scene.put_all(made)
    await make(scene)
    async with open_backup(f"s3://{scene.bucket.name}/snapshots/{FILE}") as backup:
        read = [
            json.loads(line.image)
            for file in backup.files
            async for chunk in backup.chunks(file)
            for line in chunk.lines
        ]
    assert (backup.kind, backup.items, read) == ("snapshot", 7, sorted(made, key=name_of))


async def test_a_snapshot_of_a_moment_has_what_was_there_then(scene: FolderScene) -> None:
    scene.put(item("a", n=1), at=1)
    gone = scene.put(item("b"), at=1)
    scene.put(item("a", n=2), at=10)
    scene.delete(gone, at=10)
    told = Told()
    await make(scene, at=5, observer=told)
    assert kept(scene) == sorted([item("a", n=1), item("b")], key=name_of)
    assert "as S3 had recorded it at 2023-11-14T22:13:25Z" in told.notes[0]
    await make(scene, at=10)
    assert kept(scene) == [item("a", n=2)]


async def test_all_deleted_is_an_empty_snapshot_and_before_everything_is_none(scene: FolderScene) -> None:
    name = scene.put(item("a"), at=1)
    scene.delete(name, at=5)
    report = await make(scene, at=6)
    assert (kept(scene), report.items, report.complete) == ([], 0, True)
    scene.bucket.delete(f"snapshots/{FILE}")
    scene.bucket.delete(f"snapshots/{FILE}.manifest.json")
    with pytest.raises(BackupError, match="Nothing was recorded"):
        await make(scene, at=0)
    assert snapshots(scene) == []


async def test_an_export_has_the_layout_of_aws(scene: FolderScene) -> None:
    made = [item(f"k{number}") for number in range(7)]
    scene.put_all(made)
    report = await make(scene, format="export", clock=VirtualClock(START))
    root = f"snapshots/AWSDynamoDB/{report.job_id}/"
    assert str(report.job_id).startswith(f"0{START}000-")
    assert kept(scene, f"{root}data/0.json.gz") == [{"Item": each} for each in sorted(made, key=name_of)]
    summary = json.loads(scene.bucket.body(f"{root}manifest-summary.json"))
    assert (summary["itemCount"], summary["outputFormat"]) == (7, "DYNAMODB_JSON")
    async with open_backup(f"s3://{scene.bucket.name}/snapshots") as backup:
        assert (backup.kind, backup.items, backup.description) == ("export", 7, None)
        lines = [line async for chunk in backup.chunks(backup.files[0]) for line in chunk.lines]
    assert [json.loads(line.image) for line in lines] == sorted(made, key=name_of)


async def test_exports_of_two_folders_are_no_exports_of_one_table(scene: FolderScene) -> None:
    scene.put(item("a"))
    other = FolderScene(scene.bucket, "incr/users")
    other.put(item("b"))
    place = f"s3://{scene.bucket.name}/snapshots"
    await make(scene, format="export", clock=VirtualClock(START))
    await make(scene, format="export", clock=VirtualClock(START + 5))
    async with open_backup(place) as backup:
        assert backup.items == 1  # of the later one
    await make(other, format="export", clock=VirtualClock(START + 9))
    folders = ", ".join(f"s3://{scene.bucket.name}/incr/{name}" for name in ("orders", "users"))
    with pytest.raises(BackupError) as caught:
        async with open_backup(place):
            pass
    assert str(caught.value) == (
        f"{place} holds exports of several tables or folders ({folders}): name one of its exports."
    )


async def test_a_new_snapshot_takes_the_place_of_the_old_one(scene: FolderScene) -> None:
    scene.put(item("a"))
    await make(scene)
    scene.put(item("b"))
    report = await make(scene)
    assert len(kept(scene)) == report.items == 2
    manifest = read_dump_manifest(scene.bucket.body(f"snapshots/{FILE}.manifest.json"), "m")
    assert manifest.items == 2


# ── What must not become a snapshot ─────────────────────────────────────────────────────────────────


async def test_an_object_that_is_no_item_leaves_nothing_that_looks_whole(scene: FolderScene) -> None:
    scene.put_all([item(f"k{number}") for number in range(20)])
    scene.put(b"not an item", "README")
    scene.put(item("a"), "f" * 64)
    told = Told()
    with pytest.raises(IncompleteBackupError) as failed:
        await make(scene, observer=told)
    assert snapshots(scene) == []
    root = f"s3://{scene.bucket.name}/incr/orders"
    assert str(failed.value) == (
        f"2 objects are no items of {root}, so that nothing was written. The first is {root}/README: its name is no "
        "digest of a key, as the objects of an incremental folder have."
    )
    report = failed.value.report
    assert (report.complete, report.failed) == (False, 2)
    assert told.notes[1] == f"{root}/{'f' * 64}: it holds another item than its name says."
    assert not scene.bucket.s3.list_multipart_uploads(Bucket=scene.bucket.name).get("Uploads")


async def test_a_failed_snapshot_leaves_the_one_before(scene: FolderScene) -> None:
    scene.put(item("a"))
    await make(scene)
    scene.put(b"x", "README")
    with pytest.raises(IncompleteBackupError):
        await make(scene)
    assert kept(scene) == [item("a")]
    assert f"snapshots/{FILE}.manifest.json" in snapshots(scene)


async def test_only_the_first_of_many_bad_objects_are_named(tmp_path: Path) -> None:
    folder = local_folder(tmp_path / "orders", [item(f"k{number}") for number in range(5)])
    for number in range(30):
        (tmp_path / "orders" / f"bad{number:02}").write_bytes(b"x")
    told = Told()
    with pytest.raises(IncompleteBackupError, match="30 objects are no items"):
        await snapshot(await open_folder(folder), local_folder(tmp_path / "to", []), FILE, observer=told)
    assert len(told.notes) == 10
    assert not list((tmp_path / "to").iterdir())


@pytest.mark.parametrize("name", ["", "0", "1234567", "a" * 64, "manifest.json", "x.manifest.json"])
def test_a_name_that_looks_like_a_part_of_another_backup_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


@pytest.mark.parametrize("name", ["orders", "20260102", "0.json.gz", "00", "manifest"])
def test_other_names_are_not_refused(name: str) -> None:
    check_name(name)


async def test_a_cancelled_snapshot_leaves_nothing(scene: FolderScene) -> None:
    scene.put_all([item(f"k{number}") for number in range(20)])
    async with scene.open() as source, scene.open("snapshots") as target:
        hooked: Any = Hooked(source)
        folder = await open_folder(hooked)
        task = asyncio.ensure_future(snapshot(folder, target, FILE))

        async def cancel() -> None:
            task.cancel()

        hooked.before("get", cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert snapshots(scene) == []


async def test_a_read_that_fails_for_good_leaves_nothing(scene: FolderScene) -> None:
    scene.put_all([item(f"k{number}") for number in range(20)])
    async with scene.open() as source, scene.open("snapshots") as target:
        hooked: Any = Hooked(source)
        folder = await open_folder(hooked)

        async def fail() -> None:
            raise AsyncrepError("The network is gone.")

        hooked.before("get", fail)
        with pytest.raises(IncompleteBackupError, match=r"^The network is gone\.$"):
            await snapshot(folder, target, FILE)
    assert snapshots(scene) == []


# ── One record, two objects ─────────────────────────────────────────────────────────────────────────


async def test_a_record_with_two_objects_is_in_it_once_with_the_later_one(scene: FolderScene) -> None:
    def version(number: int, value: str) -> Item:
        return {"zone": wire("z"), "age": wire(number), "v": wire(value)}

    for number in range(30):
        later = number % 2 * 10
        scene.put(version(number, "ours"), at=5, by="zone,age")
        scene.put(version(number, "theirs"), at=later, by="age,zone")
    told = Told()
    report = await make(scene, observer=told)
    items = {int(each["age"]["N"]): each["v"]["S"] for each in kept(scene)}
    assert items == {number: "theirs" if number % 2 else "ours" for number in range(30)}
    assert len(kept(scene)) == report.items == 30
    [note] = told.notes
    assert note == (
        f"30 records of s3://{scene.bucket.name}/incr/orders had two objects, named by the key's attributes in two "
        "orders: the one that was written later counts."
    )


# ── Progress ────────────────────────────────────────────────────────────────────────────────────────


async def test_progress_tells_how_many_there_are_and_how_many_were_read(tmp_path: Path) -> None:
    folder = local_folder(tmp_path / "orders", [item(f"k{number}") for number in range(250)])
    told = Told()
    report = await snapshot(await open_folder(folder), local_folder(tmp_path / "to", []), FILE, observer=told)
    assert told.events[0] == BackupStarted(report)
    assert told.events[1] == PassStarted("snapshot", 250)
    assert [each.items for each in told.events if isinstance(each, Advanced)] == [100, 100, 50]
    assert told.events[-1] == PassEnded("snapshot")
