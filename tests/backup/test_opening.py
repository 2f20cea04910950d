"""What kind of backup a place holds is found out, and what is none is refused with a sentence."""

from __future__ import annotations

import gzip
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from asyncrep.backup.layout import SegmentManifest, TableDescription, manifest_bytes
from asyncrep.backup.lines import Deflater
from asyncrep.backup.opening import open_backup
from asyncrep.errors import BackupError, BucketNotFoundError, LocationError, UsageError
from asyncrep.items.incremental import object_name
from tests.support.restores import BY_ID, export, foreign_dump, jsonl, lines_of, our_dump, put
from tests.support.scenario import item, items, key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.buckets import Bucket

STOCK = items(30, n=1)


def folder_of(stock: list[dict]) -> dict[str, bytes]:  # type: ignore[type-arg]
    return {object_name(key(each["id"]["S"])): jsonl([each])[:-1] for each in stock}


def segment(number: int, of: int, stored: bytes) -> bytes:
    return manifest_bytes(
        SegmentManifest(
            job="job", segment=number, segments=of, items=gzip.decompress(stored).count(b"\n"), bytes=1,
            stored_bytes=len(stored), sha256="0" * 64, begun="2026-01-02T03:00:00Z", ended="2026-01-02T03:05:00Z",
            table=TableDescription(name="orders", create=BY_ID),
        )
    )  # fmt: skip


async def test_a_dump_with_a_manifest_tells_its_items_and_its_table(tmp_path: Path) -> None:
    put(tmp_path, our_dump([STOCK[:10], STOCK[10:]]))
    async with open_backup(str(tmp_path)) as backup:
        assert (backup.kind, backup.items, backup.phases, backup.notes) == ("dump", 30, 1, [])
        assert [(file.name, file.items) for file in backup.files] == [("0", 10), ("1", 20)]
        assert backup.description is not None
        assert backup.description.name == "orders"
    assert await lines_of(tmp_path) == STOCK


@pytest.mark.parametrize(("ended", "moment"), [("2026-01-02T03:05:00Z", 1_767_323_100), ("nonsense", None)])
async def test_a_backup_tells_up_to_which_moment_it_knows_its_table(
    tmp_path: Path, ended: str, moment: float | None
) -> None:
    put(tmp_path, our_dump([STOCK], ended=ended))
    put(tmp_path / "exports", export("0", [], time="2026-01-02T03:00:00.000Z"))
    async with open_backup(str(tmp_path / "manifest.json")) as backup:
        assert backup.as_of == moment
    async with open_backup(str(tmp_path / "exports")) as backup:
        assert backup.as_of == 1_767_322_800


async def test_what_has_no_manifest_is_of_the_time_at_which_it_was_written(tmp_path: Path) -> None:
    put(tmp_path, foreign_dump([STOCK[:10], STOCK[10:]]))
    for number in range(2):
        os.utime(tmp_path / str(number), (1_700_000_000 + number,) * 2)
    for place, moment in ((tmp_path, 1_700_000_001), (tmp_path / "0", 1_700_000_000)):
        async with open_backup(str(place)) as backup:
            assert backup.as_of == moment


async def test_naming_the_manifest_means_its_dump(tmp_path: Path) -> None:
    put(tmp_path, our_dump([STOCK]))
    assert await lines_of(tmp_path / "manifest.json") == STOCK


async def test_segments_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    put(tmp_path, foreign_dump([[each] for each in items(12)]))
    assert await lines_of(tmp_path) == items(12)


async def test_a_gap_between_the_objects_of_a_dump_without_manifest_is_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            name: data
            for name, data in foreign_dump([[each] for each in items(12)]).items()
            if name not in "357"
        },
    )
    async with open_backup(str(tmp_path)) as backup:
        assert backup.items is None
        assert [("no manifest" in note, "are 3, 5, 7 missing" in note) for note in backup.notes] == [
            (True, False), (False, True)
        ]  # fmt: skip


async def test_a_dump_of_ours_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    stored = gzip.compress(jsonl(STOCK))
    put(tmp_path, {"0": stored, "0.manifest.json": segment(0, 4, stored), "2": stored})
    with pytest.raises(BackupError, match="of its 4 segments there are 1, 2, 3 missing"):
        await lines_of(tmp_path)


async def test_a_dump_of_ours_that_was_ended_before_its_first_manifest_is_refused(tmp_path: Path) -> None:
    deflater = Deflater()
    stored = deflater.add(jsonl(STOCK)) + deflater.finish()
    put(tmp_path, {"0": stored})
    with pytest.raises(BackupError, match="asyncrep has made it, and there is no manifest of any of its"):
        await lines_of(tmp_path)
    assert await lines_of(tmp_path / "0") == STOCK


async def test_a_missing_or_shortened_part_is_found_before_anything_is_read(tmp_path: Path) -> None:
    objects = our_dump([STOCK[:10], STOCK[10:]])
    put(tmp_path, objects | {"1": objects["1"][:-3]})
    with pytest.raises(BackupError, match=r"1 is not what its manifest says: it has [0-9,]+ bytes, not"):
        await lines_of(tmp_path)
    (tmp_path / "1").unlink()
    with pytest.raises(BackupError, match="1 is missing, which is a part of the dump"):
        await lines_of(tmp_path)


async def test_a_manifest_cannot_name_what_is_no_segment(tmp_path: Path) -> None:
    objects = our_dump([STOCK])
    put(
        tmp_path,
        objects | {"manifest.json": objects["manifest.json"].replace(b'"name": "0"', b'"name": "../0"')},
    )
    with pytest.raises(BackupError, match=r"manifest.json names '../0', which is no segment"):
        await lines_of(tmp_path)


@pytest.mark.parametrize("document", [b"", b"{}", b"[1]", b'{"asyncrep":"dump","format":2}', b"\xff"])
async def test_a_manifest_that_is_none_is_refused(tmp_path: Path, document: bytes) -> None:
    put(tmp_path, our_dump([STOCK]) | {"manifest.json": document})
    with pytest.raises(BackupError, match=r"manifest\.json is not"):
        await lines_of(tmp_path)


async def test_what_the_manifest_of_a_dump_does_not_name_is_told(tmp_path: Path) -> None:
    put(tmp_path, our_dump([STOCK, STOCK]) | our_dump([STOCK]))
    async with open_backup(str(tmp_path)) as backup:
        assert [file.name for file in backup.files] == ["0"]
        assert backup.notes == [f"{tmp_path / 'manifest.json'} does not name 1: left out."]


async def test_a_manifest_cannot_name_a_segment_twice(tmp_path: Path) -> None:
    objects = our_dump([STOCK, STOCK])
    put(
        tmp_path,
        objects | {"manifest.json": objects["manifest.json"].replace(b'"name": "1"', b'"name": "0"')},
    )
    with pytest.raises(BackupError, match=r"manifest.json names a segment twice"):
        await lines_of(tmp_path)


async def test_an_empty_file_is_no_backup_of_no_items(tmp_path: Path) -> None:
    put(
        tmp_path,
        {"file": b"", "dump/0": gzip.compress(jsonl(STOCK)), "dump/1": b"", "none": gzip.compress(b"")},
    )
    with pytest.raises(BackupError, match="file is empty: not even gzip is in it"):
        await lines_of(tmp_path / "file")
    with pytest.raises(BackupError, match="dump/1 is empty"):
        await lines_of(tmp_path / "dump")
    assert await lines_of(tmp_path / "none") == []


async def test_which_of_several_backups_in_a_place_is_meant_is_asked(tmp_path: Path) -> None:
    whole, exported = our_dump([STOCK]), export("1", [{"Item": each} for each in STOCK])
    put(tmp_path / "a", {f"job/{name}": data for name, data in whole.items()} | exported)
    with pytest.raises(
        BackupError, match=r"a holds exports in .*/a/AWSDynamoDB, and the dump .*/a/job: name the one"
    ):
        await lines_of(tmp_path / "a")
    put(tmp_path / "b", whole | {f"orders/{name}": data for name, data in folder_of(STOCK[:3]).items()})
    with pytest.raises(
        BackupError, match=r"b holds the incremental folder .*/b/orders, and the segments of a dump"
    ):
        await lines_of(tmp_path / "b", table_name="orders")
    assert await lines_of(tmp_path / "b" / "manifest.json", table_name="orders") == STOCK
    assert len(await lines_of(tmp_path / "b" / "orders")) == 3
    put(tmp_path / "c", whole | exported)
    with pytest.raises(BackupError, match=r"c holds exports in .*/c/AWSDynamoDB, and the segments of a dump"):
        await lines_of(tmp_path / "c")


async def test_a_single_file_is_a_snapshot_in_gzip_or_plain(tmp_path: Path) -> None:
    plain = jsonl(STOCK)
    two_members = gzip.compress(plain[:100]) + gzip.compress(plain[100:])
    put(
        tmp_path,
        {"a": gzip.compress(plain), "b": plain, "c": two_members, "d": plain.replace(b"\n", b"\r\n")},
    )
    for name in "abcd":
        async with open_backup(str(tmp_path / name)) as backup:
            assert backup.kind == "snapshot"
        assert await lines_of(tmp_path / name) == STOCK


async def test_one_segment_of_a_dump_can_be_read_by_its_own_name(tmp_path: Path) -> None:
    stored = gzip.compress(jsonl(STOCK))
    put(tmp_path, {"0": stored, "0.manifest.json": segment(0, 4, stored)})
    async with open_backup(str(tmp_path / "0")) as backup:
        assert backup.description is not None
        assert backup.notes == [f"{tmp_path / '0'} is one of the 4 segments of a dump, not all of the table."]


async def test_the_only_dump_under_a_prefix_is_meant_by_it(tmp_path: Path) -> None:
    put(tmp_path / "20260101T000000Z-abcdef", our_dump([STOCK]))
    async with open_backup(str(tmp_path)) as backup:
        assert backup.label == str(tmp_path / "20260101T000000Z-abcdef")


async def test_of_several_dumps_the_newest_is_named(tmp_path: Path) -> None:
    for age, job in enumerate(("b", "a")):
        put(tmp_path / job, our_dump([STOCK]))
        for path in (tmp_path / job).iterdir():
            os.utime(path, (1_000_000 + age, 1_000_000 + age))
    with pytest.raises(BackupError, match=rf"holds 2 dumps: name one of them, as {tmp_path}/a, the newest"):
        await lines_of(tmp_path)


async def test_an_incremental_folder_is_known_by_its_names_and_by_its_table_s(tmp_path: Path) -> None:
    put(tmp_path / "orders", folder_of(STOCK))
    put(tmp_path / "orders2", folder_of([item("other")]))
    by_key = sorted(await lines_of(tmp_path / "orders"), key=lambda each: each["id"]["S"])
    assert by_key == STOCK
    assert len(await lines_of(tmp_path, table_name="orders")) == 30
    with pytest.raises(BackupError, match=f"folders of tables: name one of them, as {tmp_path}/orders"):
        await lines_of(tmp_path)


async def test_what_holds_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="There is nothing at"):
        await lines_of(tmp_path / "nowhere")
    with pytest.raises(BackupError, match=r"There is no backup in .*: nothing is there"):
        await lines_of(tmp_path)
    put(tmp_path, {"readme.txt": b"hello"})
    with pytest.raises(BackupError, match=r"There is no backup in .*: no dump"):
        await lines_of(tmp_path)
    with pytest.raises(LocationError):
        await lines_of("gs://bucket/x")


async def test_a_moment_is_refused_for_what_has_no_history(tmp_path: Path) -> None:
    put(tmp_path, our_dump([STOCK]))
    with pytest.raises(UsageError, match="--at is for incremental folders"):
        await lines_of(tmp_path, at=1.0)
    with pytest.raises(UsageError, match=r"0 holds what it held when it was written"):
        await lines_of(tmp_path / "0", at=1.0)


async def test_places_in_s3_are_told_apart_likewise(bucket: Bucket) -> None:
    for name, data in our_dump([STOCK[:10], STOCK[10:]]).items():
        bucket.put(f"backups/job/{name}", data)
    bucket.put("backups/", b"")
    bucket.put("snapshot.gz", gzip.compress(jsonl(STOCK)))
    bucket.put("backups/job", b"")  # with which some tools mark a folder
    bucket.put("empty", b"")
    for name, data in export("1", [{"Item": each} for each in STOCK]).items():
        bucket.put(f"exports/{name}", data)
    for place in (
        "backups/job", "backups/job/", "backups", "backups/job/manifest.json", "snapshot.gz", "exports",
        "exports/AWSDynamoDB", "exports/AWSDynamoDB/1", "exports/AWSDynamoDB/1/manifest-summary.json",
    ):  # fmt: skip
        assert await lines_of(f"s3://{bucket.name}/{place}") == STOCK, place
    with pytest.raises(BackupError, match="empty is empty"):
        await lines_of(f"s3://{bucket.name}/empty")
    with pytest.raises(BackupError, match="nothing is there"):
        await lines_of(f"s3://{bucket.name}/none")


async def test_a_slash_at_the_end_tells_a_folder_from_an_object_of_its_name(bucket: Bucket) -> None:
    bucket.put("orders", gzip.compress(jsonl(STOCK)))
    for name, data in folder_of(STOCK[:3]).items():
        bucket.put(f"orders/{name}", data)
    assert len(await lines_of(f"s3://{bucket.name}/orders")) == 30
    assert len(await lines_of(f"s3://{bucket.name}/orders/")) == 3


async def test_a_whole_bucket_can_be_a_dump_or_hold_nothing(bucket: Bucket) -> None:
    with pytest.raises(BackupError, match=f"There is no backup in s3://{bucket.name}: nothing is there"):
        await lines_of(f"s3://{bucket.name}")
    for name, data in our_dump([STOCK]).items():
        bucket.put(name, data)
    assert await lines_of(f"s3://{bucket.name}") == STOCK


async def test_a_bucket_that_is_not_there_is_told(bucket: Bucket) -> None:
    with pytest.raises(BucketNotFoundError):
        await lines_of(f"s3://{bucket.name}-not/there")


async def test_a_pipe_is_read_once_whatever_it_brings(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[gzip.compress(jsonl(STOCK))])
    writer.start()
    async with open_backup(str(pipe)) as backup:
        [file] = backup.files
        lines = [line async for chunk in backup.chunks(file) for line in chunk.lines]
        assert [json.loads(line.image) for line in lines] == STOCK
        assert (backup.kind, lines[-1].number) == ("stream", 30)
        with pytest.raises(BackupError, match="can be read only once"):
            backup.chunks(file)
    writer.join()
